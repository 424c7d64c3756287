//! The published folder on the publisher's machine: its roots, and the list of digests.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::disk::role::Role;
use crate::image::names::{Content, Name, SUMS};
use crate::image::sha256;
use crate::image::trust::Sums;
use crate::publish::root_file::is_packed;
use abide_core::boot::model::version;
use abide_core::error::{Error, OrError, Result};

/// The roots of a folder by version; of one version, packed ones before unpacked ones.
pub fn roots(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for name in files(folder)? {
        if let Some(parsed) = Name::parse(&name).filter(|name| name.content == Content::Part(Role::Root)) {
            found.push((parsed.version.to_owned(), folder.join(&name)));
        }
    }
    found.sort_by(|(a, x), (b, y)| version::compare(a, b).then(is_packed_path(y).cmp(&is_packed_path(x))));
    Ok(found)
}

fn is_packed_path(path: &Path) -> bool {
    is_packed(&path.to_string_lossy())
}

/// The names of the files of a folder, sorted.
pub fn files(folder: &Path) -> Result<Vec<String>> {
    let cannot = || format!("{}: cannot read", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).or_failed(cannot)? {
        let entry = entry.or_failed(cannot)?;
        if let Some(name) = entry.file_name().to_str().filter(|_| entry.path().is_file()) {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The list that the folder has.
pub struct Listed {
    bytes: Vec<u8>,
    sums: Sums,
}

impl Listed {
    /// Reads it; an empty one if there is none.
    ///
    /// # Errors
    /// [`Error::Image`] if it cannot be parsed.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(SUMS);
        let bytes = match fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
            read => read.or_failed(|| format!("{}: cannot read", path.display()))?,
        };
        let sums = Sums::parse(&bytes).map_err(|e| Error::Image(format!("{}: {e}", path.display())))?;
        Ok(Self { bytes, sums })
    }

    /// Whether it lists the file as it is in the folder.
    ///
    /// # Errors
    /// [`Error::Failed`] if the file cannot be read.
    pub fn has(&self, folder: &Path, name: &str) -> Result<bool> {
        let path = folder.join(name);
        match self.sums.get(name) {
            Some(sha256) if path.exists() => Ok(sha256 == digest_of(&path)?),
            _ => Ok(false),
        }
    }

    /// Refuses to replace files that are listed: machines know the release by their digests.
    ///
    /// # Errors
    /// [`Error::Refused`]
    pub fn refuse_replaced(&self, names: &[&str]) -> Result<()> {
        match names.iter().find(|name| self.sums.get(name).is_some()) {
            Some(name) => Err(Error::Refused(format!(
                "{name} is published already and has no map; its digest identifies the release, so publish another version"
            ))),
            None => Ok(()),
        }
    }
}

fn digest_of(path: &Path) -> Result<String> {
    let cannot = || format!("{}: cannot read", path.display());
    let (digest, _) = sha256::of_reader(fs::File::open(path).or_failed(cannot)?).or_failed(cannot)?;
    Ok(digest)
}

/// Writes `SHA256SUMS`: the lines that it has, without those of `dropped`, and those of `made`. Returns whether it has changed.
///
/// # Errors
/// [`Error::Failed`] if a file cannot be read or the list cannot be written.
pub fn update_list(folder: &Path, listed: &Listed, made: &[String], dropped: &[String]) -> Result<bool> {
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    for name in listed.sums.names().filter(|name| !dropped.iter().any(|gone| gone == name)) {
        lines.extend(listed.sums.get(name).map(|sha256| (name.to_owned(), sha256.to_owned())));
    }
    for name in made {
        lines.insert(name.clone(), digest_of(&folder.join(name))?);
    }
    let text: String = lines.iter().map(|(name, sha256)| format!("{sha256}  {name}\n")).collect();
    if text.as_bytes() == listed.bytes {
        return Ok(false);
    }
    let (path, new) = (folder.join(SUMS), folder.join(format!("{SUMS}.new")));
    let cannot = || format!("{}: cannot write", path.display());
    fs::write(&new, text).or_failed(cannot)?;
    fs::rename(&new, &path).or_failed(cannot)?;
    Ok(true)
}
