//! Whose the cache is. A process works only in a cache of its own user: between the runs of the downloader the cache
//! is root's, so that the downloader's temporary user, or a later one with the same number, has no access to it.
//!
//! What the owner before has left is used only if it is a plain file with a known name. Its content is untrusted.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use log::warn;
use nix::sys::stat::FileStat;
use nix::unistd::{getegid, geteuid};

use crate::feed::cache::{Cache, HAWKBIT, LOCK, is_known, read_names};
use crate::files::OpenFolder;
use abide_core::error::{OrError, Result};
use abide_core::sys::is_open_to_write;

/// The modes of the folder, of its files, and of those that nobody else may open: the lock, and links that are signed.
const FOLDER_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;
const OWN_MODE: u32 = 0o600;

/// Each file that is removed has a warning, up to this number.
const MAX_WARNINGS: usize = 16;

/// A user and a group, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Owner {
    /// The user and group of this process.
    #[must_use]
    pub fn this_process() -> Self {
        Self { uid: geteuid().as_raw(), gid: getegid().as_raw() }
    }
}

/// Whether the cache belongs to the user of this process.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it cannot be read.
pub fn is_own(cache: &Cache) -> Result<bool> {
    let meta = open(cache.dir())?.1.metadata().or_failed(|| cannot(cache.dir()))?;
    Ok(meta.uid() == geteuid().as_raw())
}

/// Makes the cache, and everything in it that is a plain file with a known name, this process's own. Removes the
/// rest. Afterwards nobody else can change a name in it, or open a file of it to write.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it belongs to somebody else, and this process is not root.
pub fn claim(cache: &Cache) -> Result<()> {
    let dir = cache.dir();
    let (folder, file) = open(dir)?;
    // First the folder: then the names no longer change.
    set(&file, Owner::this_process(), FOLDER_MODE).or_failed(|| take_over(dir, &file))?;
    let mut removed = 0;
    for name in read_names(dir)? {
        let fault = match folder.look_at(&name) {
            Ok(stat) => fault(&folder, &name, &stat, capacity(dir)),
            Err(_) => continue,
        };
        let fault = fault.or_else(|| own(&folder, &name).err().map(|e| e.to_string()));
        let Some(fault) = fault else { continue };
        removed += 1;
        if removed <= MAX_WARNINGS {
            // The owner before has chosen the name.
            warn!("{}: {name:?} is removed: {fault}", dir.display());
        }
        remove(dir, &folder, &name)?;
    }
    if removed > MAX_WARNINGS {
        warn!("{}: {} more files are removed", dir.display(), removed - MAX_WARNINGS);
    }
    Ok(())
}

/// Gives the cache, which is this process's own, to `owner`, without the lock of before.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if its owner cannot be changed.
pub fn give(cache: &Cache, owner: Owner) -> Result<()> {
    let dir = cache.dir();
    let (folder, file) = open(dir)?;
    cache.remove(LOCK)?;
    for name in read_names(dir)? {
        let given = folder.open(&name).and_then(|file| set(&file, owner, mode(&name)));
        given.or_failed(|| cannot(&dir.join(&name)))?;
    }
    set(&file, owner, FOLDER_MODE).or_failed(|| cannot(dir))
}

fn open(dir: &Path) -> Result<(OpenFolder, File)> {
    let folder = OpenFolder::create(dir).or_failed(|| format!("{}: cannot open", dir.display()))?;
    let file = folder.file().or_failed(|| format!("{}: cannot open", dir.display()))?;
    Ok((folder, file))
}

/// Why something in the cache is not used.
fn fault(folder: &OpenFolder, name: &OsStr, stat: &FileStat, capacity: u64) -> Option<String> {
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    let unknown = || (!name.to_str().is_some_and(is_known)).then(|| "not a file of the cache".to_owned());
    // No download is larger, but a file with holes can take for ever to read.
    let endless = || (size > capacity).then(|| format!("has {size} bytes, more than its file system"));
    folder.fault(stat).or_else(unknown).or_else(endless)
}

/// Makes a plain file this process's own.
fn own(folder: &OpenFolder, name: &OsStr) -> std::io::Result<()> {
    let file = folder.open(name)?;
    let (uid, me) = (file.metadata()?.uid(), Owner::this_process());
    if uid == me.uid {
        return set(&file, me, mode(name));
    }
    if me.uid != 0 {
        return Err(std::io::Error::other(format!("belongs to user {uid}")));
    }
    set(&file, me, mode(name))?;
    // A process of the owner before could still change it, and make it endless.
    if name != LOCK && is_open_to_write(&file) {
        return Err(std::io::Error::other(format!("a process of user {uid} has it open")));
    }
    Ok(())
}

fn mode(name: &OsStr) -> u32 {
    if name == LOCK || name == HAWKBIT { OWN_MODE } else { FILE_MODE }
}

/// Sets owner and mode, where they differ.
fn set(file: &File, owner: Owner, mode: u32) -> std::io::Result<()> {
    let meta = file.metadata()?;
    if meta.uid() != owner.uid {
        fchown(file, Some(owner.uid), Some(owner.gid))?;
    }
    if meta.mode() & 0o7777 != mode {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// The size of the file system.
fn capacity(dir: &Path) -> u64 {
    nix::sys::statvfs::statvfs(dir)
        .map_or(u64::MAX, |stat| stat.blocks().saturating_mul(stat.fragment_size()))
}

/// Removes whatever has this name.
fn remove(dir: &Path, folder: &OpenFolder, name: &OsStr) -> Result<()> {
    let path = dir.join(name);
    let removed = if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
        // A name that no file of the cache has, if the content of the folder cannot be removed.
        fs::remove_dir_all(&path).or_else(|_| folder.set_aside(name))
    } else {
        folder.remove(name)
    };
    removed.or_failed(|| format!("{}: cannot remove", path.display()))
}

fn cannot(path: &Path) -> String {
    format!("{}: cannot change the owner", path.display())
}

fn take_over(dir: &Path, file: &File) -> String {
    let uid = file.metadata().map_or(0, |meta| meta.uid());
    let dir = dir.display();
    format!(
        "{dir}: belongs to user {uid}; run `abide update` as root, which takes it over: cannot change the owner"
    )
}

#[cfg(test)]
mod tests;
