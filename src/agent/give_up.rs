//! When a scheduled run no longer tries to install a release. Pure.

use jiff::Timestamp;

use crate::agent::goal::Wait;
use crate::agent::mode::Mode;
use crate::agent::survey::InSlot;
use crate::feed::catalog::Release;
use crate::feed::memory::InstallState;

/// Failed writes after which an image is not tried again.
pub const MAX_REFUSALS: u32 = 3;

/// Requests for what is missing in the cache, after which a write that lacks something has failed. The first one is for
/// single regions, the others for the full file.
pub const MAX_REQUESTS: u32 = 3;

/// How long an image that was refused is not tried again, in seconds.
const REFUSAL: i64 = 24 * 60 * 60;

/// Failed downloads with an answer of the server, such as that there is no such file, after which an assigned image is not
/// tried again, and the server that has assigned it is told why.
pub const MAX_DOWNLOADS: u32 = 5;

/// The same for failed downloads of any kind: with the delay that doubles, an outage of the server has lasted for most of a
/// day.
pub const MAX_OUTAGES: u32 = 10;

/// Reboots after which an update that the boot loader does not boot is not tried again.
pub const MAX_REBOOTS: u32 = 3;

/// Why the release is not tried again, or not yet; `waiting`: the update in the other slot.
pub fn given_up(
    mode: Mode,
    install: &InstallState,
    waiting: Option<&InSlot>,
    release: &Release,
    now: Timestamp,
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
    let again = install.refused_at.map(|at| at.saturating_add(REFUSAL));
    // A time in the future is that of a wrong clock.
    let is_over = again.is_some_and(|again| !(again - REFUSAL..again).contains(&now.as_second()));
    (install.refused >= MAX_REFUSALS && !is_over).then(|| {
        let why = install.waiting.as_deref().unwrap_or("it could not be written");
        Wait::defer(why, again.and_then(|again| Timestamp::from_second(again).ok()))
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
            parts: None,
            digest: "d2".into(),
            terms: Terms::default(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap_or_default()
    }

    #[test]
    fn a_refused_image_is_tried_again_a_day_later() {
        let refused = |refused_at| InstallState {
            digest: "d2".into(),
            refused: MAX_REFUSALS,
            refused_at,
            ..InstallState::default()
        };
        assert!(why(Mode::Scheduled, &refused(Some(100_000)), false).is_some());
        assert!(why(Mode::Scheduled, &refused(Some(100_001 - REFUSAL)), false).is_some());
        assert!(why(Mode::Scheduled, &refused(Some(100_000 - REFUSAL)), false).is_none());
        // The clock was wrong.
        assert!(why(Mode::Scheduled, &refused(Some(100_001)), false).is_none());
    }

    fn why(mode: Mode, install: &InstallState, applied: bool) -> Option<String> {
        let waiting = InSlot { version: "2.0".into(), digest: "d2".into(), applied };
        given_up(mode, install, Some(&waiting), &release(), at(100_000)).map(|wait| wait.why)
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
