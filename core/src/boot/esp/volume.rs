//! The effects on a boot partition, one function for each, and nothing else: an implementation of [`Volume`]
//! can replace the disk.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::{Advice, RawDir, fadvise, statvfs};

use crate::boot::esp::directory_end;
use crate::boot::esp::fat::reader::Fat;
use crate::sys;

/// An open file, for reading.
pub trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The name, as it is written on the disk.
    pub name: String,
    /// A folder rather than a file.
    pub is_dir: bool,
    /// Bytes; 0 for folders.
    pub len: u64,
    /// The read-only attribute is set (no write permission at all).
    pub read_only: bool,
}

/// A file system as the firmware sees it. Paths are relative to its root, with
/// `/` between the parts, and are looked up in any case, as on vfat.
///
/// No function flushes unless its description says so. The caller flushes the file after writes, the folder
/// after a removal, and the file and then the folder after a rename (Linux, vfat: only `fsync` flushes the
/// disk's cache; `syncfs` does not).
pub trait Volume: Debug {
    /// The names in a folder, in the order of the disk. A missing folder is empty.
    ///
    /// # Errors
    /// If the folder cannot be read.
    fn list(&self, dir: &str) -> io::Result<Vec<Item>>;
    /// Opens a file for reading.
    ///
    /// # Errors
    /// If there is no such file or it cannot be read.
    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>>;
    /// Opens a file so that what is read comes from the disk and not from the page cache. Data that was not
    /// flushed before may still come from there.
    ///
    /// # Errors
    /// As [`Volume::open`].
    fn open_on_disk(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        self.open(path)
    }
    /// Creates a folder and its parents; existing ones are left alone.
    ///
    /// # Errors
    /// If one cannot be created.
    fn create_dir(&self, dir: &str) -> io::Result<()>;
    /// Creates or overwrites a file, and returns its length in bytes.
    ///
    /// # Errors
    /// If reading or writing fails; what was written so far stays.
    fn write(&self, path: &str, data: &mut dyn Read) -> io::Result<u64>;
    /// Overwrites bytes of a file in place; the file keeps its clusters.
    ///
    /// # Errors
    /// If the range is not inside the file, or writing fails.
    fn overwrite(&self, path: &str, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Flushes a file's data, size and clusters to the disk, past its cache.
    ///
    /// # Errors
    /// If the disk reports an error.
    fn sync_file(&self, path: &str) -> io::Result<()>;
    /// Renames inside one volume; never replaces.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if `to` exists, and the errors of the disk.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Renames inside one folder, durable when this returns; never replaces.
    ///
    /// The file is flushed before the folder. Linux's vfat makes the new name with neither clusters nor
    /// length, and fills them in when it writes the file's inode (`vfat_rename`, `fat_write_inode`): if only
    /// the folder is flushed, a power cut leaves a name without data, and no other name.
    ///
    /// # Errors
    /// As [`Volume::rename`], and the errors of the disk; if only the flush failed, too.
    fn rename_durably(&self, from: &str, to: &str) -> io::Result<()> {
        self.rename(from, to)?;
        self.sync_file(to)?;
        self.sync_dir(parent(to))
    }
    /// The byte of its directory at which the name of a file begins; `None` where the file system is not
    /// Linux's vfat, or does not show it.
    ///
    /// # Errors
    /// If the directory cannot be read, or there is no such name.
    fn offset_in_directory(&self, _path: &str) -> io::Result<Option<u64>> {
        Ok(None)
    }
    /// The number of directory entries before the first that was never used, where the firmware puts the next
    /// name; `None` if that has no meaning, or is unknown.
    ///
    /// # Errors
    /// If the disk cannot be read.
    fn directory_end(&self, _dir: &str) -> io::Result<Option<usize>> {
        Ok(None)
    }
    /// Whether it is FAT32 for Linux, but has too few clusters for the specification, and for some firmware.
    ///
    /// # Errors
    /// If the disk cannot be read.
    fn has_few_clusters(&self) -> io::Result<bool> {
        Ok(false)
    }
    /// Removes a file.
    ///
    /// # Errors
    /// If it is not there or cannot be removed.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Removes an empty folder.
    ///
    /// # Errors
    /// If it is not there, is not empty or cannot be removed.
    fn remove_dir(&self, _dir: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Flushes a folder's entries to the disk, past its cache.
    ///
    /// # Errors
    /// If the disk reports an error.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// Bytes that can still be written.
    ///
    /// # Errors
    /// If the file system does not report it.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Where another program finds `path` as long as this volume lives; `None` if it is not mounted.
    fn host_path(&self, _path: &str) -> Option<PathBuf> {
        None
    }

    /// Whether another process may be writing to it while it is read.
    fn is_shared(&self) -> bool {
        false
    }
}

/// The folder of a path on a volume.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// A volume that is a folder of this system: a mount point, or part of a tree.
#[derive(Debug)]
pub struct DirVolume {
    dir: PathBuf,
    /// What is mounted there, where that matters.
    device: Option<PathBuf>,
    /// A private mount ends when its last descriptor is closed; another one is busy until then.
    _mount: Option<OwnedFd>,
}

impl DirVolume {
    /// The volume whose root is `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), device: None, _mount: None }
    }

    /// The volume that is mounted nowhere but in this descriptor.
    #[must_use]
    pub fn of_mount(mount: OwnedFd) -> Self {
        let dir = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        Self { dir, device: None, _mount: Some(mount) }
    }

    /// The same volume, with the device that it is on.
    #[must_use]
    pub fn on(self, device: PathBuf) -> Self {
        Self { device: Some(device), ..self }
    }

    /// The same volume, which keeps an automount from ending while it lives.
    ///
    /// # Errors
    /// If its directory cannot be opened.
    pub fn held(self) -> io::Result<Self> {
        let held = File::open(&self.dir)?;
        Ok(Self { _mount: Some(held.into()), ..self })
    }

    /// Where `path` lies, in any case of its letters: vfat ignores the case itself, a plain folder does not.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        path.split('/').filter(|p| !p.is_empty() && *p != "." && *p != "..").fold(
            self.dir.clone(),
            |dir, part| {
                let exact = dir.join(part);
                if exact.symlink_metadata().is_ok() {
                    return exact;
                }
                find_no_case(&dir, part).unwrap_or(exact)
            },
        )
    }
}

/// The path of the name in `dir` that equals `name` but for its case.
pub(super) fn find_no_case(dir: &Path, name: &str) -> Option<PathBuf> {
    let found = fs::read_dir(dir).ok()?.filter_map(Result::ok);
    found
        .filter(|e| e.file_name().to_str().is_some_and(|n| n.eq_ignore_ascii_case(name)))
        .map(|e| e.path())
        .min()
}

impl Volume for DirVolume {
    fn list(&self, dir: &str) -> io::Result<Vec<Item>> {
        let found = match fs::read_dir(self.path(dir)) {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut items = Vec::new();
        for entry in found {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // A torn directory may hold names that cannot be looked up; the others count.
            let Ok(meta) = fs::metadata(entry.path()) else { continue };
            let len = if meta.is_dir() { 0 } else { meta.len() };
            items.push(Item { name, is_dir: meta.is_dir(), len, read_only: meta.permissions().readonly() });
        }
        Ok(items)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(File::open(self.path(path))?))
    }

    fn open_on_disk(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        let file = File::open(self.path(path))?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
        Ok(Box::new(file))
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        fs::create_dir_all(self.path(dir))
    }

    fn write(&self, path: &str, data: &mut dyn Read) -> io::Result<u64> {
        let mut file = File::create(self.path(path))?;
        io::copy(data, &mut file)
    }

    fn overwrite(&self, path: &str, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(self.path(path))?;
        let end = offset.checked_add(data.len() as u64);
        if end.is_none_or(|end| end > file.metadata().map_or(0, |m| m.len())) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "position beyond the end of the file"));
        }
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(data)
    }

    fn sync_file(&self, path: &str) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.path(path))?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        match sys::rename_no_replace(&from, &to) {
            // Some file systems below `--root` cannot do it in one step.
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => {
                if to.symlink_metadata().is_ok() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                fs::rename(from, to)
            }
            other => other,
        }
    }

    fn offset_in_directory(&self, path: &str) -> io::Result<Option<u64>> {
        let path = self.path(path);
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let dir = File::open(dir)?;
        if !sys::is_on(&dir, sys::FAT)? {
            return Ok(None);
        }
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut names = RawDir::new(&dir, &mut buffer);
        // An entry is read at the place that the one before it names (Linux, `__fat_readdir`).
        let mut place = 0;
        while let Some(entry) = names.next() {
            let entry = entry?;
            if entry.file_name().to_bytes() == name.as_bytes() {
                return Ok(Some(place));
            }
            place = entry.next_entry_cookie();
        }
        Err(io::ErrorKind::NotFound.into())
    }

    fn directory_end(&self, dir: &str) -> io::Result<Option<usize>> {
        self.device.as_ref().map_or(Ok(None), |device| directory_end::find(device, dir))
    }

    fn has_few_clusters(&self) -> io::Result<bool> {
        let Some(device) = &self.device else { return Ok(false) };
        Ok(Fat::open(File::open(device)?)?.layout().is_too_small())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        fs::remove_dir(self.path(dir))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        File::open(self.path(dir))?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = statvfs(&self.dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn host_path(&self, path: &str) -> Option<PathBuf> {
        let path = self.path(path);
        // A descriptor of this process, if it is mounted privately.
        let own = path.strip_prefix("/proc/self").ok();
        Some(own.map_or_else(|| path.clone(), |own| Path::new(&format!("/proc/{}", process::id())).join(own)))
    }

    fn is_shared(&self) -> bool {
        true
    }
}
