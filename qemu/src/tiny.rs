//! The tiny guest: Debian's kernel and busybox in a UKI, some seconds from power-on to a shell.
//!
//! It exists to ask real firmware, real systemd-boot, the real vfat driver and efivarfs what
//! they do. Its shell is reached with [`crate::Running::run`]; the ESP is mounted read-only at
//! `/efi`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::cpio::Archive;
use crate::esp::Esp;
use crate::paths::{make_dir, run, target, workspace};
use crate::pe::append_sections;
use crate::running::Running;
use crate::{Error, Result};

/// A Debian release whose systemd-boot is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// Debian 12: systemd 252.
    Bookworm,
    /// Debian 13: systemd 257.
    Trixie,
    /// Debian 14 (unreleased): systemd 262 or later.
    Forky,
}

impl Release {
    /// All releases.
    pub const ALL: [Release; 3] = [Release::Bookworm, Release::Trixie, Release::Forky];
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Release::Bookworm => "bookworm",
            Release::Trixie => "trixie",
            Release::Forky => "forky",
        })
    }
}

/// What the tiny guest is made of, downloaded once below `target/tiny`.
#[derive(Debug)]
pub struct Parts {
    dir: PathBuf,
    initramfs: Vec<u8>,
}

impl Parts {
    /// Downloads what is not there yet, without installing anything.
    ///
    /// # Errors
    /// When `mmdebstrap` is missing or the Debian mirror cannot be reached.
    pub fn get() -> Result<&'static Parts> {
        static PARTS: OnceLock<std::result::Result<Parts, String>> = OnceLock::new();
        let parts = PARTS.get_or_init(|| Parts::fetch().map_err(|error| error.to_string()));
        parts.as_ref().map_err(|error| Error::Io {
            what: "prepare the tiny guest".into(),
            source: std::io::Error::other(error.clone()),
        })
    }

    fn fetch() -> Result<Parts> {
        let dir = target().join("tiny");
        make_dir(&dir)?;
        // Two test programs may start at the same time: one fetches, the other one waits.
        let (lock, fetch) = (dir.join("lock"), source("fetch"));
        run(Command::new("flock").args([&lock, &fetch, &dir]))?;
        let mut archive = initramfs(&dir, "init")?;
        archive.file("bin/report", 0o755, &read(&source("report"))?);
        Ok(Parts { dir, initramfs: archive.finish() })
    }

    /// The beginning of an initramfs: busybox, the kernel's modules in `modules`, and the
    /// script `init` of the folder `qemu/tiny`.
    pub(crate) fn initramfs(&self, init: &str) -> Result<Archive> {
        initramfs(&self.dir, init)
    }

    /// The static busybox.
    pub(crate) fn busybox(&self) -> Result<Vec<u8>> {
        read(&self.dir.join("busybox"))
    }

    /// The loader of a release.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn loader(&self, release: Release) -> Result<Vec<u8>> {
        read(&self.dir.join(release.to_string()).join("systemd-bootx64.efi"))
    }

    /// The firmware's shell as a program of its own.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn shell(&self) -> Result<Vec<u8>> {
        read(&self.dir.join("shell.efi"))
    }

    /// A UKI of the tiny guest that calls itself `image_id` and `version`, in its `.osrel` and on
    /// its command line, with `more` on its command line.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub fn uki(&self, image_id: &str, version: &str, more: &str) -> Result<Vec<u8>> {
        let release = os_release(image_id, version);
        let command_line = format!("tiny.version={version} {more}");
        self.uki_of(&release, &command_line, &self.initramfs)
    }

    /// A UKI with the tiny guest's kernel.
    pub(crate) fn uki_of(&self, release: &str, command_line: &str, initramfs: &[u8]) -> Result<Vec<u8>> {
        let command_line = format!("console=ttyS0 quiet panic=1 {command_line}\0");
        let stub = self.dir.join(Release::Trixie.to_string());
        append_sections(
            &read(&stub.join("linuxx64.efi.stub"))?,
            &[
                (".osrel", release.as_bytes()),
                (".cmdline", command_line.as_bytes()),
                (".initrd", initramfs),
                (".linux", &read(&self.dir.join("vmlinuz"))?),
            ],
        )
    }
}

/// Puts a loader onto an ESP, where the firmware looks for it by itself.
///
/// # Errors
/// When the ESP has no room.
pub fn install_loader(esp: &Esp, loader: &[u8]) -> Result<()> {
    esp.write("EFI/BOOT/BOOTX64.EFI", loader)?;
    esp.write("EFI/systemd/systemd-bootx64.efi", loader)
}

/// What one boot of the tiny guest found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The kernel's command line.
    pub command_line: String,
    /// The loader's EFI variables by name; text without its final NUL.
    pub variables: BTreeMap<String, String>,
    /// All files on the ESP, sorted.
    pub files: Vec<String>,
}

impl Report {
    /// Asks a running tiny guest.
    ///
    /// # Errors
    /// As [`Running::run`].
    pub fn from(vm: &mut Running) -> Result<Report> {
        let output = vm.run("report")?;
        Ok(Report::parse(&output.text))
    }

    /// The value of `key=` on the command line, empty when it is not there.
    pub fn word(&self, key: &str) -> &str {
        self.command_line
            .split_whitespace()
            .filter_map(|word| word.split_once('='))
            .find_map(|(known, value)| (known == key).then_some(value))
            .unwrap_or("")
    }

    /// The value of a variable of the loader, empty when it is not set.
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// The file names in `EFI/Linux`, sorted.
    pub fn entries(&self) -> Vec<&str> {
        let files = self.files.iter();
        files.filter_map(|path| path.strip_prefix("EFI/Linux/")).collect()
    }

    fn parse(text: &str) -> Report {
        let mut report = Report::default();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("cmdline", rest)) => report.command_line = rest.to_owned(),
                Some(("file", path)) => report.files.push(path.to_owned()),
                Some(("variable", rest)) => {
                    let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
                    report.variables.insert(name.to_owned(), utf16(value));
                }
                _ => {}
            }
        }
        report.files.sort();
        report
    }
}

/// Text from an EFI variable in hexadecimal: 4 bytes of attributes, then UTF-16LE with a NUL.
fn utf16(hex: &str) -> String {
    let units: Vec<u16> = (8..hex.len())
        .step_by(4)
        .filter_map(|at| u16::from_str_radix(hex.get(at..at + 4)?, 16).ok())
        .map(u16::swap_bytes)
        .collect();
    String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned()
}

/// The longest that a boot of the tiny guest may take, on a busy host.
pub const BOOT: Duration = Duration::from_secs(180);

/// The os-release of a system of the tests.
pub(crate) fn os_release(image_id: &str, version: &str) -> String {
    format!("ID=tiny\nIMAGE_ID={image_id}\nIMAGE_VERSION={version}\nPRETTY_NAME=\"{image_id} {version}\"\n")
}

fn initramfs(dir: &Path, init: &str) -> Result<Archive> {
    let mut archive = Archive::default();
    archive.folder("bin");
    archive.folder("modules");
    archive.file("bin/busybox", 0o755, &read(&dir.join("busybox"))?);
    archive.file("init", 0o755, &read(&source(init))?);
    let modules = dir.join("modules");
    let list = fs::read_dir(&modules).map_err(Error::at("list", &modules))?;
    for module in list {
        let path = module.map_err(Error::at("list", &modules))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("modules/{name}"), 0o644, &read(&path)?);
    }
    Ok(archive)
}

pub(crate) fn source(name: &str) -> PathBuf {
    workspace().join("qemu/tiny").join(name)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::at("read", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_fact_by_fact() {
        let report = Report::parse(
            "cmdline quiet tiny.version=2.0\nvariable LoaderInfo 06000000610062000000\n\
             file EFI/Linux/b.efi\nfile EFI/Linux/a+1-2.efi\nfile loader/loader.conf\n",
        );
        assert_eq!(report.word("tiny.version"), "2.0");
        assert_eq!(report.variable("LoaderInfo"), "ab");
        assert_eq!(report.variable("LoaderEntryOneShot"), "");
        assert_eq!(report.entries(), ["a+1-2.efi", "b.efi"]);
    }
}
