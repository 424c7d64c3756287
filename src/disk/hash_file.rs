//! The file with a slot's root hash, on a file system that both slots share: replaced in one step, and never the other
//! slot's.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use log::debug;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use abide_core::disk::HashFile;
use abide_core::disk::block;
use abide_core::error::{Error, OrError, Result};
use abide_core::root::Root;
use abide_core::{mounts, sys};

/// The mode of a file that was not there.
const MODE: u32 = 0o644;

/// Bytes of the file that are read: a root hash has 64 digits.
const MOST: u64 = 256;

/// What is to be done with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Read it.
    Read,
    /// Replace it.
    Replace,
}

/// The file system with the file, for as long as this lives.
#[derive(Debug)]
pub struct HashFiles {
    dir: PathBuf,
    name: String,
    /// A private mount ends when its descriptor is closed.
    _mount: Option<OwnedFd>,
}

impl HashFiles {
    /// Opens the file system: where it is mounted, else mounted privately. In a tree it is a folder in the place of the
    /// device.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is mounted read-only and is to be changed, [`Error::Image`] if it cannot be mounted.
    pub fn open(root: &Root, file: &HashFile, purpose: Purpose) -> Result<Self> {
        let (device, node) = (&file.area.device, &file.area.node);
        let at = |dir: PathBuf, mount| Self { dir, name: file.name.clone(), _mount: mount };
        if !root.is_live() {
            if device.is_dir() {
                return Ok(at(device.clone(), None));
            }
            return Err(Error::Refused(format!(
                "{}: with --root nothing is mounted; make it a folder with the files of {node}",
                device.display()
            )));
        }
        if let Some(dir) = mounted(root, device, purpose)? {
            debug!("{node} is mounted at {}", dir.display());
            return Ok(at(dir, None));
        }
        let mount = sys::mount_ext4(device, purpose == Purpose::Read)
            .or_image(|| format!("{node} ({}): cannot mount as ext4", file.area.label))?;
        let dir = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        Ok(at(dir, Some(mount)))
    }

    fn path(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    /// The root hash in the file, in lower case; `None` if there is no such file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self) -> io::Result<Option<String>> {
        match File::open(self.path()) {
            Ok(file) => read_on_disk(&file).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Replaces the file, durably; it keeps its owner and mode. Before that, after a power cut too, it holds what it did.
    ///
    /// # Errors
    /// [`Error::Image`] if it cannot be written, [`Error::Unverified`] if it reads back differently.
    pub fn replace(&self, root_hash: &str) -> Result<()> {
        let cannot = |what: &str| format!("{}: cannot {what}", self.name);
        self.write(root_hash).or_image(|| cannot("write (is its file system full?)"))?;
        if self.read().or_image(|| cannot("read back"))?.as_deref() != Some(root_hash) {
            return Err(Error::Unverified(format!(
                "{}: differs from what was written; the disk is failing",
                self.name
            )));
        }
        Ok(())
    }

    fn write(&self, root_hash: &str) -> io::Result<()> {
        let new = self.dir.join(format!(".{}.new", self.name));
        match fs::remove_file(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        match fs::symlink_metadata(self.path()) {
            Ok(old) => {
                fchown(&file, Some(old.uid()), Some(old.gid()))?;
                file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                file.set_permissions(Permissions::from_mode(MODE))?;
            }
            Err(e) => return Err(e),
        }
        file.write_all(format!("{root_hash}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, self.path())?;
        File::open(&self.dir)?.sync_all()
    }
}

/// The text of the file without the blanks around it, from the disk and not from the page cache.
fn read_on_disk(file: &File) -> io::Result<String> {
    posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    let text = io::read_to_string(io::Read::take(file, MOST))?;
    Ok(text.trim().to_ascii_lowercase())
}

/// Where the device is mounted so that it can be used; `None` if it is mounted nowhere.
fn mounted(root: &Root, device: &Path, purpose: Purpose) -> Result<Option<PathBuf>> {
    let Some(devno) = block::devno_of(device) else { return Ok(None) };
    let mounts = mounts::read(root)?;
    let mut read_only = None;
    for mount in mounts.iter().filter(|mount| mount.majmin == devno && mount.root == "/") {
        let dir = &mount.mount_point;
        // Another file system may be mounted over it.
        if !fs::metadata(dir).is_ok_and(|meta| block::devno(meta.dev()) == devno) {
            continue;
        }
        let is_writable = !mount.mount_options.contains_key("ro") && !mount.super_options.contains_key("ro");
        if is_writable || purpose == Purpose::Read {
            return Ok(Some(dir.clone()));
        }
        if mount.super_options.contains_key("ro") {
            read_only = Some(dir.display());
        }
    }
    match read_only {
        Some(dir) => Err(Error::Refused(format!(
            "{dir}: the file system with the root hashes is mounted read-only; run: mount -o remount,rw {dir}"
        ))),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use abide_core::disk::Area;

    const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn open(dir: &Path) -> Result<HashFiles> {
        let area =
            Area { device: dir.to_owned(), node: "/dev/sda7".into(), label: "roothash".into(), size: 0 };
        let file = HashFile { area, name: "part_b_roothash".into() };
        HashFiles::open(&Root::at("/nonexistent"), &file, Purpose::Replace)
    }

    #[test]
    fn the_file_is_replaced_with_its_mode_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("part_a_roothash"), dir.path().join("part_b_roothash"));
        fs::write(&a, "aa\n").unwrap();
        let files = open(dir.path()).unwrap();
        assert_eq!(files.read().unwrap(), None);
        files.replace(HASH).unwrap();
        assert_eq!(fs::metadata(&b).unwrap().mode() & 0o7777, 0o644);
        fs::write(&b, "OLD\n").unwrap();
        fs::set_permissions(&b, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(files.read().unwrap().as_deref(), Some("old"));
        // What an interrupted write has left.
        fs::write(dir.path().join(".part_b_roothash.new"), "half").unwrap();
        files.replace(HASH).unwrap();
        assert_eq!(fs::read_to_string(&b).unwrap(), format!("{HASH}\n"));
        assert_eq!(fs::metadata(&b).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_to_string(&a).unwrap(), "aa\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn in_a_tree_the_file_system_is_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sda7");
        fs::write(&file, "").unwrap();
        assert_eq!(open(&file).unwrap_err().exit_code(), 6);
    }
}
