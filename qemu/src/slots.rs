//! The tiny guest with two slots: Debian's kernel, busybox and Abide's two executables, and on its
//! disk what a machine that is updated has: an ESP and two roots. Without systemd: a script in the
//! initramfs does what Abide's units do there, and what runs after that is said by the test.
//!
//! For power cuts on the real firmware, loader and vfat driver, some seconds a boot.

use std::fs::OpenOptions;
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use gpt::partition_types::{EFI, LINUX_FS, LINUX_ROOT_X64};

use crate::disk::{MIB, Partition, create, format_esp};
use crate::esp::Esp;
use crate::machine::Machine;
use crate::paths::{make_dir, target, workspace};
use crate::tiny::{self, Parts, Release, install_loader};
use crate::{Error, Result};

/// Every version that there is an image of; the first one is installed.
pub const VERSIONS: [&str; 4] = ["1.0", "2.0", "3.0", "4.0"];

/// Where the ESP begins, in sectors.
pub const ESP_START: u64 = MIB / 512;

/// The ESP's size in MiB: with clusters of 4 KiB the least that FAT32 takes.
const ESP: u64 = 300;

/// The size of a slot in MiB.
const SLOT: u64 = 8;

/// An image's ESP in MiB, and a partition that holds an image.
const IMAGE_ESP: u64 = 20;
const IMAGE: u64 = IMAGE_ESP + SLOT + 2;

/// What speeds up the kernel where nothing is virtualised.
const FAST: &str = "norandmaps nokaslr mitigations=off init_on_alloc=0 audit=0 lsm=capability \
                    random.trust_cpu=on cryptomgr.notests tsc=reliable no_timer_check";

/// One version of the guest's operating system.
#[derive(Debug)]
pub struct System {
    /// Its version.
    pub version: &'static str,
    /// The UUID of the partition that its UKI boots.
    pub uuid: String,
    /// The UKI.
    pub uki: Vec<u8>,
    /// The root file system.
    pub root: Vec<u8>,
}

/// The guest's disks and what they were made from.
#[derive(Debug)]
pub struct Guest {
    /// The disk of a machine on which the first version was installed.
    pub disk: PathBuf,
    /// A disk with a partition for each version, which holds the update image of that version.
    pub images: PathBuf,
    /// All versions.
    pub systems: Vec<System>,
}

impl Guest {
    /// The guest, built once by each process that wants it.
    ///
    /// # Errors
    /// When Abide's executables or a part of the tiny guest are missing.
    pub fn get() -> Result<&'static Guest> {
        static GUEST: OnceLock<std::result::Result<Guest, String>> = OnceLock::new();
        let guest = GUEST.get_or_init(|| Guest::build().map_err(|error| error.to_string()));
        guest.as_ref().map_err(|error| Error::Io {
            what: "build the tiny guest with two slots".into(),
            source: std::io::Error::other(error.clone()),
        })
    }

    /// A machine on which the first version was installed, switched off.
    ///
    /// # Errors
    /// When its disks cannot be made.
    pub fn machine(&self, name: &str) -> Result<Machine> {
        Machine::new(name)?.disk_copy(&self.disk)?.disk_overlay(&self.images)
    }

    /// A version.
    pub fn system(&self, version: &str) -> Option<&System> {
        self.systems.iter().find(|system| system.version == version)
    }

    /// The command that gives the guest the update image of a version on standard input.
    pub fn write_command(&self, version: &str) -> String {
        let number = VERSIONS.iter().position(|known| *known == version).unwrap_or(0) + 1;
        format!("abide write - </dev/vdb{number}")
    }

    fn build() -> Result<Guest> {
        let dir = target().join("slots");
        make_dir(&dir)?;
        let systems = systems()?;
        let guest = Guest { disk: dir.join("disk.raw"), images: dir.join("images.raw"), systems };
        guest.build_disk()?;
        guest.build_images(&dir.join("image.raw"))?;
        Ok(guest)
    }

    fn build_disk(&self) -> Result<()> {
        let first = self.systems.first();
        let slot = |label: &str, uuid: &str| Partition {
            label: label.into(),
            kind: LINUX_ROOT_X64,
            uuid: Some(uuid.to_owned()),
            mebibytes: SLOT,
        };
        let uuid = first.map_or("", |system| system.uuid.as_str());
        let esp = Partition { label: "esp".into(), kind: EFI, uuid: None, mebibytes: ESP };
        create(&self.disk, &[esp, slot("rootfs_a", uuid), slot("rootfs_b", &uuid_of(0))])?;
        format_esp(&self.disk)?;
        let esp = Esp::open(&self.disk)?;
        install_loader(&esp, &Parts::get()?.loader(Release::Trixie)?)?;
        esp.write("loader/loader.conf", b"timeout 0\n")?;
        if let Some(system) = first {
            esp.write(&format!("EFI/Linux/edge_{}.efi", system.version), &system.uki)?;
            put(&self.disk, (1 + ESP) * MIB, &system.root)?;
        }
        esp.close()
    }

    fn build_images(&self, work: &Path) -> Result<()> {
        let partition = |system: &System| Partition {
            label: system.version.into(),
            kind: LINUX_FS,
            uuid: None,
            mebibytes: IMAGE,
        };
        create(&self.images, &self.systems.iter().map(partition).collect::<Vec<_>>())?;
        for (system, number) in self.systems.iter().zip(0..) {
            let esp = Partition { label: "esp".into(), kind: EFI, uuid: None, mebibytes: IMAGE_ESP };
            let root = Partition {
                label: format!("edge_{}", system.version),
                kind: LINUX_ROOT_X64,
                uuid: Some(system.uuid.clone()),
                mebibytes: SLOT,
            };
            create(work, &[esp, root])?;
            format_esp(work)?;
            let esp = Esp::open(work)?;
            esp.write(&format!("EFI/Linux/edge_{}.efi", system.version), &system.uki)?;
            esp.close()?;
            put(work, (1 + IMAGE_ESP) * MIB, &system.root)?;
            put(&self.images, MIB + number * IMAGE * MIB, &tiny::read(work)?)?;
        }
        Ok(())
    }
}

fn systems() -> Result<Vec<System>> {
    let parts = Parts::get()?;
    let out = target().join("out");
    let executable = |name: &str| {
        let path = out.join(name);
        if path.exists() {
            return tiny::read(&path);
        }
        Err(Error::Disk { disk: path.display().to_string(), cause: "is not there: run 'make' first".into() })
    };
    let (abide, small) = (executable("abide")?, executable("abide-initramfs")?);
    let links = tiny::read(&tiny::source("slots/links"))?;
    let init = tiny::read(&tiny::source("slots/root-init"))?;
    let mut archive = parts.initramfs("slots/init")?;
    archive.folder("usr");
    archive.folder("usr/bin");
    archive.folder("etc");
    archive.file("etc/initrd-release", 0o644, b"");
    archive.file("usr/bin/abide", 0o755, &small);
    archive.file("usr/bin/links", 0o755, &links);
    let initramfs = archive.finish();
    let units = trial_units()?;
    let system = |(version, number): (&'static str, u32)| {
        let uuid = uuid_of(number);
        let release = tiny::os_release("edge", version);
        let command_line = format!("root=PARTUUID={uuid} ro {FAST}");
        let busybox = parts.busybox()?;
        let mut root = vec![
            ("usr/lib/os-release", release.as_bytes()),
            ("usr/lib/busybox", &busybox),
            ("usr/bin/abide", &abide),
            ("usr/bin/links", &links),
            ("sbin/init", &init),
        ];
        root.extend(units.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())));
        Ok(System {
            version,
            uki: parts.uki_of(&release, &command_line, &initramfs)?,
            root: root_file_system(&root).map_err(Error::doing("make a root file system"))?,
            uuid,
        })
    };
    VERSIONS.into_iter().zip(1..).map(system).collect()
}

/// The units that a root must have for a trial of it. Nothing runs them here.
fn trial_units() -> Result<Vec<(String, Vec<u8>)>> {
    let names = ["abide-assess", "abide-commit", "abide-deadline", "abide-rollback"]
        .map(|name| format!("{name}.service"));
    let names = names.into_iter().chain(["abide-deadline.timer".to_owned()]);
    let unit = |name: String| {
        let bytes = tiny::read(&workspace().join("systemd-units").join(&name))?;
        Ok((format!("usr/lib/systemd/system/{name}"), bytes))
    };
    names.map(unit).collect()
}

fn uuid_of(number: u32) -> String {
    format!("0ab1de00-0000-4000-8000-{number:012}")
}

/// A FAT file system with these files, and the folders to mount others on.
fn root_file_system(files: &[(&str, &[u8])]) -> std::io::Result<Vec<u8>> {
    let mut bytes = Cursor::new(vec![0; usize::try_from(SLOT * MIB).unwrap_or(0)]);
    fatfs::format_volume(&mut bytes, FormatVolumeOptions::new())?;
    bytes.seek(SeekFrom::Start(0))?;
    let fat = FileSystem::new(&mut bytes, FsOptions::new().update_accessed_date(false))?;
    let top = fat.root_dir();
    for folder in [
        "bin",
        "dev",
        "proc",
        "run",
        "sbin",
        "sys",
        "tmp",
        "usr",
        "usr/bin",
        "usr/lib",
        "usr/lib/systemd",
        "usr/lib/systemd/system",
        "var",
    ] {
        top.create_dir(folder)?;
    }
    for (path, content) in files {
        top.create_file(path)?.write_all(content)?;
    }
    drop(top);
    fat.unmount()?;
    Ok(bytes.into_inner())
}

fn put(disk: &Path, at: u64, bytes: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new().write(true).open(disk).map_err(Error::at("open", disk))?;
    file.seek(SeekFrom::Start(at)).map_err(Error::at("write", disk))?;
    file.write_all(bytes).map_err(Error::at("write", disk))
}
