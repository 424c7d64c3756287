//! A word to whoever logs in: `/run/motd.d/abide`, which pam_motd(8) shows.

use std::fs;
use std::io::ErrorKind;

use crate::config::EventTargets;
use crate::events::event::{Event, Kind};
use abide_core::error::{OrError, Result};
use abide_core::files::replace;
use abide_core::root::Root;

const FILE: &str = "/run/motd.d/abide";

/// Says what somebody at a terminal should know; says nothing where all is well.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if `/run/motd.d` cannot be written.
pub fn update(root: &Root, to: &EventTargets, event: &Event) -> Result<()> {
    let path = root.path(FILE);
    match text(event).filter(|_| to.motd) {
        Some(text) => replace(&path, text.as_bytes()),
        None => match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(e).or_failed(|| format!("{}: cannot remove", path.display()))
            }
            _ => Ok(()),
        },
    }
}

fn text(event: &Event) -> Option<String> {
    let advice = match event.event {
        Kind::Staged | Kind::Committed => return None,
        Kind::Applied | Kind::Deferred => "`abide status` tells more.",
        Kind::Testing => "It may be rolled back, with a reboot, at any time; `abide status` tells more.",
        Kind::Failed => "The machine is about to reboot.",
        Kind::RolledBack => "`abide status` tells what to do.",
        Kind::Unhealthy => "`abide check` tells what is wrong now.",
    };
    Some(format!("Abide: {}.\n{advice}\n", event.sentence().trim_end_matches('.')))
}
