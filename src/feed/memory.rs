//! What is remembered of a feed between two runs. Losing any of it costs a repeat, never safety.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use log::warn;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::feed::cache;
use abide_core::error::{OrError, Result};
use abide_core::files::replace;
use abide_core::root::Root;

const SEEN: &str = "feed.json";
const PLAN: &str = "/var/lib/abide/update.json";

/// A file, and so not part of [`Plan`]: that a machine is to stay is what somebody has decided.
const PIN: &str = "/var/lib/abide/pinned";

/// What the part that fetches remembers, beside what it has fetched. Times are seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// When the feed was looked at last, with or without success.
    pub tried: Option<i64>,
    /// When it was last looked at with success.
    pub polled: Option<i64>,
    /// How often that was; what came before what is told by this, as seconds are too long for it.
    pub polls: u64,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// What is wanted from the feed.
    pub wanted: Option<Download>,
    /// Digests of the files that were fetched and verified, by name.
    pub have: BTreeMap<String, String>,
}

/// A release on its way into the cache.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Download {
    /// Its version.
    pub version: String,
    /// By what it is remembered.
    pub digest: String,
    /// When it was first wanted.
    pub found: i64,
    /// How much of it is there.
    pub percent: u8,
}

impl Seen {
    /// What is remembered of the feed of `root`.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        read(&root.path(cache::DIR).join(SEEN)).unwrap_or_default()
    }

    /// Remembers it; writes nothing if it is remembered already.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if it cannot be written.
    pub fn write(&self, root: &Root) -> Result<()> {
        if Self::read(root) == *self {
            return Ok(());
        }
        write(self, &root.path(cache::DIR).join(SEEN))
    }
}

/// What the part that installs remembers. Times are seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// The version that is to be installed.
    pub version: String,
    /// By what its image is remembered.
    pub digest: String,
    /// Since when it could have been applied; how long it may be held off counts from here.
    pub ready: Option<i64>,
    /// Why it waits, in one sentence.
    pub waiting: Option<String>,
    /// When that is over, where it is known.
    pub until: Option<i64>,
    /// How often it could not be written.
    pub refused: u32,
    /// How often the feed had been looked at ([`Seen::polls`]) when it was written into the slot.
    pub written: Option<u64>,
    /// That it was to be applied; set before it is.
    pub begun: bool,
    /// Reboots that were asked for since it was applied.
    pub reboots: u32,
}

impl Plan {
    /// What is remembered on `root`.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        read(&root.path(PLAN)).unwrap_or_default()
    }

    /// Begins anew where another image is wanted.
    pub fn is_about(&mut self, version: &str, digest: &str) {
        if self.digest != digest {
            *self = Self { version: version.to_owned(), digest: digest.to_owned(), ..Self::default() };
        }
    }

    /// Remembers it; writes nothing if it is remembered already.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if it cannot be written.
    pub fn write(&self, root: &Root) -> Result<()> {
        if Self::read(root) == *self {
            return Ok(());
        }
        write(self, &root.path(PLAN))
    }
}

/// The version that the machine is to stay on, if somebody has said so.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if the file is there and cannot be read: an update must not be
/// taken then.
pub fn pinned(root: &Root) -> Result<Option<String>> {
    let path = root.path(PIN);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).or_failed(|| format!("{}: cannot read", path.display())),
    }
}

/// Has the machine stay on `version`, or follow the feed again.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if `/var/lib/abide` cannot be written.
pub fn pin(root: &Root, version: Option<&str>) -> Result<()> {
    let path = root.path(PIN);
    match version {
        Some(version) => replace(&path, format!("{version}\n").as_bytes()),
        None => match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).or_failed(|| format!("{}: cannot remove", path.display()))
            }
            _ => Ok(()),
        },
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = fs::read(path).ok()?;
    match serde_json::from_slice(&bytes) {
        Ok(value) => Some(value),
        Err(e) => {
            warn!("{}: not understood ({e}); beginning anew", path.display());
            None
        }
    }
}

fn write<T: Serialize>(value: &T, path: &Path) -> Result<()> {
    let bytes = serde_json::to_vec(value).or_failed(|| format!("{}: cannot encode", path.display()))?;
    replace(path, &bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_written_is_read_again_and_rubbish_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        assert_eq!(Seen::read(&root), Seen::default());
        let seen = Seen { tried: Some(7), error: Some("away".into()), ..Seen::default() };
        seen.write(&root).unwrap();
        assert_eq!(Seen::read(&root), seen);
        fs::write(root.path(cache::DIR).join(SEEN), "{").unwrap();
        assert_eq!(Seen::read(&root), Seen::default());
        let plan = Plan { version: "2.0".into(), ready: Some(1), ..Plan::default() };
        plan.write(&root).unwrap();
        assert_eq!(Plan::read(&root), plan);
    }

    #[test]
    fn a_pin_is_set_and_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        pin(&root, None).unwrap();
        assert_eq!(pinned(&root).unwrap(), None);
        pin(&root, Some("1.0")).unwrap();
        assert_eq!(pinned(&root).unwrap().as_deref(), Some("1.0"));
        pin(&root, None).unwrap();
        assert_eq!(pinned(&root).unwrap(), None);
    }
}
