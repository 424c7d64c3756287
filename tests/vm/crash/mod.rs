//! Power cuts on the real file system: what the firmware, the loader and Linux's vfat driver write to the
//! disk of a tiny guest with two slots is recorded, and every disk that a cut may leave is judged.

mod bench;
mod cuts;
mod fsync;
pub mod judge;
mod life;
pub mod node;
pub mod recorder;
mod slots;
mod states;

use std::collections::BTreeSet;
use std::env;
use std::time::Instant;

use abide_core::boot::model::entry::UKI_DIR;
use abide_qemu::fat::Fat;
use abide_qemu::seed::Seed;
use abide_qemu::slots::{ESP_START, Guest};
use abide_qemu::tiny;

use bench::{Bench, fsck};
use cuts::Owner;
use judge::{Judge, Promise};
use life::Renamer;
use recorder::Recording;
use states::{Cut, Judgement, judge_all, promise, rebuild};

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn seed() -> u64 {
    number("ABIDE_SEED", 1)
}

#[test]
fn every_disk_after_a_power_cut_keeps_its_promises_and_boots() {
    let seed = seed();
    let began = Instant::now();
    let recording = life::record("crash-life");
    let recorded = began.elapsed();
    let judge = Judge::new(Guest::get().unwrap(), &recording.disk);
    let judgement = every_state_holds(&recording, &judge, seed);
    let judged = began.elapsed() - recorded;
    assert!(judgement.numbers.torn_tables > 0, "no cut tears the first partition table");
    the_folder_stays_short(&recording);
    an_fsync_that_is_left_out_is_noticed(&recording, &judge, seed);
    let booted = boot_some(&recording, &judge, &judgement.cuts, seed);
    println!(
        "crash states: {}, {booted} booted (ABIDE_SEED={seed}; recorded in {recorded:.0?}, judged in {judged:.0?}, all in {:.0?})",
        judgement.numbers,
        began.elapsed()
    );
}

#[test]
fn no_cut_drops_a_counter_where_a_sector_ends_within_the_name() {
    let seed = seed();
    for renamer in [Renamer::Apply, Renamer::FirstTry, Renamer::SecondTry] {
        let recording = life::record_at_a_sectors_end("crash-sector", renamer);
        let judge = Judge::new(Guest::get().unwrap(), &recording.disk);
        let numbers = every_state_holds(&recording, &judge, seed).numbers;
        println!("crash states at a sector's end ({renamer:?}): {numbers} (ABIDE_SEED={seed})");
    }
}

fn every_state_holds(recording: &Recording, judge: &Judge, seed: u64) -> Judgement {
    let judgement = judge_all(recording, 0..recording.transitions.len(), judge, seed, 5);
    for (cut, violation) in &judgement.violations {
        println!("{}: {cut:?}: {violation}", recording.transitions[cut.transition].name);
    }
    assert!(judgement.violations.is_empty(), "ABIDE_SEED={seed}");
    judgement
}

/// The firmware puts every name behind all that have been there, and Abide clears what is behind the last one.
fn the_folder_stays_short(recording: &Recording) {
    let last = recording.transitions.len() - 1;
    let cut =
        Cut { prefix: recording.entries.len(), missing: vec![], torn: None, transition: last, at_rest: true };
    let disk = rebuild(recording, &cut);
    let sectors = Fat::open(&disk, ESP_START).unwrap().sectors_of_dir(UKI_DIR).unwrap();
    let used: Vec<u64> = sectors.into_iter().filter(|sector| disk.number(*sector) != 0).collect();
    // A slot begins with 0 where it was never used, and with 0xe5 where its name was removed.
    let has_name = |sector: &u64| disk.content(*sector).chunks(32).any(|slot| ![0, 0xe5].contains(&slot[0]));
    let behind = used.iter().rev().take_while(|sector| !has_name(sector)).count();
    assert_eq!(behind, 0, "of {} sectors of {UKI_DIR} the last {behind} hold no name", used.len());
}

/// The checker is mutation-tested: an fsync that is left out must be noticed, or be shown to be harmless.
fn an_fsync_that_is_left_out_is_noticed(recording: &Recording, judge: &Judge, seed: u64) {
    let all = fsync::of_the_entries_folder(recording);
    let (mut noticed, mut harmless, mut commands, mut missed) = (0, 0, BTreeSet::new(), Vec::new());
    for fsync in &all {
        let ((change, names), without) = (fsync::change(recording, fsync), fsync::left_out(recording, fsync));
        let range = fsync.transition..(fsync.transition + 2).min(recording.transitions.len());
        let judgement = judge_all(&without, range, judge, seed, 1);
        let name = recording.transitions[fsync.transition].name.clone();
        let found = judgement.violations.first().map(|(_, violation)| violation);
        let of_what = format!("the fsync after `{change}` in `{name}`");
        match (found, change.harmless(&names)) {
            (Some(violation), _) => {
                println!("  without {of_what}: {violation}");
                noticed += 1;
                commands.insert(name);
            }
            (None, Some(why)) => {
                println!("  without {of_what}: nothing; {why}");
                harmless += 1;
            }
            (None, None) => missed.push(of_what),
        }
    }
    println!("fsyncs of the folder left out: {}, noticed {noticed}, harmless {harmless}", all.len());
    assert!(missed.is_empty(), "left out and not noticed: {missed:#?}");
    for command in ["abide apply", "abide commit --now", "abide rollback"] {
        assert!(commands.contains(command), "an fsync left out of `{command}` is not noticed");
    }
}

/// Boots from a sample of the disks; `reconcile` finishes what was begun, and the promises still hold.
fn boot_some(recording: &Recording, judge: &Judge, cuts: &[Cut], seed: u64) -> u64 {
    let (mut seed, count) = (Seed(seed), number("ABIDE_BOOTS", 6));
    let mut bench = Bench::new("crash-boot", &recording.disk);
    for _ in 0..count {
        let cut = &cuts[seed.below(cuts.len() as u64) as usize];
        let transition = &recording.transitions[cut.transition];
        bench.put(rebuild(recording, cut));
        let (before, work) =
            (fsck(&bench.disk, &bench.machine().dir().join("esp.img")), after(recording, cut));
        let mut vm = bench.start();
        let boot = vm.wait_for_boot(tiny::BOOT).unwrap();
        let status = vm.run("abide status --json").unwrap();
        assert!(
            status.success() && status.text.contains("\"schema\""),
            "{}: {cut:?}: {status}",
            transition.name
        );
        bench.stop(vm);
        let found = promise(recording, cut).next;
        assert!(
            found.iter().any(|v| *v == boot.version),
            "{}: {cut:?}: {} booted",
            transition.name,
            boot.version
        );
        if let Err(violation) = judge.check(&bench.disk, &work) {
            panic!("{}: {cut:?}: booted {}: {violation}", transition.name, boot.version);
        }
        println!(
            "  {} ({} of {} unflushed writes missing): boots {}; fsck.fat before: {}",
            transition.name,
            cut.missing.len(),
            cut.prefix,
            boot.version,
            before.map_or("clean".into(), |text| text.lines().skip(1).take(1).collect::<String>()),
        );
    }
    count
}

/// What holds once a boot after the cut has done its part: it may have used up a try, or noted that
/// all of them are.
fn after(recording: &Recording, cut: &Cut) -> Promise {
    let mut promise = promise(recording, cut);
    promise.next.extend(promise.committed.clone());
    if let Some(next) = recording.transitions.get(cut.transition + 1) {
        promise.may_fail.extend(next.after.may_fail.clone());
    }
    promise.must_fail.clear();
    promise
}

/// Half of the cuts each: two machines, side by side.
fn a_machine_survives_power_cuts(number_of_machine: u64) {
    let (seed, cuts) = (seed(), number("ABIDE_CUTS", 12));
    let share = (cuts + number_of_machine) / 2;
    println!("power cuts on machine {number_of_machine}: ABIDE_SEED={seed} ABIDE_CUTS={cuts}");
    let began = Instant::now();
    let mut owner = Owner::new(&format!("crash-cuts-{number_of_machine}"), seed * 2 + number_of_machine);
    owner.work(share);
    println!(
        "power cuts on machine {number_of_machine}: {:?} in {:.0?} (ABIDE_SEED={seed} ABIDE_CUTS={cuts})",
        owner.tally,
        began.elapsed()
    );
}

#[test]
fn power_cuts_at_random_moments_never_cost_more_than_a_try() {
    a_machine_survives_power_cuts(0);
}

#[test]
fn power_cuts_at_other_moments_never_cost_more_than_a_try() {
    a_machine_survives_power_cuts(1);
}
