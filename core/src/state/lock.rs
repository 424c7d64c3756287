//! One writer at a time on a machine.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use log::warn;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::error::{Error, OrError, Result};
use crate::root::Root;
use crate::state::lock_holder;

/// How long a step of a trial waits: less than the time limits of its unit.
pub const BRIEFLY: Duration = Duration::from_secs(15);

/// How long a step waits that nobody waits for: longer than it takes to write a slot.
pub const PATIENTLY: Duration = Duration::from_secs(3600);

/// The file that is locked.
pub const PATH: &str = "/run/abide/lock";

/// Only root can open the lock, even to read it: a lock needs no more than an open file.
const MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o755;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Held while something is changed; released when dropped or when the process ends.
#[derive(Debug)]
pub struct Lock {
    /// Closing it releases the lock.
    _file: File,
}

impl Lock {
    /// Takes the lock, or fails at once if another process holds it.
    ///
    /// # Errors
    /// [`Error::Busy`] if another Abide holds it, [`Error::Failed`] if `/run/abide` cannot be written.
    pub fn take(root: &Root) -> Result<Self> {
        Self::wait(root, Duration::ZERO)
    }

    /// Waits until no other process holds the lock, and takes it; for the units, which must not fail
    /// because of another command.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process still holds it after `limit`, [`Error::Failed`] if `/run/abide` cannot be
    /// written.
    pub fn wait(root: &Root, limit: Duration) -> Result<Self> {
        let path = root.path(PATH);
        let file = open(&path)?;
        let started = Instant::now();
        let mut has_warned = limit.is_zero();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if started.elapsed() >= limit => {
                    let holder = holder(root, &file);
                    return Err(Error::Busy(format!(
                        "another abide is running{holder}; try again when it has ended"
                    )));
                }
                Err(Errno::WOULDBLOCK) => {
                    if !has_warned {
                        warn!("waiting for the lock {}{}", path.display(), holder(root, &file));
                        has_warned = true;
                    }
                    sleep(PAUSE);
                }
                Err(e) => return Err(Error::Failed(format!("{}: cannot lock: {e}", path.display()))),
            }
        }
    }
}

/// Who holds the lock on an open file, in brackets after a space; empty where that is unknown.
#[must_use]
pub fn holder(root: &Root, file: &File) -> String {
    lock_holder::find(root, file).map(|holder| format!(" ({holder})")).unwrap_or_default()
}

fn open(path: &Path) -> Result<File> {
    let cannot = || format!("{}: cannot open", path.display());
    if let Some(dir) = path.parent() {
        make_folder(dir).or_failed(|| format!("{}: cannot create", dir.display()))?;
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .or_failed(cannot)?;
    let meta = file.metadata().or_failed(cannot)?;
    if meta.mode() & 0o7777 != MODE {
        file.set_permissions(Permissions::from_mode(MODE)).or_failed(cannot)?;
    }
    Ok(file)
}

/// Creates the folder; nobody else can write to it, whatever the umask is or was.
fn make_folder(dir: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(dir)?;
    if fs::metadata(dir)?.mode() & 0o022 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(FOLDER_MODE))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_second_writer_is_turned_away_until_the_first_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let first = Lock::take(&root).unwrap();
        assert_eq!(Lock::take(&root).unwrap_err().exit_code(), 8);
        drop(first);
        assert!(Lock::take(&root).is_ok());
    }

    #[test]
    fn who_waits_does_not_wait_for_ever_and_names_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let first = Lock::take(&root).unwrap();
        let meta = fs::metadata(root.path(PATH)).unwrap();
        let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
        fs::create_dir_all(root.path("/proc/412")).unwrap();
        fs::write(root.path("/proc/412/comm"), "sl\x1beep\n").unwrap();
        let line = format!("1: FLOCK  ADVISORY  WRITE 412 {major:02x}:{minor:02x}:{} 0 EOF\n", meta.ino());
        fs::write(root.path("/proc/locks"), line).unwrap();
        let error = Lock::wait(&root, Duration::from_millis(200)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("another abide is running (sleep, process 412 of user "), "{text}");
        assert_eq!(error.exit_code(), 8);
        drop(first);
        assert!(Lock::wait(&root, Duration::from_secs(60)).is_ok());
    }

    #[test]
    fn only_the_owner_can_open_the_lock_or_replace_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let mode = |path: &str| fs::metadata(root.path(path)).unwrap().mode() & 0o7777;
        drop(Lock::take(&root).unwrap());
        assert_eq!((mode(PATH), mode("/run/abide")), (0o600, 0o755));
        // Those of an older Abide are mended.
        fs::set_permissions(root.path(PATH), Permissions::from_mode(0o666)).unwrap();
        fs::set_permissions(root.path("/run/abide"), Permissions::from_mode(0o777)).unwrap();
        drop(Lock::take(&root).unwrap());
        assert_eq!((mode(PATH), mode("/run/abide")), (0o600, 0o755));
    }
}
