//! Every combination of witnesses, and what each command makes of it.
//!
//! A [`situation::Situation`] is what really is (which slot is mounted, whose kernel runs, what the loader started)
//! and what of that the machine sees. Abide decides by the second; [`oracle`] knows the first.

mod machine;
mod memory;
mod oracle;
mod run;
mod situation;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, thread};

use abide::assess::consent::is_left_to_others;

use machine::{Fault, View};
use run::COMMANDS;
use situation::Situation;

/// The commands are tried in every so-many-th of the situations in which Abide refuses everything; with
/// `ABIDE_WITNESSES=all` in each.
fn others() -> usize {
    if env::var_os("ABIDE_WITNESSES").is_some_and(|word| word == "all") { 1 } else { 32 }
}

/// How much was looked at, and what is wrong.
#[derive(Debug, Default)]
struct Outcome {
    situations: usize,
    unknown: usize,
    commands: usize,
    changes: usize,
    /// Each violation, how often it was found, and where first.
    violations: BTreeMap<String, (usize, String)>,
}

impl Outcome {
    fn violated(&mut self, why: String, situation: &Situation) {
        self.violations.entry(why).or_insert_with(|| (0, format!("{situation:?}"))).0 += 1;
    }

    fn add(mut self, other: Self) -> Self {
        self.situations += other.situations;
        self.unknown += other.unknown;
        self.commands += other.commands;
        self.changes += other.changes;
        for (why, (times, at)) in other.violations {
            self.violations.entry(why).or_insert((0, at)).0 += times;
        }
        self
    }

    fn told(&self) -> String {
        let lines =
            self.violations.iter().map(|(why, (times, at))| format!("{why} ({times} times)\n  in {at}"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Judges what Abide makes of one situation: what it finds the boot to be, what it lets others do, and
/// every command. Of the situations in which it must refuse everything, the commands are tried in some.
fn judge(situation: &Situation, fault: Fault, outcome: &mut Outcome) {
    outcome.situations += 1;
    let view = View::of(situation, fault);
    let (finding, may_overwrite) = view.glance(situation);
    if fault == Fault::None {
        let found = oracle::judge_finding(situation, &finding.boot, may_overwrite);
        let judged = found.and_then(|()| oracle::judge_consent(situation, is_left_to_others(&finding)));
        if let Err(why) = judged {
            outcome.violated(why, situation);
        }
    }
    if finding.contradiction().is_some() {
        outcome.unknown += 1;
        if !outcome.unknown.is_multiple_of(others()) {
            return;
        }
    }
    for command in COMMANDS {
        outcome.commands += 1;
        match run::run(situation, command, &view) {
            Ok(changed) => outcome.changes += usize::from(changed),
            Err(why) => outcome.violated(format!("{command:?}: {why}"), situation),
        }
    }
}

/// Judges every situation. With a mistake put back it ends at the first violation.
fn enumerate(fault: Fault) -> Outcome {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let noticed = AtomicBool::new(false);
    let part = |first: usize| {
        let mut outcome = Outcome::default();
        for situation in Situation::all().skip(first).step_by(threads) {
            judge(&situation, fault, &mut outcome);
            if fault != Fault::None {
                noticed.fetch_or(!outcome.violations.is_empty(), Ordering::Relaxed);
            }
            if noticed.load(Ordering::Relaxed) {
                break;
            }
        }
        outcome
    };
    let part = &part;
    thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|first| scope.spawn(move || part(first))).collect();
        parts.into_iter().map(|part| part.join().unwrap()).fold(Outcome::default(), Outcome::add)
    })
}

#[test]
fn no_combination_of_witnesses_destroys_a_system_or_goes_round_in_circles() {
    let outcome = enumerate(Fault::None);
    let Outcome { situations, unknown, commands, changes, .. } = outcome;
    let line = format!(
        "witnesses: {situations} situations, {unknown} of them unknown; {commands} commands, {changes} of them changed something\n"
    );
    // Past the harness, which shows nothing of a test that passes.
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    assert!(outcome.violations.is_empty(), "{}", outcome.told());
    assert!(changes > 0);
}

#[test]
fn each_of_the_five_old_mistakes_is_noticed() {
    for fault in Fault::ALL {
        let outcome = enumerate(fault);
        assert!(!outcome.violations.is_empty(), "{fault:?}: nothing was noticed");
        println!("{fault:?}: {}", outcome.told());
    }
}
