//! A machine on the bench: its disk is known sector by sector whenever it is off.

use std::path::Path;

use abide_qemu::sectors::Sectors;
use abide_qemu::slots::Guest;
use abide_qemu::write_log::{self, Entry};
use abide_qemu::{Machine, Running};
use abide_testing::program;

use super::judge::extract_esp;

pub struct Bench {
    name: String,
    machine: Option<Machine>,
    /// What is on the disk now.
    pub disk: Sectors,
    /// What was on the disk when the machine was switched on.
    before: Sectors,
}

impl Bench {
    /// A machine as it was installed; `disk` is what its disk holds.
    pub fn new(name: &str, disk: &Sectors) -> Bench {
        let machine = Guest::get().unwrap().machine(name).unwrap().record_writes();
        Bench { name: name.to_owned(), machine: Some(machine), disk: disk.clone(), before: disk.clone() }
    }

    /// Gives the machine, which is off, another disk.
    pub fn put(&mut self, disk: Sectors) {
        disk.write_changes(self.machine().disk(0).unwrap(), &self.disk).unwrap();
        self.disk = disk;
    }

    pub fn start(&mut self) -> Running {
        self.before = self.disk.clone();
        self.machine.take().unwrap().start().unwrap()
    }

    /// Cuts the power; returns what was written since the start. [`Bench::disk`] has all of it.
    pub fn stop(&mut self, vm: Running) -> Vec<Entry> {
        let machine = vm.cut_power().unwrap();
        let entries = write_log::read(&machine.write_log(), &self.disk).unwrap();
        for entry in &entries {
            if let Entry::Write(write) = entry {
                write.apply(&mut self.disk);
            }
        }
        self.machine = Some(machine);
        entries
    }

    /// The disk as it was when the machine was switched on.
    pub fn before(&self) -> &Sectors {
        &self.before
    }

    /// The machine's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn machine(&self) -> &Machine {
        self.machine.as_ref().unwrap()
    }
}

/// What `fsck.fat` says about the ESP of a disk, without repairing anything: nothing if it is clean.
pub fn fsck(disk: &Sectors, work: &Path) -> Option<String> {
    extract_esp(disk, work);
    let output = program("fsck.fat").arg("-n").arg(work).output().expect("fsck.fat (dosfstools)");
    std::fs::remove_file(work).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // 2: it failed. 1: there is something to repair.
    assert_ne!(output.status.code(), Some(2), "{text}");
    (!output.status.success()).then_some(text)
}
