//! Every disk that a power cut may leave of a recorded life.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;

use abide_core::state::State;
use abide_qemu::sectors::Sectors;
use abide_qemu::seed::Seed;
use abide_qemu::table;
use abide_qemu::write_log::{Entry, Write};

use super::judge::{Judge, Promise, Violation};
use super::recorder::Recording;

/// Up to so many unflushed writes every subset of them is tried.
const ALL_SUBSETS: usize = 8;
/// Of more, so many subsets for each prefix, and so many where the machine was idle.
const SAMPLES: u64 = 3;
const SAMPLES_AT_REST: u64 = 24;

/// What EDK2 writes at once, in sectors. That such a request is not torn between two sectors of a folder
/// is one of the things that `docs/explanation/crash-safety.md` says nobody promises.
const OF_FIRMWARE: usize = 128;

/// A disk after a cut: the first entries of the log, without some of those that were not flushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// How many entries had been recorded.
    pub prefix: usize,
    /// Which of them are missing, by their number.
    pub missing: Vec<usize>,
    /// Of the last one only the first sectors are there.
    pub torn: Option<usize>,
    /// During which transition, by its number.
    pub transition: usize,
    /// The transition before it was over, and this one had not begun.
    pub at_rest: bool,
}

/// How much was tried.
#[derive(Debug, Default)]
pub struct Numbers {
    pub transitions: usize,
    pub prefixes: usize,
    pub flushes: usize,
    pub subsets: usize,
    pub states: usize,
    /// In how many of these the first partition table is torn, and the second one counts.
    pub torn_tables: usize,
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Numbers { transitions, prefixes, flushes, subsets, states, torn_tables } = self;
        write!(f, "{transitions} transitions, {prefixes} prefixes, {flushes} flushes, ")?;
        write!(f, "{subsets} subsets, {states} states, {torn_tables} with a torn first partition table")
    }
}

/// What was found.
pub struct Judgement {
    pub numbers: Numbers,
    /// One cut for each state.
    pub cuts: Vec<Cut>,
    /// The first violations, each with its cut.
    pub violations: Vec<(Cut, Violation)>,
}

/// The disk after a cut.
pub fn rebuild(recording: &Recording, cut: &Cut) -> Sectors {
    let mut disk = recording.disk.clone();
    for (index, entry) in recording.entries.iter().enumerate().take(cut.prefix) {
        if let Entry::Write(write) = entry
            && !cut.missing.contains(&index)
        {
            match cut.torn.filter(|_| index + 1 == cut.prefix) {
                Some(sectors) => disk.set(write.at, &write.numbers[..sectors]),
                None => write.apply(&mut disk),
            }
        }
    }
    disk
}

/// What may be found after a cut.
pub fn promise(recording: &Recording, cut: &Cut) -> Promise {
    let transition = &recording.transitions[cut.transition];
    match cut.at_rest {
        true => transition.before.clone(),
        false => Promise::between(&transition.before, &transition.after),
    }
}

/// Judges every state of some of a recording's transitions; stops at the `most`th violation.
pub fn judge_all(
    recording: &Recording,
    transitions: Range<usize>,
    judge: &Judge,
    seed: u64,
    most: usize,
) -> Judgement {
    Walk {
        recording,
        judge,
        seed: Seed(seed),
        durable: recording.disk.clone(),
        pending: Vec::new(),
        remembered: Vec::new(),
        oldest: 0,
        seen: HashSet::new(),
        known: BTreeMap::new(),
        most,
        out: Judgement { numbers: Numbers::default(), cuts: Vec::new(), violations: Vec::new() },
    }
    .walk(transitions)
}

struct Walk<'a> {
    recording: &'a Recording,
    judge: &'a Judge,
    seed: Seed,
    /// The disk up to the last flush.
    durable: Sectors,
    /// What was written since, by number.
    pending: Vec<(usize, &'a Write)>,
    /// Every state that Abide has saved so far.
    remembered: Vec<State>,
    /// No older one of these may come back: it was durable.
    oldest: usize,
    /// Disks that were judged, each by what had to hold.
    seen: HashSet<(u64, usize, bool)>,
    /// Every disk.
    known: BTreeMap<u64, ()>,
    most: usize,
    out: Judgement,
}

impl Walk<'_> {
    fn walk(mut self, wanted: Range<usize>) -> Judgement {
        let recording = self.recording;
        for (number, transition) in recording.transitions.iter().enumerate() {
            if !wanted.contains(&number) {
                self.pass(&recording.entries[transition.entries.clone()]);
                continue;
            }
            self.out.numbers.transitions += 1;
            // What the last transition did is done, whatever is not flushed.
            self.prefix(transition.entries.start, number, true);
            for index in transition.entries.clone() {
                self.out.numbers.prefixes += 1;
                match &recording.entries[index] {
                    Entry::Flush => {
                        self.out.numbers.flushes += 1;
                        for (_, write) in self.pending.drain(..) {
                            write.apply(&mut self.durable);
                        }
                        self.oldest = self.remembered.len().saturating_sub(1);
                    }
                    // Nothing of it was kept.
                    Entry::Write(write) if write.numbers.is_empty() => {}
                    Entry::Write(write) => {
                        self.pending.push((index, write));
                        self.prefix(index + 1, number, false);
                    }
                }
                if self.out.violations.len() >= self.most {
                    return self.out;
                }
            }
        }
        self.out.numbers.states = self.known.len();
        self.out
    }

    /// Does what was recorded, all of it.
    fn pass(&mut self, entries: &[Entry]) {
        for (_, write) in self.pending.drain(..) {
            write.apply(&mut self.durable);
        }
        for entry in entries {
            if let Entry::Write(write) = entry {
                write.apply(&mut self.durable);
            }
        }
    }

    /// Every disk after the first `prefix` entries.
    fn prefix(&mut self, prefix: usize, transition: usize, at_rest: bool) {
        let cut = Cut { prefix, missing: Vec::new(), torn: None, transition, at_rest };
        // First with nothing missing: what is remembered there may be found with something missing, too.
        self.judge(cut.clone());
        let count = self.pending.len();
        // The last write is there: without it, it would be an earlier prefix.
        let free = if at_rest { count } else { count.saturating_sub(1) };
        if count <= ALL_SUBSETS {
            for mask in 1..1_u64 << free {
                self.without(&cut, |index| mask & (1 << index) != 0);
            }
        } else {
            for _ in 0..if at_rest { SAMPLES_AT_REST } else { SAMPLES } {
                let (mask, rare) = (self.seed.number(), self.seed.once_in(2));
                let lost = move |index: usize| {
                    let word = abide_qemu::seed::mix(mask ^ index as u64);
                    index < free && if rare { word.is_multiple_of(8) } else { word.is_multiple_of(2) }
                };
                self.without(&cut, lost);
            }
        }
        let may_tear = |last: &Write| {
            let end = last.at + last.numbers.len() as u64;
            let is_whole = |range: &Range<u64>| last.at < range.end && range.start < end;
            let is_torn = !self.recording.never_torn.iter().any(is_whole);
            is_torn && last.numbers.len() > 1 && last.numbers.len() != OF_FIRMWARE
        };
        if let Some((_, last)) = self.pending.last().filter(|(_, last)| !at_rest && may_tear(last)) {
            let length = last.numbers.len();
            if table::touches_first(last.at, length) {
                (1..length).for_each(|sectors| self.judge(Cut { torn: Some(sectors), ..cut.clone() }));
            } else {
                let sectors = 1 + self.seed.below(length as u64 - 1) as usize;
                self.judge(Cut { torn: Some(sectors), ..cut });
            }
        }
    }

    fn without(&mut self, cut: &Cut, lost: impl Fn(usize) -> bool) {
        let lost = |(index, (_, write)): &(usize, &(usize, &Write))| lost(*index) && !write.durable;
        let missing = self.pending.iter().enumerate().filter(lost).map(|(_, (number, _))| *number).collect();
        self.judge(Cut { missing, ..cut.clone() });
    }

    fn judge(&mut self, cut: Cut) {
        self.out.numbers.subsets += 1;
        let mut disk = self.durable.clone();
        for (number, write) in &self.pending {
            match cut.torn.filter(|_| number + 1 == cut.prefix) {
                _ if cut.missing.contains(number) => {}
                Some(sectors) => disk.set(write.at, &write.numbers[..sectors]),
                None => write.apply(&mut disk),
            }
        }
        let is_new = self.known.insert(disk.hash(), ()).is_none();
        if is_new {
            self.out.cuts.push(cut.clone());
        }
        if !self.seen.insert((disk.hash(), cut.transition, cut.at_rest)) {
            return;
        }
        let verdict = self.judge.check(&disk, &promise(self.recording, &cut));
        let verdict = verdict.and_then(|found| {
            self.out.numbers.torn_tables += usize::from(is_new && found.is_table_torn);
            self.remember(found.state, &cut)
        });
        if let Err(violation) = verdict {
            self.out.violations.push((cut, violation));
        }
    }

    /// What is remembered must be something that was saved, and nothing older than what was durable.
    fn remember(&mut self, state: State, cut: &Cut) -> Result<(), Violation> {
        match self.remembered.iter().rposition(|known| *known == state) {
            Some(index) if index >= self.oldest => Ok(()),
            _ if cut.missing.is_empty() && cut.torn.is_none() => {
                self.remembered.push(state);
                Ok(())
            }
            Some(_) => Err(format!("the state is an old one: {state:?}")),
            None => Err(format!("the state was never saved: {state:?}")),
        }
    }
}
