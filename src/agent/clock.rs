//! The time, and what identifies this machine's random times.

use jiff::Timestamp;

use crate::machine_id;
use crate::uptime;
use abide_core::root::Root;

/// The clock of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// The current time.
    pub now: Timestamp,
    /// When this boot began, where the kernel provides that.
    pub booted: Option<Timestamp>,
    /// The machine id, from which the machine's random times are derived.
    pub machine_id: String,
}

impl Clock {
    /// The clock of `root`.
    pub fn read(root: &Root) -> Self {
        let now = Timestamp::now();
        Self { now, booted: booted(root, now), machine_id: machine_id::raw(root) }
    }
}

fn booted(root: &Root, now: Timestamp) -> Option<Timestamp> {
    let seconds = i64::try_from(uptime::read(root)?.as_secs()).ok()?;
    Timestamp::from_second(now.as_second().saturating_sub(seconds)).ok()
}
