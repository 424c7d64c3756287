#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::feed::catalog::Terms;
use crate::feed::published::{ListedFile, ReleaseFiles};
use crate::feed::rollout::Stage;

const HOUR: Duration = Duration::from_secs(3600);

fn release(version: &str, terms: Terms) -> Release {
    let file = ListedFile { name: format!("edge_{version}.raw"), sha256: format!("digest of {version}") };
    let digest = file.sha256.clone();
    Release {
        image: "edge".into(),
        version: version.into(),
        arch: Some("x86-64"),
        files: ReleaseFiles::Disk(file),
        parts: None,
        digest,
        terms,
    }
}

fn catalog(versions: &[&str]) -> Catalog {
    Catalog::of(versions.iter().map(|version| release(version, Terms::default())).collect())
}

fn system(version: &str) -> RunningSystem {
    RunningSystem {
        image: "edge".into(),
        arch: "x86-64".into(),
        version: version.into(),
        unversioned: false,
        digest: None,
        trial: TrialState::Committed,
        pinned: false,
        floor: None,
        failed: vec![],
        turn: Turn::default(),
    }
}

fn failed(version: &str, time: &str, times: u32) -> FailedImage {
    FailedImage { version: version.into(), digest: None, time: time.parse().ok(), times, unversioned: false }
}

fn requires(version: &str) -> Terms {
    Terms { requires: Some(version.into()), ..Terms::default() }
}

fn target(version: &str) -> Rules {
    Rules { target: Target::Version(version.into()), ..Rules::default() }
}

fn now() -> Timestamp {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

/// The decision in a line: `take 2.0`, `wait: why`.
fn ruling_of(system: &RunningSystem, rules: &Rules, catalog: &Catalog) -> String {
    let decision = decide(system, rules, catalog, now());
    let passed: String =
        decision.passed_over.iter().map(|p| format!(" | {}: {}", p.version, p.why)).collect();
    let ruling = match decision.ruling {
        Ruling::UpToDate => "up to date".to_owned(),
        Ruling::Take(candidate) => {
            let towards = candidate.towards.map(|v| format!(" towards {v}")).unwrap_or_default();
            let down = if candidate.downgrade { " (downgrade)" } else { "" };
            let again = if candidate.retry { " (retry)" } else { "" };
            format!("take {}{towards}{down}{again}", candidate.release.version)
        }
        Ruling::Wait { why, until: None } => format!("wait: {why}"),
        Ruling::Wait { why, until: Some(until) } => format!("wait until {until}: {why}"),
        Ruling::Refuse { why } => format!("refuse: {why}"),
    };
    ruling + &passed
}

#[test]
fn the_newest_release_is_taken_and_nothing_older() {
    let rules = Rules::default();
    let all = catalog(&["1.0", "1.9", "1.10", "1.11~rc1"]);
    assert_eq!(ruling_of(&system("1.0"), &rules, &all), "take 1.11~rc1");
    assert_eq!(ruling_of(&system("1.11~rc1"), &rules, &all), "up to date");
    assert_eq!(ruling_of(&system("2.0"), &rules, &all), "up to date");
    let none = "refuse: The feed has no image of edge for x86-64; its list is empty";
    assert_eq!(ruling_of(&system("1.0"), &rules, &Catalog::default()), none);
}

#[test]
fn releases_of_another_image_or_architecture_are_ignored() {
    let other = Release { image: "other".into(), ..release("3.0", Terms::default()) };
    let arm = Release { arch: Some("arm64"), ..release("2.0", Terms::default()) };
    let any = Release { arch: None, ..release("1.5", Terms::default()) };
    let all = Catalog::of(vec![other, arm, any]);
    assert_eq!(ruling_of(&system("1.0"), &Rules::default(), &all), "take 1.5");
    assert_eq!(
        ruling_of(&system("1.0"), &target("2.0"), &all),
        "refuse: The feed has no edge 2.0 for this machine; it lists other 3.0 (x86-64), edge 2.0 (arm64), edge 1.5"
    );
    let sparc = RunningSystem { image: "sparc".into(), ..system("1.0") };
    let decision = decide(&sparc, &Rules::default(), &all, now());
    assert!(!decision.has_image && matches!(decision.ruling, Ruling::Refuse { .. }));
}

#[test]
fn a_release_for_other_channels_is_passed_over() {
    let beta = Terms { channels: vec!["beta".into()], ..Terms::default() };
    let both = Terms { channels: vec!["beta".into(), "stable".into()], ..Terms::default() };
    let all = Catalog::of(vec![release("1.1", both), release("1.2", beta)]);
    let of = |channel: &str| Rules { channel: channel.into(), ..Rules::default() };
    assert_eq!(ruling_of(&system("1.0"), &of("beta"), &all), "take 1.2");
    assert_eq!(ruling_of(&system("1.0"), &of("stable"), &all), "take 1.1 | 1.2: it is for the channel beta");
    assert_eq!(
        ruling_of(&system("1.0"), &of("lts"), &all),
        "up to date | 1.2: it is for the channel beta | 1.1: it is for the channel beta, stable"
    );
    // Channels do not apply to a target.
    assert_eq!(ruling_of(&system("1.0"), &target("1.2"), &all), "take 1.2");
}

#[test]
fn the_reason_why_a_newer_release_is_not_taken_is_given() {
    let beta = Terms { channels: vec!["beta".into()], ..Terms::default() };
    let note = |releases: Vec<Release>, system: &RunningSystem| {
        let decision = decide(system, &Rules::default(), &Catalog::of(releases), now());
        decision.note.map(|note| note.to_string())
    };
    let plain = |version: &str| release(version, Terms::default());
    let failed = RunningSystem { failed: vec![failed("2.0", "2026-02-01T00:00:00Z", 1)], ..system("1.0") };
    let why = note(vec![plain("1.0"), plain("2.0")], &failed).unwrap();
    assert!(why.starts_with("2.0: it failed on this machine"), "{why}");
    assert_eq!(note(vec![plain("1.0"), release("2.0", beta.clone())], &system("1.0")), None);
    let only = note(vec![release("2.0", beta)], &system("1.0"));
    assert_eq!(only.as_deref(), Some("2.0: it is for the channel beta"));
}

fn staged(hours: u32, halted: bool) -> Terms {
    let stages = vec![Stage { after: hours * HOUR, percent: 100 }];
    let rollout = Rollout { published: now(), stages, halted };
    Terms { rollout: Some(Box::new(rollout)), ..Terms::default() }
}

#[test]
fn a_release_waits_for_this_machines_turn_and_an_older_one_is_taken() {
    let all = Catalog::of(vec![release("1.5", Terms::default()), release("2.0", staged(24, false))]);
    let turn = "2.0: this machine's turn is stage 1 of 1, after 2026-03-02 00:00 UTC";
    assert_eq!(ruling_of(&system("1.0"), &Rules::default(), &all), format!("take 1.5 | {turn}"));
    let waits = format!("wait until 2026-03-02T00:00:00Z: {turn} | {turn}");
    assert_eq!(ruling_of(&system("1.5"), &Rules::default(), &all), waits);
    // By hand, and by name.
    let early = RunningSystem { turn: Turn { early: true, ..Turn::default() }, ..system("1.5") };
    assert_eq!(ruling_of(&early, &Rules::default(), &all), "take 2.0");
    assert_eq!(ruling_of(&system("1.5"), &target("2.0"), &all), "take 2.0");
    let all = Catalog::of(vec![release("2.0", staged(0, false))]);
    assert_eq!(ruling_of(&system("1.0"), &Rules::default(), &all), "take 2.0");
    let unread = Turn { listed: Some(now() - HOUR), ..Turn::default() };
    let ruling = ruling_of(&RunningSystem { turn: unread, ..system("1.0") }, &Rules::default(), &all);
    assert!(ruling.starts_with("wait until"), "the list was read before: {ruling}");
}

#[test]
fn a_version_that_sorts_before_the_running_one_is_told_with_a_better_one() {
    let note = |running: &str, versions: &[&str]| {
        let plain = |version: &&str| release(version, Terms::default());
        let all = Catalog::of(versions.iter().map(plain).collect());
        let decision = decide(&system(running), &Rules::default(), &all, now());
        assert_eq!(decision.ruling, Ruling::UpToDate);
        decision.note.map(|note| note.to_string())
    };
    let sorts = |version: &str, running: &str, better: &str| {
        Some(format!(
            "{version}: it sorts before {running}, as systemd and the boot loader compare versions; publish it as {better}"
        ))
    };
    assert_eq!(note("1.0", &["1.0", "v2.0"]), sorts("v2.0", "1.0", "2.0"));
    assert_eq!(note("1.0", &["release-2", "V3", "v2.0"]), sorts("V3", "1.0", "3"));
    assert_eq!(note("v1.0", &["r2.0"]), sorts("r2.0", "v1.0", "v2.0"));
    // Nothing is newer in any way.
    for (running, versions) in
        [("2.0", &["v1.0", "v2.0"][..]), ("2.0", &["1.0", "rc"]), ("rc", &["ab"]), ("2.0", &["2.0~rc1"])]
    {
        assert_eq!(note(running, versions), None, "{running}");
    }
}

#[test]
fn a_halted_release_is_taken_neither_itself_nor_as_a_checkpoint() {
    let halted = "its publisher has halted the rollout";
    let all = Catalog::of(vec![release("2.0", staged(0, true))]);
    let ruling = ruling_of(&system("1.0"), &Rules::default(), &all);
    assert_eq!(ruling, format!("wait: 2.0: {halted} | 2.0: {halted}"));
    let all = Catalog::of(vec![release("1.5", staged(0, true)), release("2.0", requires("1.5"))]);
    let ruling = ruling_of(&system("1.0"), &Rules::default(), &all);
    assert!(ruling.starts_with(&format!("wait: 2.0: {halted}")), "{ruling}");
    assert_eq!(ruling_of(&system("2.0"), &Rules::default(), &all), "up to date");
}

#[test]
fn nothing_is_taken_while_the_running_system_is_not_known_to_be_good() {
    let all = catalog(&["2.0"]);
    let with = |trial| ruling_of(&RunningSystem { trial, ..system("1.0") }, &Rules::default(), &all);
    assert_eq!(
        with(TrialState::OnTrial),
        "wait: Waiting for current image to finish testing before updating again"
    );
    assert_eq!(
        with(TrialState::Unknown("no entry".into())),
        "wait: The running system is not known to be good: no entry"
    );
}

#[test]
fn a_pinned_machine_takes_nothing_not_even_its_target() {
    let pinned = RunningSystem { pinned: true, ..system("1.0") };
    let expected = "wait: Pinned to 1.0 by `abide update --pin`";
    assert_eq!(ruling_of(&pinned, &Rules::default(), &catalog(&["2.0"])), expected);
    assert_eq!(ruling_of(&pinned, &target("2.0"), &catalog(&["2.0"])), expected);
}

#[test]
fn a_failed_version_is_never_taken_again_and_a_newer_one_is() {
    let system = RunningSystem { failed: vec![failed("4.0", "2025-01-01T00:00:00Z", 1)], ..system("3.0") };
    let why = "4.0: it failed on this machine; `abide forget` allows another attempt";
    assert_eq!(
        ruling_of(&system, &Rules::default(), &catalog(&["3.0", "4.0"])),
        format!("up to date | {why}")
    );
    assert_eq!(ruling_of(&system, &Rules::default(), &catalog(&["3.0", "4.0", "4.1"])), "take 4.1");
    assert_eq!(ruling_of(&system, &Rules::default(), &catalog(&["3.9", "4.0"])), format!("take 3.9 | {why}"));
    let refused = "refuse: Cannot install the target 4.0: it failed on this machine; `abide forget`";
    assert!(ruling_of(&system, &target("4.0"), &catalog(&["4.0"])).starts_with(refused));
}

#[test]
fn a_failed_image_is_recognized_by_its_digest_under_another_version() {
    let same =
        FailedImage { digest: Some("DIGEST OF 4.1".into()), ..failed("4.0", "2025-01-01T00:00:00Z", 1) };
    let system = RunningSystem { failed: vec![same], ..system("3.0") };
    let ruling = ruling_of(&system, &Rules::default(), &catalog(&["4.1"]));
    assert!(ruling.starts_with("up to date | 4.1: it failed on this machine"), "{ruling}");
}

#[test]
fn another_build_of_one_version_is_known_by_its_digest_alone() {
    let failed_once = failed;
    let build = |digest: &str| Release { digest: digest.into(), ..release("3.0", Terms::default()) };
    let ruling = |own: Option<&str>, failed: &[&str], rules: &Rules, offered: &str| {
        let failed = failed.iter().map(|digest| FailedImage {
            digest: Some((*digest).to_owned()),
            unversioned: true,
            ..failed_once("3.0", "2025-01-01T00:00:00Z", 1)
        });
        let system = RunningSystem {
            unversioned: true,
            digest: own.map(Into::into),
            failed: failed.collect(),
            ..system("3.0")
        };
        ruling_of(&system, rules, &Catalog::of(vec![build(offered)]))
    };
    for rules in [Rules::default(), target("3.0")] {
        assert_eq!(ruling(Some("A"), &[], &rules, "B"), "take 3.0");
        assert_eq!(ruling(Some("a"), &[], &rules, "A"), "up to date");
        assert_eq!(ruling(None, &[], &rules, "A"), "take 3.0");
        assert_eq!(ruling(Some("A"), &["B"], &rules, "C"), "take 3.0");
        assert!(ruling(Some("A"), &["B"], &rules, "B").contains("it failed on this machine"));
    }
    let versioned = RunningSystem { digest: Some("A".into()), ..system("3.0") };
    assert_eq!(ruling_of(&versioned, &Rules::default(), &Catalog::of(vec![build("B")])), "up to date");
}

#[test]
fn a_failed_version_is_retried_after_its_back_off_where_configured() {
    let rules = Rules { retry_failed: Some(8 * HOUR), ..Rules::default() };
    let all = catalog(&["4.0"]);
    let after = |failed: FailedImage| {
        ruling_of(&RunningSystem { failed: vec![failed], ..system("3.0") }, &rules, &all)
    };
    let why = "4.0: it failed on this machine; next attempt from";
    assert_eq!(
        after(failed("4.0", "2026-02-28T20:00:00Z", 1)),
        format!("wait until 2026-03-01T04:00:00Z: {why} 2026-03-01T04:00:00Z | {why} 2026-03-01T04:00:00Z")
    );
    assert_eq!(after(failed("4.0", "2026-02-28T16:00:00Z", 1)), "take 4.0 (retry)");
    assert!(after(failed("4.0", "2026-02-28T16:00:00Z", 2)).starts_with("wait until 2026-03-01T08:00:00Z"));
    assert!(after(failed("4.0", "2026-02-16T00:00:00Z", 9)).starts_with("wait until 2026-03-02T00:00:00Z"));
    let why = "up to date | 4.0: it failed on this machine; `abide forget`";
    assert!(after(failed("4.0", "someday", 1)).starts_with(why));
}

#[test]
fn releases_below_min_version_are_never_taken() {
    let min = |rules: Rules| Rules { min_version: Some("2.0".into()), ..rules };
    let all = catalog(&["1.5"]);
    assert_eq!(
        ruling_of(&system("1.0"), &min(Rules::default()), &all),
        "up to date | 1.5: it is older than min_version, 2.0"
    );
    assert!(
        ruling_of(&system("1.0"), &min(target("1.5")), &all)
            .starts_with("refuse: Cannot install the target 1.5")
    );
    assert_eq!(ruling_of(&system("1.0"), &min(Rules::default()), &catalog(&["2.0"])), "take 2.0");
}

#[test]
fn a_downgrade_goes_to_a_target_only_and_never_below_the_floor() {
    let all = catalog(&["1.0", "2.0"]);
    assert_eq!(ruling_of(&system("3.0"), &Rules::default(), &all), "up to date");
    assert_eq!(ruling_of(&system("3.0"), &target("2.0"), &all), "take 2.0 (downgrade)");
    let floor = Rules { floor: Some("2.0".into()), ..target("1.0") };
    assert!(
        ruling_of(&system("3.0"), &floor, &all)
            .starts_with("refuse: Cannot install the target 1.0: it is older than the floor, 2.0")
    );
    assert_eq!(
        ruling_of(&system("3.0"), &Rules { floor: Some("2.0".into()), ..target("2.0") }, &all),
        "take 2.0 (downgrade)"
    );
}

#[test]
fn checkpoints_are_installed_one_after_the_other() {
    let all = Catalog::of(vec![
        release("1.2", Terms::default()),
        release("1.5", requires("1.2")),
        release("2.0", requires("1.5")),
        release("3.0", requires("2.0")),
    ]);
    assert_eq!(ruling_of(&system("1.0"), &Rules::default(), &all), "take 1.2 towards 3.0");
    assert_eq!(ruling_of(&system("1.2"), &Rules::default(), &all), "take 1.5 towards 3.0");
    assert_eq!(ruling_of(&system("1.7"), &Rules::default(), &all), "take 2.0 towards 3.0");
    assert_eq!(ruling_of(&system("2.0"), &Rules::default(), &all), "take 3.0");
    assert_eq!(ruling_of(&system("1.0"), &target("2.0"), &all), "take 1.2 towards 2.0");
}

#[test]
fn a_checkpoint_that_is_not_available_is_named() {
    let all = Catalog::of(vec![release("1.1", Terms::default()), release("2.0", requires("1.5"))]);
    let why = "2.0: it requires 1.5 first, which is not available";
    assert_eq!(ruling_of(&system("1.1"), &Rules::default(), &all), format!("refuse: {why} | {why}"));
    assert_eq!(ruling_of(&system("1.0"), &Rules::default(), &all), format!("take 1.1 | {why}"));
    // A checkpoint that failed on this machine is not available either.
    let all = Catalog::of(vec![release("1.5", Terms::default()), release("2.0", requires("1.5"))]);
    let system = RunningSystem { failed: vec![failed("1.5", "2025-01-01T00:00:00Z", 1)], ..system("1.0") };
    assert!(ruling_of(&system, &Rules::default(), &all).starts_with(&format!("refuse: {why}")));
}

#[test]
fn a_release_that_requires_itself_or_a_newer_one_is_refused() {
    let all = Catalog::of(vec![release("2.0", requires("2.0")), release("3.0", requires("4.0"))]);
    let ruling = ruling_of(&system("1.0"), &Rules::default(), &all);
    assert!(ruling.starts_with("refuse: 3.0: it requires 4.0 first"), "{ruling}");
}

#[test]
fn a_release_for_newer_systems_is_passed_over() {
    let min = Terms { min_version: Some("1.5".into()), ..Terms::default() };
    let all = Catalog::of(vec![release("1.2", Terms::default()), release("2.0", min)]);
    assert_eq!(
        ruling_of(&system("1.0"), &Rules::default(), &all),
        "take 1.2 | 2.0: it is for systems of version 1.5 or newer"
    );
    assert_eq!(ruling_of(&system("1.5"), &Rules::default(), &all), "take 2.0");
}

const VERSIONS: [&str; 8] = ["1.0", "1.1", "1.5", "2.0~rc1", "2.0", "2.1", "3.0", "10.0"];

fn version() -> impl Strategy<Value = String> {
    proptest::sample::select(&VERSIONS).prop_map(str::to_owned)
}

prop_compose! {
    fn any_release()(
        version in version(), requires in proptest::option::weighted(0.3, version()),
        min_version in proptest::option::weighted(0.2, version()), beta in any::<bool>()
    ) -> Release {
        let channels = if beta { vec!["beta".to_owned()] } else { vec![] };
        release(&version, Terms { requires, min_version, channels, rollout: None })
    }
}

prop_compose! {
    fn any_rules()(
        target in proptest::option::of(version()), beta in any::<bool>(),
        min_version in proptest::option::weighted(0.2, version()),
        floor in proptest::option::weighted(0.3, version()), retry in any::<bool>()
    ) -> Rules {
        Rules {
            target: target.map_or(Target::Latest, Target::Version),
            channel: if beta { "beta".into() } else { "stable".into() },
            min_version,
            floor,
            retry_failed: retry.then_some(8 * HOUR),
            retry_failed_max: 80 * HOUR,
            ..Rules::default()
        }
    }
}

prop_compose! {
    fn any_system()(
        running in version(),
        failures in proptest::collection::vec((version(), -100..100_i64, 0..9_u32), 0..4)
    ) -> RunningSystem {
        let failed = failures.into_iter().map(|(version, hours, times)| {
            FailedImage { version, digest: None, time: Some(now() + jiff::SignedDuration::from_hours(hours)), times, unversioned: false }
        });
        RunningSystem { failed: failed.collect(), ..system(&running) }
    }
}

proptest! {
    #[test]
    fn a_candidate_breaks_no_rule(
        system in any_system(), rules in any_rules(), releases in proptest::collection::vec(any_release(), 0..9)
    ) {
        let catalog = Catalog::of(releases);
        let Ruling::Take(candidate) = decide(&system, &rules, &catalog, now()).ruling else { return Ok(()) };
        let version = candidate.release.version.as_str();
        let newer = compare(version, &system.version);
        let at_least = |limit: &Option<String>, of: &str| limit.as_ref().is_none_or(|l| compare(of, l).is_ge());
        prop_assert!(newer.is_gt() || newer.is_lt() && rules.target == Target::Version(version.into()));
        prop_assert_eq!(candidate.downgrade, newer.is_lt());
        prop_assert!(at_least(&rules.min_version, version));
        prop_assert!(newer.is_gt() || at_least(&rules.floor, version));
        prop_assert!(at_least(&candidate.release.terms.min_version, &system.version));
        prop_assert!(at_least(&candidate.release.terms.requires, &system.version));
        for failed in system.failed.iter().filter(|f| f.version == version) {
            let rule = rules.retry().unwrap();
            prop_assert!(failed.time.unwrap() + backoff::wait(&rule, failed.times) <= now());
        }
        match &candidate.towards {
            None if rules.target == Target::Latest => {
                let channels = &candidate.release.terms.channels;
                prop_assert!(channels.is_empty() || channels.contains(&rules.channel));
            }
            None => prop_assert!(rules.target == Target::Version(version.into())),
            Some(wanted) => prop_assert!(compare(wanted, version).is_gt()),
        }
    }

    #[test]
    fn installing_one_candidate_after_the_other_ends(
        system in any_system(), rules in any_rules(), releases in proptest::collection::vec(any_release(), 0..9)
    ) {
        let catalog = Catalog::of(releases);
        let mut system = system;
        for _ in 0..20 {
            let Ruling::Take(candidate) = decide(&system, &rules, &catalog, now()).ruling else { return Ok(()) };
            system.version = candidate.release.version;
        }
        prop_assert!(false, "still a candidate after 20 updates");
    }

    #[test]
    fn a_bad_release_is_tried_once_by_each_machine(
        system in any_system(), releases in proptest::collection::vec(any_release(), 0..9), days in proptest::collection::vec(0..1000_i64, 9)
    ) {
        let catalog = Catalog::of(releases);
        let mut system = system;
        let mut now = now();
        let mut tried = std::collections::BTreeSet::new();
        for days in days {
            if let Ruling::Take(candidate) = decide(&system, &Rules::default(), &catalog, now).ruling {
                prop_assert!(tried.insert(candidate.release.version.clone()));
                system.failed.push(FailedImage { version: candidate.release.version, digest: None, time: Some(now), times: 1, unversioned: false });
            }
            now += jiff::SignedDuration::from_hours(24 * days);
        }
    }
}
