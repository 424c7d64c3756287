//! When a scheduled run no longer tries to install a release. Pure.

use crate::agent::goal::Wait;
use crate::agent::mode::Mode;
use crate::agent::survey::InSlot;
use crate::feed::catalog::Release;
use crate::feed::memory::InstallState;

/// Failed writes after which an image is not tried again.
pub const MAX_REFUSALS: u32 = 3;

/// Failed downloads after which an assigned image is not tried again, and its server is told why.
pub const MAX_DOWNLOADS: u32 = 5;

/// Reboots after which an update that the boot loader does not boot is not tried again.
pub const MAX_REBOOTS: u32 = 3;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::catalog::Terms;
    use crate::feed::published::{ListedFile, ReleaseFiles};

    fn release() -> Release {
        Release {
            image: "edge".into(),
            version: "2.0".into(),
            arch: None,
            files: ReleaseFiles::Disk(ListedFile { name: "edge_2.0.raw".into(), sha256: "d2".into() }),
            digest: "d2".into(),
            terms: Terms::default(),
        }
    }

    fn why(mode: Mode, install: &InstallState, applied: bool) -> Option<String> {
        let waiting = InSlot { version: "2.0".into(), digest: "d2".into(), applied };
        given_up(mode, install, Some(&waiting), &release()).map(|wait| wait.why)
    }

    #[test]
    fn an_image_that_could_not_be_written_is_given_up_with_the_reason() {
        let state = InstallState { digest: "d2".into(), refused: MAX_REFUSALS, ..InstallState::default() };
        assert_eq!(why(Mode::Scheduled, &state, false).as_deref(), Some("it could not be written"));
        let known = InstallState { waiting: Some("no root=".into()), ..state.clone() };
        assert_eq!(why(Mode::Scheduled, &known, false).as_deref(), Some("no root="));
        // An operator may try it again, and another image is not concerned.
        assert_eq!(why(Mode::Update, &state, false), None);
        assert_eq!(why(Mode::Scheduled, &InstallState { digest: "other".into(), ..state }, false), None);
    }

    #[test]
    fn an_update_that_the_boot_loader_does_not_boot_is_given_up() {
        let state = |reboots| InstallState { digest: "d2".into(), reboots, ..InstallState::default() };
        assert_eq!(why(Mode::Scheduled, &state(MAX_REBOOTS - 1), true), None);
        assert_eq!(why(Mode::Scheduled, &state(MAX_REBOOTS), false), None);
        let why = why(Mode::Scheduled, &state(MAX_REBOOTS), true).unwrap_or_default();
        assert!(why.contains("the boot loader keeps booting another entry"), "{why}");
    }
}
