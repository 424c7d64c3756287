//! When a scheduled run no longer tries to install a release. Pure.

use crate::agent::mode::Mode;
use crate::agent::survey::InSlot;
use crate::agent::wanted::Wait;
use crate::feed::catalog::Release;
use crate::feed::memory::InstallState;

/// Failed writes after which an image is not tried again.
pub const MAX_REFUSALS: u32 = 3;

/// Reboots after which an update that the boot loader does not boot is not tried again.
const MAX_REBOOTS: u32 = 3;

/// Why the release is not tried again; `waiting`: the update in the other slot.
pub fn given_up(
    mode: Mode,
    install: &InstallState,
    waiting: Option<&InSlot>,
    release: &Release,
) -> Option<Wait> {
    if mode != Mode::Scheduled || install.digest != release.digest {
        return None;
    }
    let is_applied = waiting.is_some_and(|waiting| waiting.applied && waiting.digest == release.digest);
    if is_applied && install.reboots >= MAX_REBOOTS {
        let version = &release.version;
        let why =
            format!("{version} was applied, but the boot loader keeps booting another entry (`abide list`)");
        return Some(Wait::defer(why, None));
    }
    (install.refused >= MAX_REFUSALS).then(|| {
        let why = install.waiting.as_deref().unwrap_or("it could not be written");
        Wait::defer(why, None)
    })
}
