//! The message of the day: `/run/motd.d/abide`, which pam_motd(8) shows at a login.

use crate::config::EventTargets;
use crate::events::event::{Event, EventKind};
use crate::files;
use abide_core::error::Result;
use abide_core::root::Root;

const FILE: &str = "/run/motd.d/abide";

/// Writes a message about an event of an update that a person should know of; removes it after any other one.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if `/run/motd.d` cannot be written.
pub fn update(root: &Root, targets: &EventTargets, event: &Event) -> Result<()> {
    // What it tells of the update stays.
    if event.event == EventKind::KeyExpires {
        return Ok(());
    }
    let path = root.path(FILE);
    match text(event).filter(|_| targets.motd) {
        Some(text) => files::replace(&path, text.as_bytes()),
        None => files::remove(&path),
    }
}

fn text(event: &Event) -> Option<String> {
    let advice = match event.event {
        EventKind::Staged | EventKind::Committed | EventKind::KeyExpires => return None,
        EventKind::Applied | EventKind::Deferred => "`abide status` shows the details.",
        EventKind::Testing => {
            "It may be rolled back, with a reboot, at any time; `abide status` shows the details."
        }
        EventKind::Failed => "The machine is about to reboot.",
        EventKind::RolledBack => "`abide status` shows what to do.",
        EventKind::Unhealthy => "`abide check` shows what is wrong now.",
    };
    Some(format!("Abide: {}.\n{advice}\n", event.sentence().trim_end_matches('.')))
}
