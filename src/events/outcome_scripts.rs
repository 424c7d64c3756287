//! Scripts of the administrator that run on the outcome of a trial.
//!
//! Scripts for a commit may do steps that cannot be undone, so they must run: a marker on the disk,
//! written before the commit, makes the next boot run them if this one does not.

use std::time::{Duration, Instant};

use log::{info, warn};

use crate::config::Scripts;
use crate::events::event::{Event, EventKind};
use crate::files;
use crate::health::scripts;
use crate::health::scripts::Script;
use crate::systemd::child;
use crate::systemd::child::Capture;
use abide_core::error::Result;
use abide_core::root::Root;

const PENDING: &str = "/var/lib/abide/commit-hooks";

/// How much of the end of a script's output is logged.
const OUTPUT: usize = 400;

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
    for script in find(root, config, event.event).iter().filter(|s| !config.disabled.contains(&s.name)) {
        let limit = match event.event {
            EventKind::Failed => config.timeout.min(BEFORE_REBOOT.saturating_sub(started.elapsed())),
            _ => config.timeout,
        };
        if limit.is_zero() {
            warn!("skipping the script {}: the time limit of all scripts has passed", script.name);
            continue;
        }
        run_one(root, script, event, limit);
    }
}

fn run_one(root: &Root, script: &Script, event: &Event, limit: Duration) {
    let mut command = script.command();
    command.current_dir(root.path("/"));
    let variables = event.fields().into_iter().filter(|(name, _)| name.starts_with("ABIDE_"));
    command.envs(variables);
    let name = &script.name;
    match child::run(command, limit, Capture::All, OUTPUT) {
        Err(e) => warn!("script {name}: cannot start: {e}"),
        Ok(ended) => {
            let said = ended.output.lines().next_back().map(|l| format!(": {l}")).unwrap_or_default();
            match ended.status {
                Some(status) if status.success() => info!("script {name} succeeded{said}"),
                Some(status) => warn!("script {name}: {status}{said}"),
                None => warn!("script {name} did not end in time{said}"),
            }
        }
    }
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
