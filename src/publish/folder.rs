//! The published folder on the publisher's machine: its roots, and the list of digests.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::disk::role::Role;
use crate::image::names::{Content, Name, SUMS};
use crate::image::sha256;
use crate::image::trust::Sums;
use crate::publish::raw_file::is_packed;
use abide_core::boot::model::version;
use abide_core::error::{Error, OrError, Result};

/// The files of one release in a folder of the publisher's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The version.
    pub version: String,
    /// The image.
    pub image: String,
    /// By what they hold; of two, the unpacked one.
    pub by_content: BTreeMap<Content, PathBuf>,
}

impl Files {
    /// Those of each release in `folder`, by version.
    ///
    /// # Errors
    /// [`Error::Failed`] if the folder cannot be read.
    pub fn in_folder(folder: &Path) -> Result<Vec<Self>> {
        let mut found: Vec<Self> = Vec::new();
        for name in files(folder)? {
            let Some(Name { image, version, content, .. }) = Name::parse(&name) else { continue };
            let known = found.iter_mut().find(|files| files.version == version && files.image == image);
            match known {
                Some(files) if is_packed(&name) && files.by_content.contains_key(&content) => {}
                Some(files) => drop(files.by_content.insert(content, folder.join(&name))),
                None => found.push(Self {
                    version: version.to_owned(),
                    image: image.to_owned(),
                    by_content: [(content, folder.join(&name))].into(),
                }),
            }
        }
        found.sort_by(|a, b| version::compare(&a.version, &b.version));
        Ok(found)
    }

    /// Those of the release that the file `path` is of, with this one.
    ///
    /// # Errors
    /// [`Error::Failed`] if its folder cannot be read.
    pub fn with(path: &Path) -> Result<Option<Self>> {
        let Some(Name { image, version, content, .. }) =
            path.file_name().and_then(|name| name.to_str()).and_then(Name::parse)
        else {
            return Ok(None);
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut all = Self::in_folder(folder.unwrap_or(Path::new(".")))?;
        all.retain(|files| files.version == version && files.image == image);
        Ok(all.pop().map(|mut files| {
            files.by_content.insert(content, path.to_owned());
            files
        }))
    }

    /// Whether it has a root.
    #[must_use]
    pub fn has_root(&self) -> bool {
        self.by_content.contains_key(&Content::Part(Role::Root))
    }
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

    /// Whether it lists one of these files.
    #[must_use]
    pub fn lists(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.sums.get(name).is_some())
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

/// The SHA-256 of a file.
///
/// # Errors
/// [`Error::Failed`] if it cannot be read.
pub fn digest_of(path: &Path) -> Result<String> {
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
