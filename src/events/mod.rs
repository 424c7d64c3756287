//! Saying what happened: to the journal, to whoever logs in, to Prometheus, to a server, and to the
//! scripts of the administrator.
//!
//! Nothing here decides anything or keeps anything from being decided: what cannot be said is logged,
//! and that is all.

pub mod deliver;
pub mod event;
pub mod hooks;
mod metrics;
mod motd;
pub mod outbox;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use log::{info, warn};

use crate::systemd;
use crate::systemd::journal;

use crate::config::Config;
use crate::health;
use crate::update::status::Status;
use abide_core::boot::Access;
use abide_core::error::Result;
use abide_core::files::replace;
use abide_core::root::Root;
use abide_core::update::Machine;

pub use event::{Event, Kind};

/// How long a boot decision waits for what is told of it. The disk below may hang.
const PATIENCE: Duration = Duration::from_secs(5);

/// Delivers what waits in the outbox.
const UNIT: &str = "abide-report.service";

/// Tells the servers that decide about updates, and gives back the turn to reboot.
const UPDATE: &str = "abide-update.service";

/// Tells everyone about `event`.
pub fn announce(root: &Root, config: &Config, event: &Event) {
    if !journal::send(root, &event.fields()) {
        info!("{}", event.sentence());
    }
    let (root, config, event) = (root.clone(), config.clone(), event.clone());
    within(PATIENCE, "telling what happened", move || {
        let to = &config.events;
        try_to(motd::update(&root, to, &event));
        try_to(write_metrics(&root, &config));
        if to.url.is_some() {
            try_to(outbox::put(&root, &event));
            systemd::start(&root, UNIT);
        }
        if event.event == Kind::Committed && has_servers(&config) {
            systemd::start(&root, UPDATE);
        }
    });
}

/// Brings the file for Prometheus up to date.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it cannot be written; those of a survey.
pub fn write_metrics(root: &Root, config: &Config) -> Result<()> {
    let Some(file) = &config.events.metrics else { return Ok(()) };
    let machine = Machine::survey(root, config.slots.as_ref(), Access::Read)?;
    let last = health::PublishedResults::read(root);
    let status = Status::read(&machine, config, None)?;
    let text = metrics::text(&status, &last.map(|r| r.checks).unwrap_or_default());
    replace(&root.path(file), text.as_bytes())
}

/// Whether a server waits to hear of it: others may wait for their turn. After a boot the unit runs anyway.
fn has_servers(config: &Config) -> bool {
    config.update.hawkbit.is_some() || config.update.fleetlock.is_some()
}

/// Does `work` beside, and waits no longer than `limit` for it.
pub fn within(limit: Duration, what: &str, work: impl FnOnce() + Send + 'static) {
    let (sender, receiver) = mpsc::channel();
    let spawned = thread::Builder::new().spawn(move || {
        work();
        // Nobody may be waiting any more.
        sender.send(()).ok();
    });
    match spawned {
        Ok(_) if receiver.recv_timeout(limit).is_err() => warn!("{what} takes too long; going on without it"),
        Ok(_) => {}
        Err(e) => warn!("{what}: cannot start a thread: {e}"),
    }
}

fn try_to(done: Result<()>) {
    if let Err(e) = done {
        warn!("{e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn what_hangs_is_not_waited_for() {
        let started = Instant::now();
        within(Duration::from_millis(50), "sleeping", || thread::sleep(Duration::from_secs(60)));
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
