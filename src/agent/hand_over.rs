//! What the first step of `abide-update.service`, which is root, hands over to the user of the unit, and what the last
//! step takes back.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::config::Config;
use crate::feed::cache::Cache;
use crate::feed::ownership::{Owner, claim, give, is_own};
use crate::secret::Secret;
use abide_core::error::{Error, OrError, Result};
use abide_core::root::Root;

/// Set by systemd for a unit with `RuntimeDirectory=`. The folder belongs to the unit's user.
const RUNTIME_DIRECTORY: &str = "RUNTIME_DIRECTORY";

/// A command of root that has just taken the lock owns the cache after this time.
const MOMENT: Duration = Duration::from_secs(1);

/// Hands the cache and the source's token over to the user of the unit.
///
/// # Errors
/// [`Error::Busy`] if a command of root uses the cache; [`Error::Failed`] if it cannot be handed over; those of reading
/// a token.
pub fn hand_over(root: &Root, config: &Config) -> Result<()> {
    if config.update.source().is_none() {
        return Ok(());
    }
    if let Some(token) = config.update.token_file() {
        Secret::hand_over(root, Path::new(token))?;
    }
    hand_over_cache(&Cache::of(root), std::env::var_os(RUNTIME_DIRECTORY).as_deref())
}

/// Makes the owner of the folder `runtime` the owner of the cache and of the files in it. Without that folder, they stay
/// root's.
fn hand_over_cache(cache: &Cache, runtime: Option<&OsStr>) -> Result<()> {
    // The unit does not run yet, so that a lock on another user's cache is none of Abide's.
    let lock = cache.lock();
    if let Err(e @ Error::Busy(_)) = &lock {
        sleep(MOMENT);
        if is_own(cache)? {
            return Err(e.clone());
        }
    }
    claim(cache)?;
    let Some(runtime) = runtime else { return Ok(()) };
    let meta = fs::metadata(runtime)
        .or_failed(|| format!("{}: cannot read its owner", Path::new(runtime).display()))?;
    give(cache, Owner { uid: meta.uid(), gid: meta.gid() })
}

/// Takes the cache back from the user of the unit, whose processes have ended. Does nothing if it is root's.
///
/// # Errors
/// [`Error::Failed`] if its owner cannot be changed.
pub fn take_back(root: &Root) -> Result<()> {
    let cache = Cache::of(root);
    if !cache.dir().exists() || is_own(&cache)? { Ok(()) } else { claim(&cache) }
}
