//! The power fails at random moments while a machine is updated again and again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use abide_qemu::sectors::Sectors;
use abide_qemu::seed::{Seed, mix};
use abide_qemu::slots::{Guest, VERSIONS};
use abide_qemu::write_log::{Entry, Follower};
use abide_qemu::{Error, Running, tiny};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::bench::Bench;
use super::judge::{Judge, Promise, Version};
use super::life::set;

/// A trial has three tries; so many cuts leave it one.
const CUTS_PER_JOB: u64 = 2;

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    /// This version, kept.
    Update(Version),
    /// This version tried, rejected by the operator, and then forgotten.
    Reject(Version),
    /// Back to the version in the other slot.
    Rollback(Version),
}

/// When the power goes: so many entries of the log after so many flushes since the machine was
/// switched on.
#[derive(Debug, Clone, Copy)]
struct Moment {
    flushes: u64,
    entries: u64,
}

/// The results.
#[derive(Debug, Default)]
pub struct Tally {
    pub jobs: u64,
    pub cuts: u64,
    pub lost: u64,
    pub boots: u64,
    pub repeated: u64,
}

pub struct Owner {
    bench: Bench,
    judge: Judge,
    guest: &'static Guest,
    seed: Seed,
    running: Version,
    /// What the other slot holds, if that is good.
    other: Option<Version>,
    doing: String,
    /// The commit of the wanted version was requested.
    commit_begun: bool,
    pub tally: Tally,
}

impl Owner {
    pub fn new(name: &str, seed: u64) -> Owner {
        let guest = Guest::get().unwrap();
        let disk = Sectors::read(&guest.disk).unwrap();
        Owner {
            judge: Judge::new(guest, &disk),
            bench: Bench::new(name, &disk),
            guest,
            seed: Seed(mix(seed)),
            running: "1.0",
            other: None,
            doing: String::new(),
            commit_begun: false,
            tally: Tally::default(),
        }
    }

    /// Gets jobs done until the power was cut `cuts` times.
    pub fn work(&mut self, cuts: u64) {
        while self.tally.cuts < cuts {
            let job = self.next_job();
            self.tally.jobs += 1;
            self.commit_begun = false;
            let promise = self.promise(job);
            let planned = (1 + self.seed.below(CUTS_PER_JOB)).min(cuts - self.tally.cuts);
            for number in 0..planned {
                let moment = self.moment(number);
                self.cut(job, moment, &promise);
            }
            self.finish(job, &promise);
        }
    }

    fn next_job(&mut self) -> Job {
        let free: Vec<Version> = VERSIONS.into_iter().filter(|version| *version != self.running).collect();
        let version = free[self.seed.below(free.len() as u64) as usize];
        match (self.seed.below(5), self.other) {
            (0, Some(other)) => Job::Rollback(other),
            (1, _) => Job::Reject(version),
            _ => Job::Update(version),
        }
    }

    fn moment(&mut self, number: u64) -> Moment {
        // Most of a job's flushes come before the trial; a later attempt may have less to do.
        let flushes = self.seed.below(if number == 0 { 26 } else { 16 });
        Moment { flushes, entries: self.seed.below(6) }
    }

    /// What holds until the commit of the system on trial is requested.
    fn before_commit(&self, promise: &Promise) -> Promise {
        let was_good = |version: &&Version| **version == self.running || self.other == Some(**version);
        match self.commit_begun {
            true => promise.clone(),
            false => {
                Promise { good: promise.good.iter().filter(was_good).copied().collect(), ..promise.clone() }
            }
        }
    }

    /// What holds at any moment of the job.
    fn promise(&self, job: Job) -> Promise {
        let mut good = set(&[self.running]);
        good.extend(self.other);
        let (target, kept) = match job {
            Job::Update(version) | Job::Rollback(version) => (version, true),
            Job::Reject(version) => (version, false),
        };
        let both = set(&[self.running, target]);
        if kept {
            good.insert(target);
        }
        Promise {
            next: both.clone(),
            committed: if kept { both } else { set(&[self.running]) },
            good,
            may_fail: if kept { BTreeSet::new() } else { set(&[target]) },
            must_fail: BTreeSet::new(),
            ..Promise::default()
        }
    }

    /// One attempt at the job that ends in a power cut.
    fn cut(&mut self, job: Job, moment: Moment, promise: &Promise) {
        let mut vm = self.start();
        let watch = Watch::start(&vm, self.log(), moment);
        let ended = self.attempt(&mut vm, job, promise);
        watch.stop();
        let entries = self.bench.stop(vm);
        assert!(ended.is_ok() || moment.reached(&entries).is_some(), "{}: {:?}", self.doing, ended);
        let prefix = moment.reached(&entries).unwrap_or(entries.len());
        let (disk, lost, pending) = self.rebuild(&entries[..prefix]);
        self.tally.cuts += 1;
        self.tally.lost += lost;
        println!(
            "  cut {:3}: {job:?} after {} flushes and {} writes of {}, in `{}`; {lost} of {pending} unflushed writes lost",
            self.tally.cuts,
            moment.flushes,
            moment.entries,
            entries.len(),
            self.doing
        );
        let promise = self.before_commit(promise);
        self.judge.check(&disk, &promise).unwrap_or_else(|violation| panic!("{job:?}: {violation}"));
        self.bench.put(disk);
    }

    /// The job is done without another cut; then the power fails once more, and everything reported as
    /// done must be done.
    fn finish(&mut self, job: Job, promise: &Promise) {
        let mut vm = self.start();
        self.tally.repeated += 1;
        self.attempt(&mut vm, job, promise).unwrap();
        let entries = self.bench.stop(vm);
        let (disk, ..) = self.rebuild(&entries);
        let was = self.running;
        match job {
            Job::Update(version) | Job::Rollback(version) => {
                self.other = Some(was);
                self.running = version;
            }
            Job::Reject(_) => self.other = None,
        }
        let running = set(&[self.running]);
        let good = running.iter().copied().chain(self.other).collect();
        let done = Promise { next: running.clone(), committed: running, good, ..Promise::default() };
        self.judge.check(&disk, &done).unwrap_or_else(|violation| panic!("after {job:?}: {violation}"));
        self.bench.put(disk);
    }

    /// The disk with a random part of what was not flushed missing.
    fn rebuild(&mut self, entries: &[Entry]) -> (Sectors, u64, u64) {
        let mut disk = self.bench.before().clone();
        let last_flush = entries.iter().rposition(|entry| *entry == Entry::Flush).unwrap_or(0);
        let (mut lost, mut pending) = (0, 0);
        for (index, entry) in entries.iter().enumerate() {
            let Entry::Write(write) = entry else { continue };
            let unflushed = index > last_flush && !write.durable;
            pending += u64::from(unflushed);
            if unflushed && self.seed.once_in(2) {
                lost += 1;
            } else {
                write.apply(&mut disk);
            }
        }
        (disk, lost, pending)
    }

    fn start(&mut self) -> Running {
        if self.seed.once_in(6) {
            // No boot decision depends on what the firmware remembers.
            self.bench.machine().wipe_variables().unwrap();
        }
        self.bench.start()
    }

    fn log(&self) -> PathBuf {
        abide_qemu::paths::machine(&self.name()).join("writes.log")
    }

    fn name(&self) -> String {
        self.bench.name().to_owned()
    }

    /// Does what is left of the job, from wherever the machine boots.
    fn attempt(&mut self, vm: &mut Running, job: Job, promise: &Promise) -> Result<(), Error> {
        loop {
            let booted = self.boot(vm, promise)?;
            let status = self.status(vm)?;
            let failures = status["failures"].as_array().map_or(0, Vec::len);
            if promise.may_fail.is_empty() {
                assert_eq!(failures, 0, "{job:?}: {status:#}");
            }
            let on_trial = status["boot"]["kind"] == "trial";
            match job {
                Job::Update(version) | Job::Rollback(version) if booted == version => {
                    if on_trial {
                        self.commit_begun = true;
                        self.ok(vm, "abide commit --now")?;
                    }
                    return Ok(());
                }
                Job::Reject(version) if booted == version => self.ok(vm, "abide rollback")?,
                Job::Reject(version) if failures > 0 => {
                    return self.ok(vm, &format!("abide forget {version}"));
                }
                Job::Rollback(_) => self.ok(vm, "abide rollback")?,
                Job::Update(version) | Job::Reject(version) => {
                    // The command that was interrupted, again; or all of them.
                    let again = self.seed.once_in(2) && self.run(vm, "abide apply")? == 0;
                    if !again {
                        let write = self.guest.write_command(version);
                        self.ok(vm, &write)?;
                        self.ok(vm, "abide apply")?;
                    }
                }
            }
            self.doing = "reboot".into();
            vm.send("reboot -nf")?;
        }
    }

    fn boot(&mut self, vm: &mut Running, promise: &Promise) -> Result<Version, Error> {
        self.doing = "boot".into();
        let boot = vm.wait_for_boot(tiny::BOOT)?;
        self.tally.boots += 1;
        let version = promise.next.iter().find(|version| **version == boot.version);
        Ok(version
            .copied()
            .unwrap_or_else(|| panic!("{} booted, not one of {:?}", boot.version, promise.next)))
    }

    fn status(&mut self, vm: &mut Running) -> Result<Value, Error> {
        let output = vm.run("abide status --json")?;
        let line = output.text.lines().find(|line| line.starts_with('{')).unwrap_or_default();
        Ok(serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {output}")))
    }

    fn ok(&mut self, vm: &mut Running, command: &str) -> Result<(), Error> {
        let status = self.run(vm, command)?;
        assert_eq!(status, 0, "`{command}`; see {}", vm.log().display());
        Ok(())
    }

    fn run(&mut self, vm: &mut Running, command: &str) -> Result<i32, Error> {
        self.doing = command.to_owned();
        let output = vm.run(command)?;
        if !output.success() {
            println!("  `{command}`: {output}");
        }
        Ok(output.status)
    }
}

impl Moment {
    /// How many entries there are at this moment; none where it does not come.
    fn reached(self, entries: &[Entry]) -> Option<usize> {
        let after = match self.flushes.checked_sub(1) {
            None => 0,
            Some(number) => {
                let mut flushes = entries.iter().enumerate().filter(|(_, entry)| **entry == Entry::Flush);
                flushes.nth(usize::try_from(number).ok()?)?.0 + 1
            }
        };
        let moment = after + usize::try_from(self.entries).ok()?;
        (moment <= entries.len()).then_some(moment)
    }
}

/// Kills the machine when its moment has come.
struct Watch {
    over: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Watch {
    fn start(vm: &Running, log: PathBuf, moment: Moment) -> Watch {
        let over = Arc::new(AtomicBool::new(false));
        let process = Pid::from_raw(i32::try_from(vm.process()).unwrap());
        let stop = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut follower = Follower::open(&log).unwrap();
            let mut left = moment.entries;
            while !stop.load(Ordering::Relaxed) {
                // As `Moment::reached` counts.
                let counting = follower.flushes >= moment.flushes;
                if counting && left == 0 {
                    kill(process, Signal::SIGKILL).ok();
                    return;
                }
                match follower.step().unwrap() {
                    Some(_) if counting => left -= 1,
                    Some(_) => {}
                    // Nothing to wait for: the guest writes when it does.
                    None => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Watch { over, thread }
    }

    fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}
