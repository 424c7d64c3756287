//! The installed keys.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::image::trust::{minisign, openpgp};
use abide_core::error::{Error, OrError, Result};
use abide_core::root::Root;

/// Folders of keys; a file in the first replaces the file with the same name in the second.
const FOLDERS: [&str; 2] = ["/etc/abide/keys", "/usr/lib/abide/keys"];

/// systemd's keyrings for downloads; like systemd, Abide reads only the first that exists.
const KEYRINGS: [&str; 2] = ["/etc/systemd/import-pubring.gpg", "/usr/lib/systemd/import-pubring.gpg"];

/// The largest file of keys that is read.
const MOST_BYTES: u64 = 4 << 20;

/// The installed keys.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// Keys for `.gpg` signatures.
    pub openpgp: Vec<openpgp::Certificate>,
    /// Keys for `.minisig` signatures.
    pub minisign: Vec<minisign::Key>,
}

impl Keys {
    /// Reads all keys of `root`.
    ///
    /// # Errors
    /// [`Error::Unverified`] for a key file that cannot be read or parsed: an installed key must not be
    /// ignored silently.
    pub fn load(root: &Root) -> Result<Self> {
        let mut keys = Self::default();
        for file in files(root)? {
            let name = file.display().to_string();
            keys.add(&file, &name)
                .map_err(|e| Error::Unverified(format!("the key file {name} {e}; repair or remove it")))?;
        }
        Ok(keys)
    }

    /// Whether no key is installed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.openpgp.is_empty() && self.minisign.is_empty()
    }

    fn add(&mut self, file: &Path, name: &str) -> std::result::Result<(), String> {
        let meta = fs::metadata(file).map_err(|e| format!("cannot be read: {e}"))?;
        // An empty file, and /dev/null, masks one of the same name.
        if !meta.is_file() || meta.len() == 0 {
            return Ok(());
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

fn files(root: &Root) -> Result<Vec<PathBuf>> {
    let mut files: BTreeMap<std::ffi::OsString, PathBuf> = BTreeMap::new();
    for folder in FOLDERS {
        let folder = root.path(folder);
        let cannot = || format!("{}: cannot read the keys", folder.display());
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::Unverified(format!("{}: {e}", cannot()))),
        };
        for entry in entries {
            let path = entry.or_failed(cannot)?.path();
            let is_key =
                path.extension().is_some_and(|e| ["gpg", "asc", "pgp", "pub"].iter().any(|k| e == *k));
            if let (true, Some(name)) = (is_key, path.file_name()) {
                files.entry(name.to_owned()).or_insert(path);
            }
        }
    }
    let keyring =
        KEYRINGS.map(|path| root.path(path)).into_iter().find(|path| path.symlink_metadata().is_ok());
    Ok(files.into_values().chain(keyring).collect())
}
