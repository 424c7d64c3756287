//! A machine that is switched off.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command_line::{Firmware, Hardware, Network};
use crate::esp::Esp;
use crate::paths::{copy_sparse, make_dir, run};
use crate::running::Running;
use crate::snapshot::Snapshot;
use crate::{Error, Result, paths};

/// A machine that is switched off: a folder with its disk, its EFI variables and its logs, and
/// the description of its hardware.
///
/// Built with the methods that take and return `self`; [`Machine::start`] switches it on.
#[derive(Debug)]
pub struct Machine {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) hardware: Hardware,
    pub(crate) disks: Vec<(PathBuf, &'static str)>,
    /// A saved state that the next start continues from.
    pub(crate) incoming: Option<PathBuf>,
    /// Whether the writes to the first disk are recorded.
    pub(crate) records: bool,
}

impl Machine {
    /// A new machine without a disk, with 1 processor and 512 MiB, in an emptied folder
    /// `target/vm/<name>`. Two machines that exist at the same time need different names.
    ///
    /// # Errors
    /// When the folder cannot be emptied or created.
    pub fn new(name: &str) -> Result<Machine> {
        let dir = paths::machine(name);
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::at("remove", &dir)(error));
            }
            _ => make_dir(&dir)?,
        }
        Ok(Machine {
            name: name.to_owned(),
            dir,
            hardware: Hardware::default(),
            disks: Vec::new(),
            incoming: None,
            records: false,
        })
    }

    /// A machine that continues from a saved state: the first start takes up the guest exactly
    /// where it was when the state was saved, and takes a second or two instead of a boot.
    ///
    /// # Errors
    /// When the folder or the copies of the snapshot's disks cannot be made.
    pub fn from_snapshot(name: &str, snapshot: &Snapshot) -> Result<Machine> {
        let mut machine = Machine::new(name)?;
        machine.hardware = snapshot.hardware.clone();
        for disk in &snapshot.disks {
            machine = machine.disk_copy(disk)?;
        }
        copy_sparse(&snapshot.variables, &machine.variables())?;
        machine.incoming = Some(snapshot.state.clone());
        Ok(machine)
    }

    /// Sets all of the hardware at once.
    pub fn hardware(mut self, hardware: Hardware) -> Machine {
        self.hardware = hardware;
        self
    }

    /// Adds a disk: a copy of a raw image, with its holes. The first one is `/dev/vda`.
    ///
    /// # Errors
    /// When the image cannot be copied.
    pub fn disk_copy(mut self, image: &Path) -> Result<Machine> {
        let disk = self.next_disk("raw");
        copy_sparse(image, &disk)?;
        self.disks.push((disk, "raw"));
        Ok(self)
    }

    /// Adds a disk as a qcow2 overlay over a raw image: no copy at all, but its ESP cannot be
    /// looked at from outside.
    ///
    /// # Errors
    /// When `qemu-img` fails.
    pub fn disk_overlay(mut self, image: &Path) -> Result<Machine> {
        let disk = self.next_disk("qcow2");
        run(std::process::Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
            .arg(image)
            .arg(&disk))?;
        self.disks.push((disk, "qcow2"));
        Ok(self)
    }

    /// Records what is written to the first disk, which must be raw, from the next start on; each start
    /// begins a new [`Machine::write_log`].
    pub fn record_writes(mut self) -> Machine {
        self.records = true;
        self
    }

    /// Sets the number of virtual processors.
    pub fn processors(mut self, count: u32) -> Machine {
        self.hardware.processors = count;
        self
    }

    /// Sets the memory, in MiB.
    pub fn memory(mut self, mebibytes: u32) -> Machine {
        self.hardware.memory = mebibytes;
        self
    }

    /// Sets the size of the translator's code cache, in MiB: 256 suits a tiny guest, 1024 a full
    /// one.
    pub fn translations(mut self, mebibytes: u32) -> Machine {
        self.hardware.translations = mebibytes;
        self
    }

    /// Sets the firmware; has to come before the first start.
    pub fn firmware(mut self, firmware: Firmware) -> Machine {
        self.hardware.firmware = firmware;
        self
    }

    /// Adds a network card.
    pub fn network(mut self, network: Network) -> Machine {
        self.hardware.network = Some(network);
        self
    }

    /// Adds an i6300esb watchdog; when it expires the machine is reset.
    pub fn watchdog(mut self) -> Machine {
        self.hardware.watchdog = true;
        self
    }

    /// Adds an SMBIOS type 11 string, such as `io.systemd.credential:NAME=VALUE`.
    pub fn smbios(mut self, text: &str) -> Machine {
        self.hardware.smbios.push(text.to_owned());
        self
    }

    /// Adds an argument to QEMU's command line.
    pub fn argument(mut self, word: &str) -> Machine {
        self.hardware.extra.push(word.to_owned());
        self
    }

    /// The machine's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder with the machine's files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of disk `index`, where there is one.
    pub fn disk(&self, index: usize) -> Option<&Path> {
        self.disks.get(index).map(|(path, _)| path.as_path())
    }

    /// The file with the firmware's variables.
    pub fn variables(&self) -> PathBuf {
        self.dir.join("vars.fd")
    }

    /// The file that records the serial console, over all starts of this machine.
    pub fn log(&self) -> PathBuf {
        self.dir.join("serial.log")
    }

    /// The file that records the writes to the first disk since the last start.
    pub fn write_log(&self) -> PathBuf {
        self.dir.join("writes.log")
    }

    /// Opens the ESP of the first disk, which must be raw.
    ///
    /// # Errors
    /// When there is no such disk, no EFI system partition on it, or no FAT in that.
    pub fn esp(&self) -> Result<Esp> {
        match self.disks.first() {
            Some((disk, "raw")) => Esp::open(disk),
            _ => Err(Error::Disk {
                disk: self.name.clone(),
                cause: "the first disk is not a raw image, its ESP cannot be read".into(),
            }),
        }
    }

    /// Forgets all EFI variables: the next start finds the firmware as it left the factory.
    ///
    /// # Errors
    /// When the copy of the template cannot be replaced.
    pub fn wipe_variables(&self) -> Result<()> {
        let variables = self.variables();
        fs::copy(&self.hardware.firmware.variables, &variables)
            .map(drop)
            .map_err(Error::at("write the EFI variables", &variables))
    }

    /// Switches the machine on.
    ///
    /// # Errors
    /// When QEMU cannot be started or refuses its command line.
    pub fn start(self) -> Result<Running> {
        if !self.variables().exists() {
            self.wipe_variables()?;
        }
        Running::start(self)
    }

    fn next_disk(&self, format: &str) -> PathBuf {
        self.dir.join(format!("disk{}.{format}", self.disks.len()))
    }
}
