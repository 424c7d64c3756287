//! Records what a machine writes to its first disk, from one moment at which it has nothing to do to the next.

use std::ops::Range;
use std::path::PathBuf;

use abide_qemu::Machine;
use abide_qemu::sectors::Sectors;
use abide_qemu::write_log::{self, Entry, Follower, Write};

use super::judge::Promise;

/// From one moment at which the machine had nothing to do to the next.
#[derive(Debug, Clone)]
pub struct Transition {
    /// What was done.
    pub name: String,
    /// What was recorded meanwhile.
    pub entries: Range<usize>,
    /// What held before; it is durable.
    pub before: Promise,
    /// What holds afterwards.
    pub after: Promise,
}

/// A life.
pub struct Recording {
    pub disk: Sectors,
    pub entries: Vec<Entry>,
    pub transitions: Vec<Transition>,
    /// Sectors that a cut leaves all old or all new, when they are written at once.
    pub never_torn: Vec<Range<u64>>,
}

/// Records the life of a machine that is switched on later.
pub struct Recorder {
    disk: Sectors,
    path: PathBuf,
    log: Option<Follower>,
    now: Promise,
    transitions: Vec<Transition>,
}

impl Recorder {
    /// Of this machine, which records its writes; `now` holds.
    pub fn of(machine: &Machine, now: Promise) -> Recorder {
        let disk = Sectors::read(machine.disk(0).unwrap()).unwrap();
        Recorder { disk, path: machine.write_log(), log: None, now, transitions: Vec::new() }
    }

    /// What was done until now is one transition, with this change of what holds.
    pub fn end(&mut self, name: &str, change: impl FnOnce(&mut Promise)) {
        let before = self.now.clone();
        change(&mut self.now);
        let log = self.log.get_or_insert_with(|| Follower::open(&self.path).unwrap());
        while log.step().unwrap().is_some() {}
        let start = self.transitions.last().map_or(0, |last| last.entries.end);
        let end = usize::try_from(log.entries).unwrap();
        let (name, after) = (name.to_owned(), self.now.clone());
        self.transitions.push(Transition { name, entries: start..end, before, after });
    }

    /// All of it, once the machine is off.
    pub fn finish(self) -> Recording {
        let Recorder { disk, path, transitions, .. } = self;
        Recording {
            entries: write_log::read(&path, &disk).unwrap(),
            disk,
            transitions,
            never_torn: Vec::new(),
        }
    }
}

impl Recording {
    /// Leaves out what was written to these sectors only; all entries keep their numbers.
    pub fn leave_out(&mut self, ranges: &[Range<u64>]) {
        for entry in &mut self.entries {
            if let Entry::Write(write) = entry
                && ranges.iter().any(|range| {
                    range.start <= write.at && write.at + write.numbers.len() as u64 <= range.end
                })
            {
                *entry = Entry::Write(Write { at: write.at, numbers: Vec::new(), durable: false });
            }
        }
    }
}
