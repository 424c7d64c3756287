//! One writer at a time on a machine.

use std::fs::{self, File, OpenOptions};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Error, OrError, Result};
use crate::root::Root;

const PATH: &str = "/run/abide/lock";

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
        Self::locked(root, FlockOperation::NonBlockingLockExclusive)
    }

    /// Waits until no other process holds the lock, and takes it; for the units, which must not fail
    /// because of another command.
    ///
    /// # Errors
    /// [`Error::Failed`] if `/run/abide` cannot be written.
    pub fn wait(root: &Root) -> Result<Self> {
        Self::locked(root, FlockOperation::LockExclusive)
    }

    fn locked(root: &Root, how: FlockOperation) -> Result<Self> {
        let path = root.path(PATH);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).or_failed(|| format!("{}: cannot create", dir.display()))?;
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .or_failed(|| format!("{}: cannot open", path.display()))?;
        match flock(&file, how) {
            Ok(()) => Ok(Self { _file: file }),
            Err(Errno::WOULDBLOCK) => {
                Err(Error::Busy("another abide is running; try again when it has ended".into()))
            }
            Err(e) => Err(Error::Failed(format!("{}: cannot lock: {e}", path.display()))),
        }
    }
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
}
