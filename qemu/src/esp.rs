//! The EFI system partition of a machine that is switched off.

use std::io::{Read, Write};
use std::path::Path;

use fatfs::{Date, DateTime, Dir, FileSystem, FsOptions, Time, TimeProvider};

use crate::disk::Slice;
use crate::{Error, Result};

/// The time that files are given.
///
/// It has to be a real date: the firmware refuses to rename a file whose dates are zero, and then
/// systemd-boot does not count down.
#[derive(Debug)]
pub(crate) struct BuildTime;

pub(crate) static BUILT: BuildTime = BuildTime;

impl TimeProvider for BuildTime {
    fn get_current_date(&self) -> Date {
        Date { year: 2026, month: 1, day: 2 }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: self.get_current_date(), time: Time { hour: 3, min: 4, sec: 6, millis: 0 } }
    }
}

/// The FAT file system on the EFI system partition of a disk image. Paths are relative to its
/// top and use `/`.
pub struct Esp {
    disk: String,
    fat: FileSystem<Slice>,
}

impl Esp {
    /// Opens the ESP of a raw disk image, which no running machine may use.
    ///
    /// # Errors
    /// When there is no GPT, no EFI system partition, or no FAT in that.
    pub fn open(disk: &Path) -> Result<Esp> {
        let fat = FileSystem::new(Slice::esp(disk)?, FsOptions::new().time_provider(&BUILT));
        Ok(Esp { disk: disk.display().to_string(), fat: fat.map_err(Error::at("read the ESP of", disk))? })
    }

    /// The names in a folder, sorted; empty when there is no such folder.
    ///
    /// # Errors
    /// When the file system cannot be read.
    pub fn names(&self, folder: &str) -> Result<Vec<String>> {
        let dir = match self.root().open_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(self.at("open", folder))?,
        };
        let mut names = Vec::new();
        for entry in dir.iter() {
            let name = entry.map_err(self.at("list", folder))?.file_name();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// The file names in `EFI/Linux`, sorted: the boot entries that are UKIs.
    ///
    /// # Errors
    /// When the file system cannot be read.
    pub fn entries(&self) -> Result<Vec<String>> {
        self.names("EFI/Linux")
    }

    /// The content of a file.
    ///
    /// # Errors
    /// When it does not exist or cannot be read.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        self.root()
            .open_file(path)
            .and_then(|mut file| file.read_to_end(&mut content))
            .map_err(self.at("read", path))?;
        Ok(content)
    }

    /// Whether there is a file or folder of this name.
    pub fn exists(&self, path: &str) -> bool {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let names = match folder {
            "" => self.names("/"),
            folder => self.names(folder),
        };
        names.is_ok_and(|names| names.iter().any(|known| known.eq_ignore_ascii_case(name)))
    }

    /// Writes a file, with its folders; an older one is replaced.
    ///
    /// # Errors
    /// When there is no room.
    pub fn write(&self, path: &str, content: &[u8]) -> Result<()> {
        let mut folder = String::new();
        for part in path.split('/').rev().skip(1).collect::<Vec<_>>().iter().rev() {
            if !folder.is_empty() {
                folder.push('/');
            }
            folder.push_str(part);
            self.root().create_dir(&folder).map_err(self.at("create", &folder))?;
        }
        let written = self.root().create_file(path).and_then(|mut file| {
            file.truncate()?;
            file.write_all(content)?;
            file.flush()
        });
        written.map_err(self.at("write", path))
    }

    /// Removes a file or an empty folder.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn remove(&self, path: &str) -> Result<()> {
        self.root().remove(path).map_err(self.at("remove", path))
    }

    /// Renames a file.
    ///
    /// # Errors
    /// When the old name does not exist or the new one does.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        let root = self.root();
        root.rename(from, &root, to).map_err(self.at("rename", from))
    }

    /// Writes everything back; dropping does the same but cannot say whether it worked.
    ///
    /// # Errors
    /// When the disk image cannot be written.
    pub fn close(self) -> Result<()> {
        let disk = self.disk;
        self.fat.unmount().map_err(Error::doing(format!("close the ESP of {disk}")))
    }

    fn root(&self) -> Dir<'_, Slice> {
        self.fat.root_dir()
    }

    fn at(&self, verb: &str, path: &str) -> impl FnOnce(std::io::Error) -> Error + use<> {
        Error::doing(format!("{verb} {path} on the ESP of {}", self.disk))
    }
}
