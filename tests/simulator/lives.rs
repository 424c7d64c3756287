//! The lives that are simulated.

use std::io::Write;

use super::disk::Geometry;
use super::explore::Life;
use super::mutation::Mutation;
use super::world::{Goal, NEWEST, Quality, disturbances};

fn life(name: &'static str, start: &'static str, goals: &[Goal]) -> Life {
    Life {
        name,
        start,
        goals: goals.to_vec(),
        geometry: Geometry::OneSector,
        mutation: Mutation::None,
        blind: false,
        rearm: false,
        loader: NEWEST,
        full: false,
        xbootldr: false,
        disturbances: disturbances(),
    }
}

fn explore(life: &Life) {
    let count = life.explore().unwrap_or_else(|why| panic!("{why}"));
    // Past the harness, which shows nothing of a test that passes.
    let line = format!(
        "simulator: {}: {} states, {} boots, {} power cuts\n",
        life.name, count.states, count.boots, count.cuts
    );
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

use Goal::{Break, Forget, Reinstall, Rollback, Update};
use Quality::{DiesInInitramfs, Good, NeverReports, Sick, SickRetry, Unwanted, WrongRoot};

#[test]
fn an_upgrade_and_the_next_one_survive_every_cut() {
    explore(&life("two upgrades", "1.0", &[Update("2.0", Good), Update("3.0", Good)]));
}

#[test]
fn a_downgrade_and_the_way_back_survive_every_cut() {
    explore(&life("a downgrade", "3.0", &[Update("2.0", Good), Update("4.0", Good)]));
    explore(&life("two downgrades", "3.0", &[Update("2.0", Good), Update("1.0", Good)]));
}

#[test]
fn a_reinstall_survives_every_cut() {
    explore(&life("a reinstall", "2.0", &[Reinstall("2.0"), Update("3.0", Good)]));
}

#[test]
fn bad_upgrades_end_on_the_old_system_with_a_record_whatever_is_cut() {
    for quality in [NeverReports, DiesInInitramfs, WrongRoot, Sick, SickRetry, Unwanted] {
        explore(&life("a bad upgrade", "1.0", &[Update("2.0", quality), Update("3.0", Good)]));
    }
}

#[test]
fn bad_downgrades_end_on_the_old_system_with_a_record_whatever_is_cut() {
    for quality in [NeverReports, DiesInInitramfs, WrongRoot, Sick, SickRetry, Unwanted] {
        explore(&life("a bad downgrade", "3.0", &[Update("2.0", quality), Update("1.0", Good)]));
    }
}

#[test]
fn an_image_that_fails_with_the_largest_records_is_refused_whatever_is_cut() {
    let goals = [Update("2.0", SickRetry), Update("3.0", Good)];
    explore(&Life { full: true, ..life("the largest records", "1.0", &goals) });
}

#[test]
fn a_failed_image_can_be_forgotten_and_tried_again_whatever_is_cut() {
    let goals = [Update("2.0", Sick), Forget("2.0"), Update("2.0", Good)];
    explore(&life("forget", "1.0", &goals));
}

#[test]
fn a_rollback_on_a_committed_system_survives_every_cut() {
    explore(&life("rollback", "1.0", &[Update("2.0", Good), Rollback("1.0"), Update("3.0", Good)]));
    explore(&life(
        "rollback of a downgrade",
        "2.0",
        &[Update("1.0", Good), Rollback("2.0"), Update("3.0", Good)],
    ));
}

/// The same with `[assess] rearm`.
fn rearmed(name: &'static str, start: &'static str, goals: &[Goal]) -> Life {
    Life { rearm: true, ..life(name, start, goals) }
}

#[test]
fn a_healthy_system_that_gets_its_tries_back_keeps_running() {
    explore(&rearmed("rearmed upgrades", "1.0", &[Update("2.0", Good), Update("3.0", Good)]));
    let goals = [Update("2.0", Good), Rollback("3.0"), Update("4.0", Sick)];
    explore(&Life { disturbances: 1, ..rearmed("rearmed downgrade", "3.0", &goals) });
}

#[test]
fn a_committed_system_that_breaks_later_falls_back_at_any_power_cut() {
    let goals = [Update("2.0", Good), Break("2.0", DiesInInitramfs)];
    explore(&rearmed("rearmed, then broken", "3.0", &goals));
    for start in ["1.0", "3.0"] {
        let goals = [Update("2.0", Good), Break("2.0", NeverReports), Update("4.0", Good)];
        explore(&Life { disturbances: 1, ..rearmed("rearmed, then broken", start, &goals) });
    }
}

#[test]
fn nothing_depends_on_efi_variables() {
    let blind = |life: Life| Life { blind: true, ..life };
    explore(&blind(life("blind upgrade", "1.0", &[Update("2.0", Good), Update("3.0", Good)])));
    explore(&blind(life("blind downgrade", "3.0", &[Update("2.0", SickRetry), Update("1.0", Good)])));
}

/// New entries go to the ESP; what was installed lies elsewhere, is demoted there, committed again and
/// removed at last.
#[test]
fn a_system_whose_entry_is_on_xbootldr_survives_every_cut() {
    let lives = [
        life("xbootldr: two upgrades", "1.0", &[Update("2.0", Good), Update("3.0", Good)]),
        life("xbootldr: a bad downgrade", "3.0", &[Update("2.0", Sick), Update("1.0", Good)]),
        life("xbootldr: a downgrade and back", "2.0", &[Update("1.0", Good), Rollback("2.0")]),
        life("xbootldr: a reinstall", "2.0", &[Reinstall("2.0"), Update("3.0", NeverReports)]),
    ];
    for life in lives {
        explore(&Life { xbootldr: true, ..life });
    }
}

#[test]
fn every_version_of_the_loader_will_do() {
    for loader in ["systemd-boot 252.39", "systemd-boot 257.13"] {
        let lives = [
            life(loader, "1.0", &[Update("2.0", Good), Update("3.0", NeverReports)]),
            life(loader, "3.0", &[Update("2.0", Sick), Update("1.0", Good), Rollback("3.0")]),
        ];
        for life in lives {
            explore(&Life { loader, disturbances: 1, ..life });
        }
    }
}

/// A life with every kind of transition.
#[test]
fn the_power_is_cut_at_every_point_of_every_transition() {
    let goals = [
        Update("1.0", SickRetry),
        Forget("1.0"),
        Update("1.0", Good),
        Rollback("2.0"),
        Update("3.0", WrongRoot),
        Update("4.0", Unwanted),
        Forget("4.0"),
        Update("4.0", Sick),
        Forget("4.0"),
        Update("4.0", Good),
    ];
    let count = |goals, disturbances| {
        let life = whole(Mutation::None, goals, disturbances);
        life.explore().unwrap_or_else(|why| panic!("{why}"))
    };
    let mut all = count(&goals, 1);
    // That one is a disturbance itself.
    let reboot = "an orderly reboot";
    let of_reboot = count(&[Update("3.0", Good)], 2).transitions[reboot];
    all.transitions.insert(reboot.to_owned(), of_reboot);
    std::io::stderr().write_all(all.table().as_bytes()).unwrap();
    let writing = [
        "a breadcrumb",
        reboot,
        "apply",
        "assess gives up",
        "assess wants another try",
        "commit",
        "forget",
        "initrd gives up",
        "initrd: fallback",
        "initrd: trial",
        "rollback of the trial",
        "rollback to the other slot",
        "the loader counts edge_",
        "write",
        "write: the slot is not yet overwritten",
    ];
    // Nothing is written to the ESP meanwhile: every cut leaves it as it was.
    for name in ["write: the tree is half written", "write: the root hash is an old one"] {
        assert!(all.transitions[name].cuts > 0, "{name}");
    }
    for name in writing {
        let of = all.transitions.get(name).copied().unwrap_or_default();
        assert!(of.points > 0 && of.cuts > of.points / 2, "{name}: {of:?}");
    }
}

/// A life in which every step of the product matters.
fn whole(mutation: Mutation, goals: &[Goal], disturbances: u8) -> Life {
    Life { mutation, disturbances, ..life("a life with a bug", "2.0", goals) }
}

#[test]
fn every_seeded_bug_breaks_an_invariant() {
    let lives: [&[Goal]; 3] = [
        &[Update("3.0", Good), Update("4.0", Good)],
        &[Update("1.0", Good), Rollback("2.0")],
        &[Update("3.0", Sick), Update("4.0", Good)],
    ];
    for goals in lives {
        whole(Mutation::None, goals, 1).explore().unwrap_or_else(|why| panic!("{why}"));
    }
    for mutation in Mutation::ALL {
        let mut tries: Vec<Life> =
            [1, 2].into_iter().flat_map(|n| lives.map(|goals| whole(mutation, goals, n))).collect();
        if mutation == Mutation::NoRenameSync {
            tries = vec![Life { mutation, ..scattered("1.0", &[Update("2.0", Good), Update("3.0", Good)]) }];
        }
        let found = tries.iter().find_map(|life| life.explore().err());
        let why = found.unwrap_or_else(|| panic!("{mutation:?}: nothing was found"));
        println!("{mutation:?}: {}", why.lines().next().unwrap_or_default());
    }
}

/// A life on a disk on which no two names share a sector.
fn scattered(start: &'static str, goals: &[Goal]) -> Life {
    Life { geometry: Geometry::Scattered, disturbances: 1, ..life("scattered names", start, goals) }
}

#[test]
fn an_upgrade_survives_a_cut_even_where_a_rename_takes_two_writes() {
    for quality in [Good, Sick, WrongRoot, DiesInInitramfs, SickRetry] {
        explore(&scattered("1.0", &[Update("2.0", quality), Update("3.0", Good)]));
    }
}

/// The second cut comes where one of the names that the first has left is removed.
#[test]
fn an_upgrade_survives_two_cuts_even_where_a_rename_takes_two_writes() {
    for quality in [Good, Sick] {
        let goals = [Update("2.0", quality), Update("3.0", Good)];
        explore(&Life { disturbances: 2, ..scattered("1.0", &goals) });
    }
}

/// What `docs/explanation/crash-safety.md` says about renames that take two writes, so that it stays true.
#[test]
fn the_rest_needs_a_rename_to_be_one_write() {
    let lives: [(&str, &[Goal], &str); 2] = [
        // Both names of a demotion are lost.
        ("3.0", &[Update("2.0", Good)], "invariant 1: there is no good entry"),
        // Both names of a trial stay, and the loader cannot count.
        ("1.0", &[Update("2.0", NeverReports)], "invariant 8: left alone"),
    ];
    for (start, goals, known) in lives {
        let why = scattered(start, goals).explore().unwrap_err();
        assert!(why.contains(known), "{why}");
    }
}
