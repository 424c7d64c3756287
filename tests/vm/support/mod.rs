//! What several VM tests share.

pub mod controller;
pub mod edge;
pub mod emt;
pub mod feed;
pub mod firmware;
pub mod oops;
pub mod plugged;
pub mod snapshots;

use std::time::Duration;

use abide_qemu::probe::{self, Decision};
use abide_qemu::tiny::{self, Parts, Release, Report, install_loader};
use abide_qemu::{Machine, Running, disk};

/// An ESP under construction: a loader and its boot entries, for the tiny guest.
pub struct World {
    name: String,
    loader: Release,
    files: Vec<(String, Vec<u8>)>,
}

impl World {
    /// An ESP with nothing but the loader of `release`. `name` names the machine.
    pub fn new(name: &str, release: Release) -> World {
        World { name: format!("{name}-{release}"), loader: release, files: Vec::new() }
    }

    /// Adds the boot entry `EFI/Linux/<file>`, a UKI of `edge` in this version. It reports the
    /// file name it was installed with as `tiny.file`, whatever the loader renames it to.
    pub fn entry(self, file: &str, version: &str) -> World {
        let uki = Parts::get().unwrap().uki("edge", version, &format!("tiny.file={file}")).unwrap();
        self.file(&format!("EFI/Linux/{file}"), uki)
    }

    /// Adds the boot entry `EFI/Linux/<file>`, a probe of `edge` in this version.
    pub fn probe(self, file: &str, version: &str) -> World {
        let uki = Parts::get().unwrap().probe("edge", version).unwrap();
        self.file(&format!("EFI/Linux/{file}"), uki)
    }

    /// Adds any file.
    pub fn file(mut self, path: &str, content: Vec<u8>) -> World {
        self.files.push((path.to_owned(), content));
        self
    }

    /// The machine with this ESP, switched off.
    pub fn machine(&self) -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("disk.raw");
        let bytes: usize = self.files.iter().map(|(_, content)| content.len()).sum();
        disk::create_with_esp(&image, (bytes as u64 / disk::MIB + 8).max(64)).unwrap();
        let machine = Machine::new(&self.name).unwrap().disk_copy(&image).unwrap();
        let esp = machine.esp().unwrap();
        install_loader(&esp, &Parts::get().unwrap().loader(self.loader).unwrap()).unwrap();
        for (path, content) in &self.files {
            esp.write(path, content).unwrap();
        }
        esp.close().unwrap();
        machine
    }

    /// Boots the probe `count` times in a row; returns what each boot found.
    pub fn decisions(&self, count: usize) -> Vec<Decision> {
        let machine = self.machine();
        let esp = machine.esp().unwrap();
        probe::prepare(&esp, count).unwrap();
        esp.close().unwrap();
        probe::run(machine, count).unwrap().1
    }

    /// Boots `count` times in a row and returns what each boot found.
    pub fn boots(&self, count: usize) -> Vec<Report> {
        let mut vm = self.machine().start().unwrap();
        let mut reports = vec![first_boot(&mut vm)];
        while reports.len() < count {
            reports.push(next_boot(&mut vm));
        }
        reports
    }
}

/// Waits for the first boot of the tiny guest.
pub fn first_boot(vm: &mut Running) -> Report {
    vm.wait_for_boot(tiny::BOOT).unwrap();
    Report::from(vm).unwrap()
}

/// Restarts the tiny guest.
pub fn next_boot(vm: &mut Running) -> Report {
    vm.send("umount /efi; reboot -f").unwrap();
    first_boot(vm)
}

/// A deadline for things that take seconds on an idle host.
pub const SOON: Duration = Duration::from_secs(120);
