//! The files of one release in a published folder: one disk image, or a set with a file for each part.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::boot::names::is_same_image;
use crate::delta::file_names;
use crate::disk::role::Role;
use crate::image::names::{Content, Name};
use crate::image::sha256;
use crate::image::trust::Sums;
use abide_core::boot::model::version;
use abide_core::error::{Error, Result};

/// A file in the list of digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Its name in the folder.
    pub name: String,
    /// SHA-256 of its published bytes.
    pub sha256: String,
}

/// What a list has beside a root, so that it can be had in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// SHA-256 of the full file.
    pub full: String,
    /// The map.
    pub map: ListedFile,
    /// The patches, by the version that they are for.
    pub patches: BTreeMap<String, ListedFile>,
}

impl Parts {
    /// What `sums` has beside this full file; none without a map.
    #[must_use]
    pub fn of(full: &ListedFile, sums: &Sums) -> Option<Self> {
        let listed =
            |name: &str| Some(ListedFile { name: name.to_owned(), sha256: sums.get(name)?.to_owned() });
        let unpacked = file_names::unpacked(&full.name)?;
        let map = listed(&file_names::map(unpacked))?;
        let (prefix, suffix) = file_names::patch_ends(unpacked);
        let version = |name: &str| Some(name.strip_prefix(&prefix)?.strip_suffix(suffix)?.to_owned());
        let patches = sums.names().filter_map(|name| Some((version(name)?, listed(name)?))).collect();
        Some(Self { full: full.sha256.clone(), map, patches })
    }
}

/// The files of one version and architecture, by their content.
pub type FilesByContent = BTreeMap<Content, ListedFile>;

/// The files of one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseFiles {
    /// One disk image.
    Disk(ListedFile),
    /// A file for each part.
    Set(FilesByContent),
}

impl ReleaseFiles {
    /// The release that these files of one version make up: the disk image where there is one, else the set; none
    /// if the set lacks the UKI or the root.
    #[must_use]
    pub fn complete(mut files: FilesByContent) -> Option<Self> {
        let is_set = files.contains_key(&Content::Uki) && files.contains_key(&Content::Part(Role::Root));
        match files.remove(&Content::Disk) {
            Some(disk) => Some(Self::Disk(disk)),
            None => is_set.then_some(Self::Set(files)),
        }
    }

    /// The digest that identifies the release: the SHA-256 of the disk image, or [`digest`] of the set.
    #[must_use]
    pub fn digest(&self) -> String {
        match self {
            Self::Disk(file) => file.sha256.clone(),
            Self::Set(files) => digest(files),
        }
    }

    /// The bytes of its files in a folder of this machine; none unless all are there.
    #[must_use]
    pub fn size(&self, folder: &Path) -> Option<u64> {
        self.files().map(|file| Some(fs::metadata(folder.join(&file.name)).ok()?.len())).sum()
    }

    /// The file of the root of a set.
    #[must_use]
    pub fn root(&self) -> Option<&ListedFile> {
        match self {
            Self::Disk(_) => None,
            Self::Set(files) => files.get(&Content::Part(Role::Root)),
        }
    }

    /// The files, in the order in which they are read.
    pub fn files(&self) -> impl Iterator<Item = &ListedFile> {
        let (disk, set) = match self {
            Self::Disk(file) => (Some(file), None),
            Self::Set(files) => (None, Some(files.values())),
        };
        disk.into_iter().chain(set.into_iter().flatten())
    }
}

/// Adds a file; returns the one that is there for the same part already. The same file in two folders is one.
pub fn insert(files: &mut FilesByContent, content: Content, listed: ListedFile) -> Option<ListedFile> {
    let known = files.get(&content).cloned();
    match known {
        Some(known) => (known.sha256 != listed.sha256).then_some(known),
        None => files.insert(content, listed),
    }
}

/// Chooses the files of `version`, or of the newest version, of the image `image_id` (any, where it is not known)
/// for the architecture `arch`.
///
/// # Errors
/// [`Error::Image`] if the folder has none, or has two files for one part.
pub fn choose(
    sums: &Sums,
    folder: &str,
    image_id: Option<&str>,
    arch: &str,
    version: Option<&str>,
) -> Result<(String, ReleaseFiles)> {
    let mut versions: BTreeMap<&str, FilesByContent> = BTreeMap::new();
    let fits = |name: &Name<'_>| {
        image_id.is_none_or(|id| is_same_image(id, name.image))
            && version.is_none_or(|v| v == name.version)
            && name.arch.is_none_or(|its| its == arch)
    };
    for name in sums.names() {
        let (Some(parsed), Some(sha256)) = (Name::parse(name).filter(fits), sums.get(name)) else { continue };
        let listed = ListedFile { name: name.to_owned(), sha256: sha256.to_owned() };
        let files = versions.entry(parsed.version).or_default();
        if let Some(other) = insert(files, parsed.content, listed) {
            return Err(Error::Image(format!(
                "{folder}: both {} and {name} are for {}; name the image file itself",
                other.name, parsed.version
            )));
        }
    }
    let newest = versions
        .into_iter()
        .filter_map(|(version, files)| Some((version, ReleaseFiles::complete(files)?)))
        .max_by(|(a, _), (b, _)| version::compare(a, b));
    let (version, files) = newest.ok_or_else(|| {
        Error::Image(format!(
            "{folder}: its list has no image of {} {}; expected files such as {1}_VERSION.raw.zst, or \
             {1}_VERSION.efi and {1}_VERSION.root.raw.zst",
            version.unwrap_or("any version of"),
            image_id.unwrap_or("IMAGE"),
        ))
    })?;
    Ok((version.to_owned(), files))
}

/// The digest that identifies a set: SHA-256 of its lines of `SHA256SUMS`, sorted by name.
#[must_use]
pub fn digest(files: &FilesByContent) -> String {
    let mut lines: Vec<(&str, &str)> = files.values().map(|f| (f.name.as_str(), f.sha256.as_str())).collect();
    lines.sort_unstable();
    let text: String = lines.iter().map(|(name, sha256)| format!("{sha256}  {name}\n")).collect();
    sha256::of_bytes(text.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sums(names: &[&str]) -> Sums {
        let lines = names.iter().enumerate().map(|(number, name)| format!("{number:064x}  {name}\n"));
        let text: String = lines.collect();
        Sums::parse(text.as_bytes()).unwrap()
    }

    fn chosen(names: &[&str], version: Option<&str>) -> Result<(String, Vec<String>)> {
        let (version, files) = choose(&sums(names), "x", Some("edge"), "x86-64", version)?;
        Ok((
            version,
            match files {
                ReleaseFiles::Disk(listed) => vec![listed.name],
                ReleaseFiles::Set(files) => files.into_values().map(|listed| listed.name).collect(),
            },
        ))
    }

    #[test]
    fn the_newest_complete_version_for_this_machine_is_chosen() {
        let names = [
            "edge_1.9.efi",
            "edge_1.9.root.raw.xz",
            "edge_1.10.efi",
            "edge_1.10.root.raw.xz",
            "edge_1.11.efi",
            "other_2.0.efi",
            "other_2.0.root.raw",
            "edge_1.12.root-arm64.raw",
            "edge_1.12.efi",
            "README",
        ];
        let (version, files) = chosen(&names, None).unwrap();
        assert_eq!(
            (version.as_str(), files.as_slice()),
            ("1.10", &["edge_1.10.efi".into(), "edge_1.10.root.raw.xz".into()][..])
        );
        assert_eq!(chosen(&names, Some("1.9")).unwrap().0, "1.9");
        assert_eq!(chosen(&names, Some("1.11")).unwrap_err().exit_code(), 3);
        assert_eq!(chosen(&["edge_3.raw.zst"], None).unwrap().1, ["edge_3.raw.zst"]);
    }

    #[test]
    fn two_files_for_one_part_are_refused() {
        let names = ["edge_1.efi", "edge_1.root.raw.xz", "edge_1.root.raw.zst"];
        assert!(chosen(&names, None).unwrap_err().to_string().contains("both"));
        let twice =
            Sums::parse(format!("{0}  edge_1.raw\n{0}  v1/edge_1.raw\n", "0".repeat(64)).as_bytes()).unwrap();
        let (_, files) = choose(&twice, "x", Some("edge"), "x86-64", None).unwrap();
        assert_eq!(files.files().count(), 1, "the same file in two folders");
    }
}
