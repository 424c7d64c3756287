//! Publishes an event.

use std::time::Duration;

use log::{info, warn};

use crate::config::Config;
use crate::events::bounded::run_bounded;
use crate::events::event::{Event, EventKind};
use crate::events::hand_over::REPORT_UNIT;
use crate::events::metrics::write_metrics;
use crate::events::{motd, outbox};
use crate::systemd;
use crate::systemd::journal;
use abide_core::error::Result;
use abide_core::root::Root;

/// How long an event may delay its caller: the disk may hang.
const MAX_DELAY: Duration = Duration::from_secs(5);

/// Sends feedback to hawkBit, and gives the reboot lock back.
const UPDATE_UNIT: &str = "abide-update.service";

/// Publishes `event` to everything that is configured.
pub fn publish(root: &Root, config: &Config, event: &Event) {
    let event = event.clone().printable();
    if !journal::send(root, &event.fields()) {
        info!("{}", event.sentence());
    }
    let (root, config) = (root.clone(), config.clone());
    run_bounded(MAX_DELAY, "publishing an event", move || {
        let targets = &config.events;
        log_error(motd::update(&root, targets, &event));
        log_error(write_metrics(&root, &config));
        if targets.url.is_some() {
            log_error(outbox::put(&root, &event));
            systemd::start(&root, REPORT_UNIT);
        }
        // The unit runs once after each boot; a commit happens after that.
        if event.event == EventKind::Committed && config.update.has_waiting_server() {
            systemd::start(&root, UPDATE_UNIT);
        }
    });
}

fn log_error(result: Result<()>) {
    if let Err(e) = result {
        warn!("{e}");
    }
}
