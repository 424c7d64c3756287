//! What a folder offers of one version: a whole disk, or a file for each part.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::image::names::{Content, Name};
use crate::image::trust::Sums;
use abide_core::boot::model::version;
use abide_core::disk::Role;
use abide_core::error::{Error, Result};
use abide_core::hex;

/// A file and its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// In the folder.
    pub name: String,
    /// SHA-256 of its bytes as they are published.
    pub sha256: String,
}

/// What a folder has of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// One file with everything.
    Disk(Listed),
    /// One for each part.
    Set(BTreeMap<Content, Listed>),
}

impl Choice {
    /// By what the image is remembered: the SHA-256 of the one file, or [`digest`] of the set.
    #[must_use]
    pub fn digest(&self) -> String {
        match self {
            Self::Disk(file) => file.sha256.clone(),
            Self::Set(files) => digest(files),
        }
    }

    /// The files, in the order in which they are read.
    pub fn files(&self) -> impl Iterator<Item = &Listed> {
        let (disk, set) = match self {
            Self::Disk(file) => (Some(file), None),
            Self::Set(files) => (None, Some(files.values())),
        };
        disk.into_iter().chain(set.into_iter().flatten())
    }
}

/// Chooses `version`, or the newest one, of the image `image_id` where that is known, for this architecture.
///
/// # Errors
/// [`Error::Image`] if there is none.
pub fn choose(
    sums: &Sums,
    folder: &str,
    image_id: Option<&str>,
    arch: &str,
    version: Option<&str>,
) -> Result<(String, Choice)> {
    let mut versions: BTreeMap<&str, BTreeMap<Content, Listed>> = BTreeMap::new();
    let fits = |name: &Name<'_>| {
        image_id.is_none_or(|id| id == name.image)
            && version.is_none_or(|v| v == name.version)
            && name.arch.is_none_or(|its| its == arch)
    };
    for name in sums.names() {
        let (Some(parsed), Some(sha256)) = (Name::parse(name).filter(fits), sums.get(name)) else { continue };
        let listed = Listed { name: name.to_owned(), sha256: sha256.to_owned() };
        let files = versions.entry(parsed.version).or_default();
        if let Some(other) = files.insert(parsed.content, listed) {
            return Err(Error::Image(format!(
                "{folder}: both {} and {name} are for {}; name the image file itself",
                other.name, parsed.version
            )));
        }
    }
    let whole = |files: &BTreeMap<Content, Listed>| {
        let has = |content| files.contains_key(&content);
        has(Content::Disk) || has(Content::Uki) && has(Content::Part(Role::Root))
    };
    let newest = versions
        .into_iter()
        .filter(|(_, files)| whole(files))
        .max_by(|(a, _), (b, _)| version::compare(a, b));
    let (version, mut files) = newest.ok_or_else(|| {
        Error::Image(format!(
            "{folder}: lists no image of {} {}; it takes files such as {1}_VERSION.raw.zst, or \
             {1}_VERSION.efi and {1}_VERSION.root.raw.zst",
            version.unwrap_or("any version of"),
            image_id.unwrap_or("IMAGE"),
        ))
    })?;
    let choice = match files.remove(&Content::Disk) {
        Some(disk) => Choice::Disk(disk),
        None => Choice::Set(files),
    };
    Ok((version.to_owned(), choice))
}

/// By what a set is remembered: SHA-256 of its lines of `SHA256SUMS`, by name.
#[must_use]
pub fn digest(files: &BTreeMap<Content, Listed>) -> String {
    let mut lines: Vec<(&str, &str)> = files.values().map(|f| (f.name.as_str(), f.sha256.as_str())).collect();
    lines.sort_unstable();
    let text: String = lines.iter().map(|(name, sha256)| format!("{sha256}  {name}\n")).collect();
    hex::encode(&Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sums(names: &[&str]) -> Sums {
        let text: String = names.iter().map(|name| format!("{}  {name}\n", "0".repeat(64))).collect();
        Sums::parse(text.as_bytes()).unwrap()
    }

    fn chosen(names: &[&str], version: Option<&str>) -> Result<(String, Vec<String>)> {
        let (version, choice) = choose(&sums(names), "x", Some("edge"), "x86-64", version)?;
        Ok((
            version,
            match choice {
                Choice::Disk(listed) => vec![listed.name],
                Choice::Set(files) => files.into_values().map(|listed| listed.name).collect(),
            },
        ))
    }

    #[test]
    fn the_newest_whole_version_for_this_machine_is_chosen() {
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
    fn two_files_for_one_part_are_not_guessed_between() {
        let names = ["edge_1.efi", "edge_1.root.raw.xz", "edge_1.root.raw.zst"];
        assert!(chosen(&names, None).unwrap_err().to_string().contains("both"));
    }
}
