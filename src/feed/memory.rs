//! What is remembered between two runs of the update agent. Losing any of it repeats work, but never weakens a check.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use log::warn;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::feed::attempts::Attempts;
use crate::feed::cache::{self, Cache, FETCH_STATE};
use crate::feed::catalog::Release;
use crate::feed::published::{ListedFile, Parts};
use crate::files;
use crate::files::Access;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::text;

const INSTALL_STATE: &str = "/var/lib/abide/update.json";

/// A file of its own, since a pin is a decision of the operator.
const PIN: &str = "/var/lib/abide/pinned";

/// What the unprivileged part remembers, beside the files it has fetched. Times are seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FetchState {
    /// When the last poll was tried.
    pub tried: Option<i64>,
    /// When the last successful poll was.
    pub polled: Option<i64>,
    /// How many polls succeeded. Orders events that fall into the same second.
    pub polls: u64,
    /// Polls that failed in a row.
    pub failures: u32,
    /// Why the last poll failed.
    #[serde(deserialize_with = "text::read_optional")]
    pub error: Option<String>,
    /// The release that is wanted.
    pub wanted: Option<WantedRelease>,
    /// Digests of the files that were fetched and verified, by name.
    pub have: BTreeMap<String, String>,
    /// The digest of the full file of which parts suffice, as far as is known.
    pub in_parts: Option<String>,
    /// The downloads of the release that failed.
    pub attempts: Attempts,
}

/// A release that is to be fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WantedRelease {
    /// Its version.
    #[serde(deserialize_with = "text::read_line")]
    pub version: String,
    /// Its digest.
    pub digest: String,
    /// When it was first wanted.
    pub found: i64,
    /// How much of it is in the cache.
    pub percent: u8,
}

impl FetchState {
    /// The state of `root`.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        read_or_default(&root.path(cache::DIR).join(FETCH_STATE))
    }

    /// Whether a file of a release is complete in the cache.
    #[must_use]
    pub fn has(&self, cache: &Cache, file: &ListedFile) -> bool {
        match self.have.get(&file.name) {
            Some(known) => *known == file.sha256 && cache.has_name(&file.name),
            // The file may be there although its digest is not remembered.
            None => cache.has_name(&file.name) && cache.has(&file.name, &file.sha256),
        }
    }

    /// Whether everything of a release is in the cache that is needed to install it.
    #[must_use]
    pub fn has_release(&self, cache: &Cache, release: &Release) -> bool {
        release.files.files().all(|file| {
            let parts = release.parts.as_ref().filter(|parts| parts.full == file.sha256);
            let suffices = |parts: &Parts| {
                self.in_parts.as_ref() == Some(&parts.full)
                    && self.has(cache, &parts.map)
                    && cache.asked(&parts.full).is_none()
            };
            self.has(cache, file) || parts.is_some_and(|parts| suffices(parts))
        })
    }

    /// Notes that a poll has succeeded; `counts`: its answer was carried out, too.
    pub fn set_polled(&mut self, counts: bool) {
        (self.polled, self.failures, self.error) = (self.tried, 0, None);
        self.polls = self.polls.wrapping_add(u64::from(counts));
    }

    /// Notes that a poll has failed.
    pub fn set_failed(&mut self, e: &Error) {
        self.failures = self.failures.saturating_add(1);
        self.error = Some(text::line(&e.to_string()));
        self.tried = Some(Timestamp::now().as_second());
    }

    /// Writes it, unless it is unchanged.
    ///
    /// # Errors
    /// [`Error::Failed`] if it cannot be written.
    pub fn write(&self, root: &Root) -> Result<()> {
        write_changed(&root.path(cache::DIR).join(FETCH_STATE), self, Access::Everybody)
    }
}

/// What the privileged part remembers. Times are seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstallState {
    /// The version to install.
    #[serde(deserialize_with = "text::read_line")]
    pub version: String,
    /// The digest of its image.
    pub digest: String,
    /// Since when it could be applied. Inhibitors may delay it for a limited time from here on.
    pub ready: Option<i64>,
    /// Why it waits, in one sentence.
    #[serde(deserialize_with = "text::read_optional")]
    pub waiting: Option<String>,
    /// When the wait ends, where it is known.
    pub until: Option<i64>,
    /// The reason that was announced last.
    #[serde(deserialize_with = "text::read_optional")]
    pub announced: Option<String>,
    /// Whether the source had no image for this machine.
    pub no_image: bool,
    /// How often a part of it was missing and was requested.
    pub requests: u32,
    /// How often it could not be written.
    pub refused: u32,
    /// When it was refused last, in seconds since 1970, if that may change.
    pub refused_at: Option<i64>,
    /// The number of polls ([`FetchState::polls`]) at the time it was written into the slot.
    pub written: Option<u64>,
    /// Whether applying it was begun; set before the first change.
    pub begun: bool,
    /// Reboots that were requested since it was applied.
    pub reboots: u32,
    /// The last warning about the keys, by its days. Not of the image.
    pub key_warning: Option<u32>,
}

impl InstallState {
    /// The state of `root`.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        read_or_default(&root.path(INSTALL_STATE))
    }

    /// Starts over if another image is wanted.
    pub fn set_release(&mut self, version: &str, digest: &str) {
        if self.digest != digest {
            *self = Self {
                version: version.to_owned(),
                digest: digest.to_owned(),
                key_warning: self.key_warning,
                ..Self::default()
            };
        }
    }

    /// Sets the reason of waiting and its end.
    pub fn set_waiting(&mut self, wait: Option<(&str, Option<Timestamp>)>) {
        self.waiting = wait.map(|(why, _)| why.to_owned());
        self.until = wait.and_then(|(_, until)| until).map(Timestamp::as_second);
    }

    /// Notes that the reason is announced; returns whether it is another one than the last time.
    pub fn set_announced(&mut self) -> bool {
        let is_new = self.announced != self.waiting;
        self.announced.clone_from(&self.waiting);
        is_new
    }

    /// Writes it, unless it is unchanged.
    ///
    /// # Errors
    /// [`Error::Failed`] if it cannot be written.
    pub fn write(&self, root: &Root) -> Result<()> {
        write_changed(&root.path(INSTALL_STATE), self, Access::Everybody)
    }
}

/// The version that the machine is pinned to.
///
/// # Errors
/// [`Error::Failed`] if the file is there and cannot be read: no update may be installed then.
pub fn pinned(root: &Root) -> Result<Option<String>> {
    Ok(files::read_text(&root.path(PIN))?.map(|text| text::line(&text)))
}

/// Pins the machine to `version`, or removes the pin.
///
/// # Errors
/// [`Error::Failed`] if `/var/lib/abide` cannot be written.
pub fn pin(root: &Root, version: Option<&str>) -> Result<()> {
    let path = root.path(PIN);
    match version {
        Some(version) => files::replace(&path, format!("{version}\n").as_bytes()),
        None => files::remove(&path),
    }
}

/// The content of a file that may be lost: a damaged one counts as a missing one.
pub fn read_or_default<T: DeserializeOwned + Default>(path: &Path) -> T {
    let read = files::read_json(path).unwrap_or_else(|e| {
        warn!("{e}; starting over");
        None
    });
    read.unwrap_or_default()
}

/// Writes such a file, unless its content is equal. A missing one holds the default.
///
/// # Errors
/// [`Error::Failed`] if it cannot be written.
pub fn write_changed<T>(path: &Path, value: &T, access: Access) -> Result<()>
where
    T: Serialize + DeserializeOwned + Default + PartialEq,
{
    if read_or_default::<T>(path) == *value { Ok(()) } else { files::write_json_for(path, value, access) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn a_damaged_state_counts_as_a_missing_one() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        assert_eq!(FetchState::read(&root), FetchState::default());
        let state = FetchState { tried: Some(7), error: Some("timeout".into()), ..FetchState::default() };
        state.write(&root).unwrap();
        assert_eq!(FetchState::read(&root), state);
        fs::write(root.path(cache::DIR).join(FETCH_STATE), "{").unwrap();
        assert_eq!(FetchState::read(&root), FetchState::default());
        let state = InstallState { version: "2.0".into(), ready: Some(1), ..InstallState::default() };
        state.write(&root).unwrap();
        assert_eq!(InstallState::read(&root), state);
    }

    #[test]
    fn a_pin_is_set_and_removed() {
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
