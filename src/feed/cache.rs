//! The folder into which a feed is fetched: its list, its signatures, and the files of one release.
//!
//! It has the layout of the published folder, without subfolders, so the same code reads both. Its content is untrusted: the
//! part that installs from it verifies the list's signature and every digest again. [`super::ownership`] has its
//! owners.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use log::{info, warn};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::config::Download;
use crate::delta::file_names;
use crate::feed::catalog::METADATA;
use crate::files::{self, OpenFolder};
use crate::image::Folder;
use crate::image::image_digest::ImageDigest;
use crate::image::names::{Name, SUMS, base_name};
use crate::image::trust::{KEY_LIST, VerifiedSums};
use abide_core::error::{Error, OrError, Result};
use abide_core::root::Root;
use abide_core::state::lock;

/// The folder. While the unit that fetches runs, its owner is the user of that unit.
pub const DIR: &str = "/var/lib/abide/feed";

/// What the downloader remembers.
pub const FETCH_STATE: &str = "feed.json";

/// The state of the hawkBit action.
pub const HAWKBIT: &str = "hawkbit.json";

/// The state of the reboot lock of FleetLock.
pub const FLEETLOCK: &str = "fleetlock.json";

/// Locked by the process that uses the cache. Only its owner can open it: a lock needs no more than an open file.
pub const LOCK: &str = "lock";

/// All files of the cache, beside those of a release. What has another name is removed.
pub const FILES: [&str; 10] = [
    SUMS,
    "SHA256SUMS.minisig",
    "SHA256SUMS.gpg",
    "SHA256SUMS.asc",
    METADATA,
    KEY_LIST,
    FETCH_STATE,
    HAWKBIT,
    FLEETLOCK,
    LOCK,
];

/// How often taking the lock is tried while its file is being replaced.
const MAX_TRIES: usize = 5;

/// The extension of an incomplete file. Its name is the digest of the complete file.
pub(super) const PARTIAL: &str = "part";

/// The extension of the frames that were fetched of a file, whose digest is the name.
pub const FRAMES: &str = "frames";

/// The extension of a request for frames of a file, whose digest is the name.
pub(super) const REQUEST: &str = "request";

/// In front of it, where a file of another length is fetched beside what was fetched before.
pub(super) const BESIDE: &str = ".new";

/// The folder.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// The cache of `root`.
    #[must_use]
    pub fn of(root: &Root) -> Self {
        Self { dir: root.path(DIR) }
    }

    /// Its path.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Excludes other processes that use the cache, until it is dropped.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process holds the lock.
    pub fn lock(&self) -> Result<Flock<File>> {
        let path = self.dir.join(LOCK);
        let cannot = || format!("{}: cannot lock", path.display());
        for _ in 0..MAX_TRIES {
            let folder = OpenFolder::create(&self.dir).or_failed(cannot)?;
            let file = match folder.open_to_write(LOCK.as_ref(), 0o600) {
                // Anything but a plain file locks nothing.
                Err(e) if e.kind() == ErrorKind::Other => {
                    warn!("{}: removed: {e}", path.display());
                    let removed = folder.remove(LOCK.as_ref()).or_else(|_| folder.set_aside(LOCK.as_ref()));
                    removed.or_failed(cannot)?;
                    continue;
                }
                other => other.or_failed(cannot)?,
            };
            let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(file, e)| match e {
                Errno::EWOULDBLOCK => {
                    let holder = lock::holder(&Root::live(), &file);
                    Error::Busy(format!("another abide uses the cache{holder}; try again later"))
                }
                e => Error::Failed(format!("{}: {e}", cannot())),
            })?;
            // The cache was handed over meanwhile if this file is no longer the lock.
            let inode = |meta: fs::Metadata| (meta.dev(), meta.ino());
            let locked = lock.metadata().map(inode).or_failed(cannot)?;
            if fs::symlink_metadata(&path).is_ok_and(|meta| inode(meta) == locked) {
                return Ok(lock);
            }
        }
        Err(Error::Busy("another abide uses the cache; try again later".into()))
    }

    /// The cache as a folder of images; none if nothing was ever fetched.
    #[must_use]
    pub fn folder(&self) -> Option<Folder> {
        Folder::at(&self.dir.to_string_lossy(), &Download::default())
    }

    /// The list that was fetched last.
    #[must_use]
    pub fn list(&self) -> Option<Vec<u8>> {
        self.read(SUMS)
    }

    /// A small file.
    #[must_use]
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        files::read(&self.dir.join(name)).unwrap_or_else(|e| {
            warn!("{e}; fetching it again");
            None
        })
    }

    /// Stores a list and its signatures. After an interruption the two may not match; the next poll fetches
    /// them again.
    ///
    /// # Errors
    /// [`Error::Failed`] if the folder cannot be written.
    pub fn store_list(&self, listing: &VerifiedSums) -> Result<()> {
        for (name, bytes) in &listing.signatures {
            files::replace(&self.dir.join(name), bytes)?;
        }
        files::replace(&self.dir.join(SUMS), &listing.bytes)
    }

    /// Stores a small file.
    ///
    /// # Errors
    /// As [`Cache::store_list`].
    pub fn store(&self, name: &str, bytes: &[u8]) -> Result<()> {
        files::replace(&self.dir.join(name), bytes)
    }

    /// Removes a small file.
    ///
    /// # Errors
    /// [`Error::Failed`] if it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        files::remove(&self.dir.join(name))
    }

    /// Whether a file of this name is there and has this digest. Reads the whole file.
    #[must_use]
    pub fn has(&self, name: &str, sha256: &str) -> bool {
        hash_of(&self.dir.join(base_name(name)), sha256).is_ok_and(|found| found.as_deref() == Some(sha256))
    }

    /// Whether a file of this name is there, with any content.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        fs::symlink_metadata(self.dir.join(base_name(name))).is_ok_and(|meta| meta.is_file())
    }

    /// Removes the files of other releases, complete and partial: all but `keep` (names and digests).
    ///
    /// # Errors
    /// [`Error::Failed`] if the folder cannot be changed.
    pub fn sweep(&self, keep: &[(&str, &str)]) -> Result<()> {
        for name in read_names(&self.dir)? {
            let path = self.dir.join(&name);
            let name = name.to_string_lossy();
            let is_kept = keep
                .iter()
                .any(|(kept, sha256)| name == base_name(kept) || partial_of(&name) == Some(sha256));
            if is_kept || !is_payload(&name) {
                continue;
            }
            files::remove(&path)?;
            info!("{}: removed, no longer needed", path.display());
        }
        Ok(())
    }
}

/// The digest in the name of a partial file, of the one beside it, of its frames, or of a request for these.
fn partial_of(name: &str) -> Option<&str> {
    let name = [PARTIAL, FRAMES, REQUEST].iter().find_map(|end| name.strip_suffix(end)?.strip_suffix('.'))?;
    Some(name.strip_suffix(BESIDE).unwrap_or(name))
}

/// Whether a file belongs to a release: not a list, signature or state.
fn is_payload(name: &str) -> bool {
    let is_image = |name: &str| Name::parse(name).is_some();
    partial_of(name).is_some() || is_image(name) || file_names::is_beside(name, is_image)
}

/// Whether the cache has files of this name.
pub(super) fn is_known(name: &str) -> bool {
    FILES.contains(&name) || is_payload(name)
}

/// The names in the folder; none if there is no folder.
pub(super) fn read_names(dir: &Path) -> Result<Vec<OsString>> {
    let cannot = || format!("{}: cannot read", dir.display());
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(vec![]),
        other => other.or_failed(cannot)?,
    };
    entries.map(|entry| Ok(entry.or_failed(cannot)?.file_name())).collect()
}

/// The digest of an image that should have the digest `wanted`.
fn hash_of(path: &Path, wanted: &str) -> std::io::Result<Option<String>> {
    let hash = |mut file: File| {
        let mut digest = ImageDigest::new(wanted);
        std::io::copy(&mut file, &mut digest).map(|_| digest.finish())
    };
    files::open(path)?.map(hash).transpose()
}
