//! Scripts of the administrator that are told of the outcome of a trial.
//!
//! Those for a commit are the place for what cannot be undone, so they must not be lost: a marker on
//! the disk, set before the commit, has the next boot run them if this one does not get that far.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::config::Scripts;
use crate::events::event::{Event, Kind};
use crate::health::scripts;
use crate::health::scripts::Script;
use crate::systemd::child;
use crate::systemd::child::Capture;
use abide_core::error::{OrError, Result};
use abide_core::files::replace;
use abide_core::root::Root;

const PENDING: &str = "/var/lib/abide/commit-hooks";

/// How much of the end of a script's output is logged.
const OUTPUT: usize = 400;

/// All that a machine waits for before it reboots out of a failed trial.
const BEFORE_REBOOT: Duration = Duration::from_secs(20);

/// greenboot's folder for an outcome, where it has one, and Abide's own.
fn folders(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Committed => &["green.d", "committed.d"],
        Kind::Failed => &["red.d", "failed.d"],
        Kind::RolledBack => &["rolled-back.d"],
        Kind::Staged | Kind::Applied | Kind::Testing | Kind::Unhealthy | Kind::Deferred => &[],
    }
}

fn find(root: &Root, config: &Scripts, kind: Kind) -> Vec<Script> {
    let folders = if config.enabled { folders(kind) } else { &[] };
    folders.iter().flat_map(|folder| scripts::find(root, folder)).collect()
}

/// Runs the scripts for `event`, one after the other, whatever becomes of each.
pub fn run(root: &Root, config: &Scripts, event: &Event) {
    let started = Instant::now();
    for script in find(root, config, event.event).iter().filter(|s| !config.disabled.contains(&s.name)) {
        let limit = match event.event {
            Kind::Failed => config.timeout.min(BEFORE_REBOOT.saturating_sub(started.elapsed())),
            _ => config.timeout,
        };
        if limit.is_zero() {
            warn!("no time is left for the script {}", script.name);
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
                Some(status) if status.success() => info!("script {name} has run{said}"),
                Some(status) => warn!("script {name}: {status}{said}"),
                None => warn!("script {name} did not end in time{said}"),
            }
        }
    }
}

/// Notes that `version` is about to be committed, where any script waits for that.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if `/var/lib/abide` cannot be written.
pub fn expect_commit(root: &Root, config: &Scripts, version: &str) -> Result<()> {
    match find(root, config, Kind::Committed).is_empty() {
        true => Ok(()),
        false => replace(&root.path(PENDING), version.as_bytes()),
    }
}

/// The version whose scripts have still to run, if it was committed.
#[must_use]
pub fn expected(root: &Root) -> Option<String> {
    fs::read_to_string(root.path(PENDING)).ok()
}

/// The scripts for a commit have run, or there was none.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if the note cannot be removed.
pub fn forget_commit(root: &Root) -> Result<()> {
    let path = root.path(PENDING);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(e).or_failed(|| format!("{}: cannot remove", path.display()))
        }
        _ => Ok(()),
    }
}
