//! What the first step of `abide-update.service`, which is root, hands over to the user of the unit.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use log::warn;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{Gid, Uid, fchownat};

use crate::config::Config;
use crate::feed::cache;
use crate::secret::Secret;
use abide_core::error::{OrError, Result};
use abide_core::root::Root;

/// Set by systemd for a unit with `RuntimeDirectory=`. The folder belongs to the unit's user.
const RUNTIME_DIRECTORY: &str = "RUNTIME_DIRECTORY";

/// Hands the cache and the source's token over to the user of the unit.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it cannot be handed over; those of reading a token.
pub fn hand_over(root: &Root, config: &Config) -> Result<()> {
    if config.update.source().is_none() {
        return Ok(());
    }
    if let Some(token) = config.update.token_file() {
        Secret::hand_over(root, Path::new(token))?;
    }
    hand_over_cache(root)
}

/// Makes the unit's user the owner of the cache and of the files in it.
fn hand_over_cache(root: &Root) -> Result<()> {
    let dir = &root.path(cache::DIR);
    let cannot = || format!("{}: cannot change the owner", dir.display());
    fs::create_dir_all(dir).or_failed(cannot)?;
    let Some(runtime) = std::env::var_os(RUNTIME_DIRECTORY) else { return Ok(()) };
    let owner = fs::metadata(&runtime).or_failed(cannot)?;
    give(dir, &owner)?;
    for entry in fs::read_dir(dir).or_failed(cannot)? {
        let path = entry.or_failed(cannot)?.path();
        if !path.is_dir() {
            give(&path, &owner)?;
        }
    }
    Ok(())
}

/// Gives a file or folder the owner of another one. A link, or a file with several names, is left alone: the
/// unprivileged user could use it to get another file.
fn give(path: &Path, owner: &fs::Metadata) -> Result<()> {
    let cannot = || format!("{}: cannot change the owner", path.display());
    let meta = fs::symlink_metadata(path).or_failed(cannot)?;
    let is_plain = meta.is_dir() || meta.is_file() && meta.nlink() == 1;
    if !is_plain {
        warn!("{}: not a plain file; its owner is not changed", path.display());
        return Ok(());
    }
    if (meta.uid(), meta.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
    fchownat(AT_FDCWD, path, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW).or_failed(cannot)
}
