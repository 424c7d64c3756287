//! A machine's life with updates that are kept, fail, are rolled back and forgotten, and
//! everything that was written to its disk meanwhile.

use std::collections::BTreeSet;

use abide_core::boot::model::entry::UKI_DIR;
use abide_qemu::esp::Esp;
use abide_qemu::slots::Guest;
use abide_qemu::{Running, tiny};

use super::judge::{Promise, Version};
use super::recorder::{Recorder, Recording};

/// Two tries are enough to use them up.
const TWO_TRIES: &str =
    "printf '[assess]\\ntries = 2\\n' >/run/two.toml && abide --config /run/two.toml apply";

/// A whole one.
pub fn record(name: &str) -> Recording {
    let mut life = Life::begin(name, &[], &[]);
    life.start("1.0");
    life.update("2.0", "abide apply");
    life.commit("2.0");
    life.update("3.0", TWO_TRIES);
    // The loader counts down to 0, and from then on falls back.
    life.reboot("3.0", |now| now.next = set(&["2.0"]));
    life.reboot("2.0", |now| fail(now, "3.0"));
    life.forget("3.0");
    life.update("3.0", "abide apply");
    life.run("abide rollback", |now| {
        fail(now, "3.0");
        now.next = set(&["2.0"]);
    });
    life.reboot("2.0", |_| ());
    life.forget("3.0");
    life.update("3.0", "abide apply");
    life.commit("3.0");
    life.run("abide rollback", |now| now.next = set(&["2.0"]));
    life.reboot("2.0", |_| ());
    life.commit("2.0");
    life.write("4.0");
    life.run("abide apply", |now| now.next = set(&["4.0"]));
    life.run("true", |_| ());
    life.finish()
}

/// Whose name for an entry it is in whose middle the first sector of the folder would end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renamer {
    /// `abide apply`, which makes it an entry.
    Apply,
    /// The loader, which counts the first try.
    FirstTry,
    /// The loader, which counts the second one.
    SecondTry,
}

/// One update that fails, where the first sector of the folder of the entries ends in a new name's middle.
pub fn record_at_a_sectors_end(name: &str, renamer: Renamer) -> Recording {
    // Two slots each: with those of `.`, `..`, edge_1.0.efi and staged.uki there are 14, where others have been, 12 or 8;
    // each of the new names takes three.
    let (files, removed): (&[&str], &[&str]) = match renamer {
        Renamer::Apply => (
            &[
                "vendor0.bin",
                "vendor1.bin",
                "vendor2.bin",
                "gone0.bin",
                "gone1.bin",
                "gone2.bin",
                "vendor3.bin",
            ],
            &["gone0.bin", "gone1.bin", "gone2.bin"],
        ),
        Renamer::FirstTry => (&["vendor0.bin", "vendor1.bin"], &[]),
        Renamer::SecondTry => (&[], &[]),
    };
    let mut life = Life::begin(name, files, removed);
    life.start("1.0");
    life.update("2.0", "abide apply");
    if renamer == Renamer::SecondTry {
        life.reboot("2.0", |_| ());
    }
    life.run("abide rollback", |now| {
        fail(now, "2.0");
        now.next = set(&["1.0"]);
    });
    life.run("true", |_| ());
    life.finish()
}

pub fn set(versions: &[Version]) -> BTreeSet<Version> {
    versions.iter().copied().collect()
}

fn fail(now: &mut Promise, version: Version) {
    now.may_fail.insert(version);
    now.must_fail.insert(version);
}

struct Life {
    vm: Running,
    guest: &'static Guest,
    recorder: Recorder,
}

impl Life {
    /// Switches the machine on, with these files more in the folder of the entries, some of which were removed again.
    fn begin(name: &str, files: &[&str], removed: &[&str]) -> Life {
        let guest = Guest::get().unwrap();
        let machine = guest.machine(name).unwrap().record_writes();
        let esp = Esp::open(machine.disk(0).unwrap()).unwrap();
        for file in files {
            esp.write(&format!("{UKI_DIR}/{file}"), file.as_bytes()).unwrap();
        }
        for file in removed {
            esp.remove(&format!("{UKI_DIR}/{file}")).unwrap();
        }
        esp.close().unwrap();
        let recorder = Recorder::of(&machine, Promise::of_committed("1.0"));
        Life { vm: machine.start().unwrap(), guest, recorder }
    }

    fn finish(self) -> Recording {
        let Life { vm, recorder, .. } = self;
        drop(vm);
        recorder.finish()
    }

    fn start(&mut self, version: Version) {
        let boot = self.vm.wait_for_boot(tiny::BOOT).unwrap();
        assert_eq!(boot.version, version);
        self.end("power-on", |_| ());
    }

    fn run(&mut self, command: &str, change: impl FnOnce(&mut Promise)) {
        let output = self.vm.run(command).unwrap();
        assert!(output.success(), "`{command}`: {output}");
        let name = command.rsplit("&& ").next().unwrap_or(command);
        self.end(name, change);
    }

    fn write(&mut self, version: Version) {
        self.run(&self.guest.write_command(version), |_| ());
    }

    /// Writes and applies an update, and boots into its first try.
    fn update(&mut self, version: Version, apply: &str) {
        self.write(version);
        self.run(apply, |now| now.next = set(&[version]));
        self.reboot(version, |_| ());
    }

    fn reboot(&mut self, version: Version, change: impl FnOnce(&mut Promise)) {
        self.vm.send("reboot -nf").unwrap();
        let boot = self.vm.wait_for_boot(tiny::BOOT).unwrap();
        assert_eq!(boot.version, version);
        self.end(&format!("boot of {version}"), change);
    }

    fn commit(&mut self, version: Version) {
        self.run("abide commit --now", |now| {
            now.committed = set(&[version]);
            now.good.insert(version);
        });
    }

    fn forget(&mut self, version: Version) {
        self.run(&format!("abide forget {version}"), |now| {
            now.may_fail.clear();
            now.must_fail.clear();
        });
    }

    fn end(&mut self, name: &str, change: impl FnOnce(&mut Promise)) {
        self.recorder.end(name, change);
    }
}
