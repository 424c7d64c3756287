//! The lives that are looked at.

use super::disk::Geometry;
use super::explore::{Count, Life};
use super::mutation::Mutation;
use super::world::{Goal, Quality};

/// How many disturbances one life has; more on demand.
fn disturbances() -> u8 {
    std::env::var("ABIDE_SIMULATOR_DEPTH").ok().and_then(|n| n.parse().ok()).unwrap_or(2)
}

fn life(name: &'static str, start: &'static str, goals: &[Goal]) -> Life {
    Life {
        name,
        start,
        goals: goals.to_vec(),
        geometry: Geometry::OneSector,
        mutation: Mutation::None,
        blind: false,
        disturbances: disturbances(),
    }
}

fn explore(life: &Life) -> Count {
    let start = std::time::Instant::now();
    let count = life.explore().unwrap_or_else(|why| panic!("{why}"));
    println!(
        "{}: {} states, {} boots, {} cuts, {:.1} s",
        life.name,
        count.states,
        count.boots,
        count.cuts,
        start.elapsed().as_secs_f32()
    );
    count
}

use Goal::{Forget, Reinstall, Rollback, Update};
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

#[test]
fn nothing_depends_on_efi_variables() {
    let blind = |life: Life| Life { blind: true, ..life };
    explore(&blind(life("blind upgrade", "1.0", &[Update("2.0", Good), Update("3.0", Good)])));
    explore(&blind(life("blind downgrade", "3.0", &[Update("2.0", SickRetry), Update("1.0", Good)])));
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
        let mut tries = [1, 2].into_iter().flat_map(|n| lives.map(|goals| whole(mutation, goals, n)));
        let found = tries.find_map(|life| life.explore().err());
        let why = found.unwrap_or_else(|| panic!("{mutation:?}: nothing was found"));
        println!("{mutation:?}: {}", why.lines().next().unwrap_or_default());
    }
}
