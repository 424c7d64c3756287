//! Scripts of the administrator that run on the outcome of a trial.
//!
//! Scripts for a commit may do steps that cannot be undone, so they must run: a marker on the disk,
//! written before the commit, makes the next boot run them if this one does not.

use std::time::{Duration, Instant};

use log::{info, warn};

use crate::config::Scripts;
use crate::events::event::{Event, EventKind};
use crate::files;
use crate::health::scripts::Script;
use crate::health::{script_run, scripts};
use crate::update::startable::file_of;
use abide_core::boot::Access;
use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::update::Machine;

const PENDING: &str = "/var/lib/abide/commit-hooks";

/// The time limit of all scripts together before the reboot that ends a failed trial.
const BEFORE_REBOOT: Duration = Duration::from_secs(20);

/// The folders for an outcome: greenboot's, where it has one, and Abide's own.
fn folders(kind: EventKind) -> &'static [&'static str] {
    match kind {
        EventKind::Committed => &["green.d", "committed.d"],
        EventKind::Failed => &["red.d", "failed.d"],
        EventKind::RolledBack => &["rolled-back.d"],
        EventKind::Staged
        | EventKind::Applied
        | EventKind::Testing
        | EventKind::Unhealthy
        | EventKind::Deferred
        | EventKind::KeyExpires => &[],
    }
}

fn find(root: &Root, config: &Scripts, kind: EventKind) -> Vec<Script> {
    let folders = if config.enabled { folders(kind) } else { &[] };
    folders.iter().flat_map(|folder| scripts::find(root, folder)).collect()
}

/// Runs the scripts for `event`, one after the other; one that fails does not stop the others.
pub fn run(root: &Root, config: &Scripts, event: &Event) {
    let started = Instant::now();
    let mut found = find(root, config, event.event);
    found.retain(|script| !config.disabled.contains(&script.name));
    // The file can be read for as long as this lives. Before a reboot there is no time for a look at the ESP.
    let needs_uki = !found.is_empty() && event.event != EventKind::Failed;
    let machine = needs_uki.then(|| Machine::read_boot(root, Access::Read).ok()).flatten();
    let uki = machine.as_ref().and_then(running_uki);
    for script in &found {
        let limit = match event.event {
            EventKind::Failed => config.timeout.min(BEFORE_REBOOT.saturating_sub(started.elapsed())),
            _ => config.timeout,
        };
        let name = &script.name;
        if limit.is_zero() {
            warn!("skipping the script {name}: the time limit of all scripts has passed");
            continue;
        }
        let fields = event.fields().into_iter().filter(|(name, _)| name.starts_with("ABIDE_"));
        let variables = fields.chain(uki.clone().map(|uki| ("ABIDE_RUNNING_UKI", uki))).collect();
        match script_run::run(root, script, variables, limit) {
            Ok(said) => info!("script {name} succeeded: {said}"),
            Err(why) => warn!("script {name}: {why}"),
        }
    }
}

/// The file that the running entry starts.
fn running_uki(machine: &Machine) -> Option<String> {
    let entry = machine.booted_entry()?;
    let path = machine.dirs.volume(entry.partition).ok()?.host_path(&file_of(entry))?;
    path.into_os_string().into_string().ok()
}

/// Records that `version` is about to be committed, if there is a script for that.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if `/var/lib/abide` cannot be written.
pub fn expect_commit(root: &Root, config: &Scripts, version: &str) -> Result<()> {
    if find(root, config, EventKind::Committed).is_empty() {
        return Ok(());
    }
    files::replace(&root.path(PENDING), version.as_bytes())
}

/// The version whose scripts have not run yet, if it was committed.
#[must_use]
pub(super) fn expected_commit(root: &Root) -> Option<String> {
    files::read_text(&root.path(PENDING)).ok().flatten()
}

/// Removes the record, after the scripts have run or if there was no commit.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it cannot be removed.
pub fn forget_commit(root: &Root) -> Result<()> {
    files::remove(&root.path(PENDING))
}
