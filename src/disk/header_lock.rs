//! The lock under which the header of a LUKS2 device is changed: the one that cryptsetup takes
//! (`acquire_lock_handle` of its `lib/utils_device_locking.c`): flock(2) on a file in `/run/cryptsetup` that names the block
//! device's number, or on a plain file itself.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{major, minor};

use abide_core::error::{Error, OrError, Result};

/// cryptsetup's `DEFAULT_LUKS2_LOCK_PATH` and `DEFAULT_LUKS2_LOCK_DIR_PERMS`.
const FOLDER: &str = "/run/cryptsetup";
const FOLDER_MODE: u32 = 0o700;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Held while the header is changed.
#[derive(Debug)]
pub struct HeaderLock {
    /// Closing it releases the lock.
    _file: Flock<File>,
}

impl HeaderLock {
    /// Waits at most `limit` until no other program changes the header of the device.
    ///
    /// # Errors
    /// [`Error::Busy`] if another program still holds the lock, [`Error::Failed`] if it cannot be taken.
    pub fn wait(device: &Path, limit: Duration) -> Result<Self> {
        let cannot = || format!("{}: cannot lock its LUKS2 header", device.display());
        let started = Instant::now();
        loop {
            if let Some(file) = attempt(device).or_failed(cannot)? {
                return Ok(Self { _file: file });
            }
            if started.elapsed() >= limit {
                return Err(Error::Busy(format!(
                    "{}: another program (cryptsetup?) has locked its LUKS2 header; try again when it has ended",
                    device.display()
                )));
            }
            sleep(PAUSE);
        }
    }
}

/// One attempt; `None` if another program holds the lock, or has removed its file.
fn attempt(device: &Path) -> io::Result<Option<Flock<File>>> {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(device)?;
    let meta = opened.metadata()?;
    if !meta.file_type().is_block_device() {
        return lock(opened);
    }
    let made = DirBuilder::new().mode(FOLDER_MODE).create(FOLDER);
    if let Err(e) = made
        && e.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(e);
    }
    let path = Path::new(FOLDER).join(format!("L_{}:{}", major(meta.rdev()), minor(meta.rdev())));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o644).custom_flags(libc::O_NOFOLLOW);
    let Some(file) = lock(options.open(&path)?)? else { return Ok(None) };
    // cryptsetup removes the file when it releases the lock. Then this descriptor is of a removed file.
    let (held, there) = (file.metadata()?, path.symlink_metadata());
    let is_there = there.is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino()));
    Ok(is_there.then_some(file))
}

fn lock(file: File) -> io::Result<Option<Flock<File>>> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => Ok(None),
        Err((_, e)) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_plain_file_is_locked_itself_and_the_wait_is_bounded() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let held = HeaderLock::wait(file.path(), Duration::ZERO).unwrap();
        assert_eq!(HeaderLock::wait(file.path(), Duration::from_millis(60)).unwrap_err().exit_code(), 8);
        drop(held);
        HeaderLock::wait(file.path(), Duration::ZERO).unwrap();
    }
}
