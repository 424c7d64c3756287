//! An image as separate files beside `SHA256SUMS`: one for each partition, and the UKI.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek};
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::opened::{Described, Part};
use crate::boot::uki;
use crate::boot::version;
use crate::config::Download;
use crate::disk::Role;
use crate::error::{Error, OrError, Result};
use crate::hex;
use crate::image::names::{Content, Name};
use crate::image::trust::Sums;
use crate::image::{Folder, Source, Spool, Stream};

/// The largest UKI that is read, once it is unpacked.
const MOST_UKI: u64 = 1 << 30;

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

/// The files of one version, the UKI verified and kept.
pub struct SetImage {
    name: String,
    folder: Folder,
    download: Download,
    files: BTreeMap<Content, Listed>,
    uki: Option<Spool>,
    digest: String,
    /// The partition that is being read.
    current: Option<(Role, Stream)>,
}

/// By what a set is remembered: SHA-256 of its lines of `SHA256SUMS`, by name.
#[must_use]
pub fn digest(files: &BTreeMap<Content, Listed>) -> String {
    let mut lines: Vec<(&str, &str)> = files.values().map(|f| (f.name.as_str(), f.sha256.as_str())).collect();
    lines.sort_unstable();
    let text: String = lines.iter().map(|(name, sha256)| format!("{sha256}  {name}\n")).collect();
    hex::encode(&Sha256::digest(text))
}

impl SetImage {
    /// Fetches and verifies the UKI; only then is it looked into.
    pub fn open(
        folder: Folder,
        download: &Download,
        files: BTreeMap<Content, Listed>,
        spool_dirs: &[PathBuf],
    ) -> Result<Self> {
        let listed =
            files.get(&Content::Uki).ok_or_else(|| Error::Image(format!("{folder}: lists no UKI")))?;
        let mut stream = Stream::open(Source::open(&folder.join(&listed.name), download)?, None)?;
        let mut spool = Spool::new(spool_dirs.to_vec());
        let kept = spool.keep_to_end(MOST_UKI, |to| stream.fill(to));
        if let Err(e) = kept {
            return Err(stream.or_changed(e, Some(&listed.sha256)));
        }
        stream.verified(Some(&listed.sha256))?;
        Ok(Self {
            name: folder.join(&listed.name),
            digest: digest(&files),
            download: download.clone(),
            folder,
            files,
            uki: Some(spool),
            current: None,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub fn described(&self) -> Result<Described> {
        let uki = uki::read(self.uki()?).or_image(|| format!("{}: cannot be read as a UKI", self.name))?;
        let part = |role| Part { role, len: self.len(role), no_auto: false };
        let root =
            self.files.get(&Content::Part(Role::Root)).and_then(|listed| Name::parse(&listed.name)?.arch);
        Ok(Described {
            parts: self.order().into_iter().map(part).collect(),
            root_arch: root,
            uki,
            uki_size: self.uki.as_ref().map_or(0, Spool::len),
        })
    }

    /// What the UKI says.
    pub fn version(&self) -> Result<String> {
        let described = self.described()?;
        let osrel = described.uki.main.osrel.unwrap_or_default();
        Ok(osrel.image_version().unwrap_or_default().to_owned())
    }

    pub fn lens(&self) -> BTreeMap<Role, Option<u64>> {
        self.order().into_iter().map(|role| (role, self.len(role))).collect()
    }

    /// Of a file on this machine that is not packed.
    fn len(&self, role: Role) -> Option<u64> {
        let listed = self.files.get(&Content::Part(role))?;
        let plain = !self.folder.is_remote() && listed.name.ends_with(".raw");
        plain.then(|| fs::metadata(self.folder.join(&listed.name)).ok().map(|meta| meta.len())).flatten()
    }

    pub fn uki(&self) -> Result<impl Read + Seek + '_> {
        let spool = self.uki.as_ref();
        spool.map(Spool::reader).ok_or_else(|| Error::Failed("the image's UKI is gone already".into()))
    }

    pub fn forget_uki(&mut self) {
        self.uki = None;
    }

    pub fn order(&self) -> Vec<Role> {
        let role = |content: &Content| match content {
            Content::Part(role) => Some(*role),
            Content::Disk | Content::Uki => None,
        };
        self.files.keys().filter_map(role).collect()
    }

    pub fn read(&mut self, role: Role) -> Result<impl FnMut(&mut [u8]) -> Result<usize> + '_> {
        let listed = self.listed(role)?;
        let source = Source::open(&self.folder.join(&listed.name), &self.download)?;
        let (_, stream) = self.current.insert((role, Stream::open(source, None)?));
        Ok(move |to: &mut [u8]| stream.fill(to))
    }

    fn listed(&self, role: Role) -> Result<&Listed> {
        self.files
            .get(&Content::Part(role))
            .ok_or_else(|| Error::Image(format!("{}: has no {role}", self.folder)))
    }

    /// The file must end here, and be what the list says.
    pub fn end_part(&mut self) -> Result<()> {
        let Some((role, mut stream)) = self.current.take() else { return Ok(()) };
        let sha256 = self.listed(role)?.sha256.clone();
        match stream.fill(&mut [0]) {
            Ok(0) => stream.verified(Some(&sha256)).map(drop),
            Ok(_) => {
                Err(Error::Refused(format!("{}: does not fit into its partition of the slot", stream.name())))
            }
            Err(e) => Err(stream.or_changed(e, Some(&sha256))),
        }
    }

    pub fn or_changed(mut self, error: Error) -> Error {
        match self.current.take() {
            Some((role, stream)) => {
                let sha256 = self.listed(role).ok().map(|listed| listed.sha256.clone());
                stream.or_changed(error, sha256.as_deref())
            }
            None => error,
        }
    }
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
