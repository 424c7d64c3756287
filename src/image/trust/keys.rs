//! The installed keys.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::image::trust::key_list::KeyList;
use crate::image::trust::{minisign, openpgp};
use abide_core::error::{Error, OrError, Result};
use abide_core::root::Root;

/// Folders of keys; a file in the first replaces the file with the same name in the second.
const FOLDERS: [&str; 2] = ["/etc/abide/keys", "/usr/lib/abide/keys"];

/// Endings of key files.
const ENDINGS: [&str; 4] = ["gpg", "pgp", "asc", "pub"];

/// systemd's keyrings for downloads: the administrator's and the vendor's, which systemd merges, each under the name it
/// has had since systemd 258, or else the one before (`src/import/pull-common.c`).
const KEYRINGS: [[&str; 2]; 2] = [
    ["/etc/systemd/import-pubring.pgp", "/etc/systemd/import-pubring.gpg"],
    ["/usr/lib/systemd/import-pubring.pgp", "/usr/lib/systemd/import-pubring.gpg"],
];

/// What a link leads to that disables a file of the same name.
const MASK: &str = "/dev/null";

/// How many days before the last key expires a warning is due.
const WARNINGS: [u32; 3] = [7, 30, 90];

/// The largest file of keys that is read.
const MOST_BYTES: u64 = 4 << 20;

/// The installed keys.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// Keys for OpenPGP signatures, each once.
    pub openpgp: Vec<openpgp::Certificate>,
    /// Keys for `.minisig` signatures.
    pub minisign: Vec<minisign::Key>,
    /// Whether keys were left out since they are revoked.
    revoked: bool,
}

/// A key that stops to be valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// Its file.
    pub file: String,
    /// When it ends; none: never.
    pub ends: Option<SystemTime>,
}

/// Which warning about the last key is due: the smallest of 90, 30 and 7 days that is not less than what is left.
#[must_use]
pub fn warning_days(ends: SystemTime, now: SystemTime) -> Option<u32> {
    let left = ends.duration_since(now).unwrap_or_default().as_secs();
    WARNINGS.into_iter().find(|days| left <= u64::from(*days) * 24 * 60 * 60)
}

impl Keys {
    /// Reads all keys of `root`: the installed ones, and those that its feed has added, without those that it has revoked.
    ///
    /// # Errors
    /// [`Error::Unverified`] for whatever lies in a key folder and cannot be used as a key: an installed key must not be
    /// ignored silently; and if the key list cannot be read.
    pub fn load(root: &Root) -> Result<Self> {
        let keys = Self::installed(root)?;
        Ok(match KeyList::learned(root)? {
            Some(list) => keys.with_list(&list),
            None => keys,
        })
    }

    /// Reads the keys that were installed with the image or by the administrator.
    ///
    /// # Errors
    /// As [`Keys::load`].
    pub fn installed(root: &Root) -> Result<Self> {
        let mut keys = Self::default();
        for file in files(root)? {
            let name = file.display().to_string();
            keys.add(&file, &name).map_err(|e| {
                Error::Unverified(format!(
                    "the key file {name} {e}; repair or remove it, or put a link of its name to {MASK} into /etc/abide/keys"
                ))
            })?;
        }
        keys.openpgp = openpgp::merge(keys.openpgp);
        Ok(keys)
    }

    /// The key that expires last; none if one never expires.
    #[must_use]
    pub fn last_expiry(&self, now: SystemTime) -> Option<(String, SystemTime)> {
        let ends = self.expiries(now).map(|key| Some((key.file, key.ends?))).collect::<Option<Vec<_>>>()?;
        ends.into_iter().max_by_key(|(_, ends)| *ends)
    }

    /// The keys once this list is applied.
    #[must_use]
    pub fn with_list(mut self, list: &KeyList) -> Self {
        self.openpgp.extend(list.openpgp.iter().cloned());
        self.openpgp = openpgp::merge(self.openpgp);
        self.minisign.extend(list.minisign.iter().cloned());
        let all = self.openpgp.len() + self.minisign.len();
        self.openpgp.retain(|key| !key.fingerprints().any(|print| list.revokes(&print)));
        self.minisign.retain(|key| !list.revokes(key.text()));
        self.revoked |= self.openpgp.len() + self.minisign.len() < all;
        self
    }

    /// Whether keys were left out since they are revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.revoked
    }

    /// How many keys can sign now.
    #[must_use]
    pub fn usable(&self, now: SystemTime) -> usize {
        let openpgp = self.openpgp.iter().filter(|key| key.ends(now).is_none_or(|ends| ends > now)).count();
        let mut minisign: Vec<&str> = self.minisign.iter().map(minisign::Key::text).collect();
        minisign.sort_unstable();
        minisign.dedup();
        openpgp + minisign.len()
    }

    /// Whether no key is installed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.openpgp.is_empty() && self.minisign.is_empty()
    }

    /// When each key ends.
    pub fn expiries(&self, now: SystemTime) -> impl Iterator<Item = Expiry> {
        let openpgp = self.openpgp.iter().map(move |k| Expiry { file: k.file.clone(), ends: k.ends(now) });
        openpgp.chain(self.minisign.iter().map(|k| Expiry { file: k.file.clone(), ends: None }))
    }

    fn add(&mut self, file: &Path, name: &str) -> std::result::Result<(), String> {
        let meta = fs::metadata(file).map_err(|e| format!("cannot be read: {e}"))?;
        if !meta.is_file() {
            return Err("is not a file".into());
        }
        if !ENDINGS.iter().any(|ending| file.extension().is_some_and(|e| e == *ending)) {
            return Err("has no name of a key: *.pub (minisign), *.gpg, *.pgp or *.asc (OpenPGP)".into());
        }
        if meta.len() == 0 {
            return Err("is empty".into());
        }
        if meta.len() > MOST_BYTES {
            return Err("is too large".into());
        }
        let bytes = fs::read(file).map_err(|e| format!("cannot be read: {e}"))?;
        if file.extension().is_some_and(|e| e == "pub") {
            self.minisign.push(minisign::parse_key(name, &bytes)?);
        } else {
            self.openpgp.extend(openpgp::parse_keys(name, &bytes)?);
        }
        Ok(())
    }
}

/// The files that must hold keys.
fn files(root: &Root) -> Result<Vec<PathBuf>> {
    let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for folder in FOLDERS {
        let folder = root.path(folder);
        let cannot = || format!("{}: cannot read the keys", folder.display());
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // A link to a folder that is not mounted is not the same as none.
            Err(e) if e.kind() == ErrorKind::NotFound && folder.symlink_metadata().is_err() => continue,
            Err(e) => {
                let what = cannot();
                return Err(Error::Unverified(format!(
                    "{what}: {e}; mount or create what it leads to, or remove it"
                )));
            }
        };
        for entry in entries {
            let entry = entry.or_failed(cannot)?;
            files.entry(entry.file_name()).or_insert_with(|| entry.path());
        }
    }
    let is_there = |path: &PathBuf| path.symlink_metadata().is_ok();
    let keyrings = KEYRINGS.map(|names| names.map(|name| root.path(name)).into_iter().find(is_there));
    // A mask in the place of the administrator's keyring disables the vendor's.
    let masked = keyrings.iter().flatten().position(|path| is_mask(path));
    let keyrings = keyrings.into_iter().flatten().take(masked.unwrap_or(usize::MAX));
    Ok(files.into_values().filter(|path| !is_mask(path)).chain(keyrings).collect())
}

fn is_mask(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target == Path::new(MASK))
}
