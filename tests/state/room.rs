//! The state always fits into its room, whatever is to be remembered.

use std::fs;

use abide::update::refusal::failure_of;
use abide_core::boot::DirVolume;
use abide_core::disk::SlotName;
use abide_core::state::{
    Baseline, BootEnd, FailedCheck, Failure, Installed, Phase, Previous, Reboots, Remedy, SeenList, Stage,
    State, Store, TrialBoot, Uki, Unhealthy, Update, Verdict,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::release_1;

/// Texts up to 1 MiB, of letters, of what JSON writes as six bytes, and of what takes four bytes itself.
fn text() -> impl Strategy<Value = String> {
    let length = prop_oneof![8 => 0..40_usize, 4 => 0..2_000_usize, 1 => 0..1_000_000_usize];
    (length, prop_oneof!["x", "\\u{1}", "é", "\u{1F600}", "\""]).prop_map(|(n, c)| c.repeat(n / c.len()))
}

fn checks() -> impl Strategy<Value = Vec<FailedCheck>> {
    let check = (text(), text(), text());
    vec(check.prop_map(|(name, reason, output)| FailedCheck { name, reason, output }), 0..40)
}

fn verdict() -> impl Strategy<Value = Verdict> {
    (text(), checks()).prop_map(|(reason, checks)| Verdict { phase: Phase::Checks, reason, checks })
}

fn failure() -> impl Strategy<Value = Failure> {
    (text(), proptest::option::of(text()), verdict(), text()).prop_map(|(version, digest, verdict, time)| {
        let Verdict { phase, reason, checks } = verdict;
        Failure {
            version,
            digest,
            attempts: 3,
            phase,
            reason,
            checks,
            time,
            times: 1,
            forgiven: false,
            unversioned: false,
            entry: None,
        }
    })
}

fn boot() -> impl Strategy<Value = TrialBoot> {
    let end = prop_oneof![
        Just(None),
        Just(Some(BootEnd::Orderly)),
        verdict().prop_map(|v| Some(BootEnd::Failed(v)))
    ];
    (text(), end, text()).prop_map(|(boot_id, end, time)| TrialBoot {
        boot_id,
        attempt: 1,
        phase: Phase::Checks,
        time,
        end,
    })
}

fn update() -> impl Strategy<Value = Update> {
    let words = (text(), text(), text(), text(), text(), text());
    (words, vec(boot(), 0..20), proptest::option::of(verdict())).prop_map(|(words, boots, verdict)| {
        let (image_id, version, digest, root, entry, applied_in) = words;
        let previous = Previous {
            slot: SlotName::A,
            entry: entry.clone(),
            version: Some(version.clone()),
            demoted: true,
        };
        Update {
            image_id,
            version,
            digest: Some(digest.clone()),
            slot: SlotName::B,
            stage: Stage::Testing,
            uki: Some(Uki { sha256: digest, size: u64::MAX }),
            root,
            entry,
            tries: 9,
            applied_in: applied_in.clone(),
            previous: Some(previous),
            boots,
            verdict,
            ended: Some(applied_in.clone()),
            counted: true,
            excused: false,
            root_hash: Some(applied_in.clone()),
            verified: Some(applied_in.clone()),
            floor: Some(applied_in.clone()),
            reboots: Reboots { asked: u32::MAX, boot_id: applied_in },
            unversioned: false,
        }
    })
}

fn state() -> impl Strategy<Value = State> {
    let installed = || {
        proptest::option::of((text(), text(), text()).prop_map(|(version, digest, entry)| Installed {
            version,
            digest: Some(digest),
            verified: Some(entry.clone()),
            entry,
            unversioned: false,
        }))
    };
    let list = (text(), text()).prop_map(|(name, feed)| SeenList {
        name,
        feed: Some(feed),
        serial: Some(u64::MAX),
        signed: Some(u64::MAX),
    });
    let unhealthy = (text(), text(), text(), vec(text(), 0..40)).prop_map(|(entry, reason, time, checks)| {
        Unhealthy { entry, tried: Remedy::Reboot, reason, time, checks }
    });
    let baseline = (vec(text(), 0..100), vec(text(), 0..100))
        .prop_map(|(passed_checks, failed_units)| Baseline { passed_checks, failed_units });
    let parts = (proptest::option::of(update()), vec(failure(), 0..20), installed(), installed(), baseline);
    let rest = (vec(unhealthy, 0..6), vec(list, 0..6), proptest::option::of(text()));
    (parts, rest).prop_map(|((update, failures, a, b, baseline), (unhealthy, lists, floor))| State {
        update,
        failures,
        a,
        b,
        baseline,
        unhealthy,
        lists,
        takeover: floor.clone(),
        floor,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_failed_is_saved_and_refused_afterwards(state in state(), failure in failure()) {
        let dir = tempfile::tempdir().unwrap();
        let esp = DirVolume::new(dir.path());
        let mut store = Store::open(&esp);
        let (version, digest) = (failure.version.clone(), failure.digest.clone());
        let mut state = state;
        state.remember(failure);
        store.save(&esp, &state).unwrap();
        let read = Store::open(&esp).state();
        // What this process goes on with is what the next one reads.
        prop_assert_eq!(&read, store.current());
        prop_assert!(failure_of(&read, Some(&version), digest.as_deref()).is_some());
        // What is in flight is all there.
        let key = |s: &State| s.update.as_ref().map(|u| (u.stage, u.slot, u.tries, u.verdict.is_some()));
        prop_assert_eq!(key(&read), key(&state));
        prop_assert_eq!(read.a.is_some(), state.a.is_some());
        // Release 1 reads it, too.
        let bytes = fs::read(dir.path().join("EFI/abide/state.0")).unwrap();
        prop_assert!(release_1::read(&bytes).is_some());
        // Nothing is left to cut, and to save it again writes nothing.
        let mut again = Store::open(&esp);
        again.save(&esp, &read).unwrap();
        let other = fs::read(dir.path().join("EFI/abide/state.1")).unwrap();
        prop_assert!(other.iter().all(|byte| *byte == b'\n'));
    }
}

/// A record of a version, with so many checks whose texts are as long as they may be.
fn failure_with(version: &str, checks: usize) -> Failure {
    let long = "x".repeat(4096);
    let check = |n| FailedCheck { name: format!("check-{n}"), reason: long.clone(), output: long.clone() };
    Failure {
        version: version.into(),
        digest: Some("ab".repeat(32)),
        attempts: 3,
        phase: Phase::Checks,
        reason: long.clone(),
        checks: (0..checks).map(check).collect(),
        time: "2026-01-02T03:04:05Z".into(),
        times: 1,
        forgiven: false,
        unversioned: false,
        entry: None,
    }
}

fn small_update() -> Update {
    let json = r#"{"image_id":"edge","version":"2.0","slot":"b","stage":"testing"}"#;
    serde_json::from_str(json).unwrap()
}

fn saved(state: &State) -> State {
    let dir = tempfile::tempdir().unwrap();
    let esp = DirVolume::new(dir.path());
    Store::open(&esp).save(&esp, state).unwrap();
    Store::open(&esp).state()
}

#[test]
fn a_long_reason_is_cut_at_a_character_and_shows_it() {
    let mut state = State::default();
    state.remember(Failure { reason: "é".repeat(4096), ..failure_with("1", 0) });
    let reason = saved(&state).failures.remove(0).reason;
    assert!(reason.ends_with("é…") && reason.len() <= 512 && reason.len() > 500, "{reason}");
}

#[test]
fn a_record_says_how_many_checks_are_not_in_it() {
    let mut state = State::default();
    state.remember(failure_with("1", 20));
    let checks = saved(&state).failures.remove(0).checks;
    assert_eq!(checks.len(), 8);
    assert_eq!(checks[7].reason, "13 more checks failed; their results are in the journal");
}

#[test]
fn the_details_of_the_oldest_record_go_first_and_no_record_does() {
    let mut state = State::default();
    for version in 0..16 {
        state.remember(failure_with(&version.to_string(), 4));
    }
    let failures = saved(&state).failures;
    assert_eq!(failures.len(), 16);
    let (oldest, newest) = (&failures[0], &failures[15]);
    assert_eq!(oldest.checks[0].reason, "the check results were dropped: the state is full");
    assert_eq!((oldest.checks.len(), newest.checks.len()), (1, 4));
    assert_eq!((oldest.reason.len(), newest.reason.len()), (512, 512));
    // The trial of the next image wants room, too.
    let verdict =
        || Verdict { phase: Phase::Checks, reason: "x".repeat(4096), checks: failure_with("", 8).checks };
    let boot = |n| TrialBoot {
        boot_id: format!("{n:036}"),
        attempt: n,
        phase: Phase::Checks,
        time: "2026-01-02T03:04:05Z".into(),
        end: Some(BootEnd::Failed(verdict())),
    };
    let update = Update { boots: (1..=9).map(boot).collect(), verdict: Some(verdict()), ..small_update() };
    let saved = saved(&State { update: Some(update), ..state });
    assert_eq!((saved.failures.len(), saved.failures[0].reason.len()), (16, 120));
    let update = saved.update.unwrap();
    assert_eq!((update.boots.len(), update.verdict.unwrap().reason.len()), (9, 512));
}

#[test]
fn no_record_is_lost_however_long_the_names_are_that_fat_allows() {
    // Two bytes for each of the 226 characters that an entry's name has room for.
    let name = |n: u32| format!("{}{n:02}", "é".repeat(224));
    let mut state = State::default();
    for n in 0..16 {
        state.remember(Failure { version: name(n), ..failure_with("", 4) });
    }
    let entry = format!("{}+3-0.efi", name(20));
    let previous =
        Previous { slot: SlotName::A, entry: entry.clone(), version: Some(name(20)), demoted: true };
    state.update = Some(Update {
        version: name(20),
        digest: Some("ab".repeat(32)),
        entry: entry.clone(),
        root: "root=PARTUUID=00000000-0000-4000-8000-00000000000b".into(),
        previous: Some(previous),
        ..small_update()
    });
    let (digest, verified) = (Some("ab".repeat(32)), Some("signed by ours.pub".to_owned()));
    let installed = Installed { version: name(20), digest, entry, verified, unversioned: false };
    (state.a, state.b) = (Some(installed.clone()), Some(installed));
    assert_eq!(saved(&state).failures.len(), 16);
}

#[test]
fn a_baseline_that_is_too_long_keeps_whole_names_only() {
    let units: Vec<String> = (0..500).map(|n| format!("unit-{n}.service")).collect();
    let baseline = Baseline { failed_units: units.clone(), ..Baseline::default() };
    let kept = saved(&State { baseline, ..State::default() }).baseline.failed_units;
    assert!(kept.len() > 160 && kept.iter().all(|unit| units.contains(unit)), "{}", kept.len());
}
