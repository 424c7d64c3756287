//! The releases of a published folder, from its list of digests and the publisher's metadata.
//!
//! The list is verified before ([`crate::image::trust::Verifier::sums`]). The metadata is a file in that list, so
//! that its digest is verified, too.

use std::collections::BTreeMap;

use crate::boot::names::{is_same_image, unnameable};
use crate::config::forms::{List, open_tables};
use crate::delta::file_names;
use crate::image::names::Name;
use crate::image::trust::sums::BEST_BEFORE;
use crate::image::trust::{KEY_LIST, Sums};
use abide_core::boot::model::version::compare;
use abide_core::config::form::{Count, Text};
use abide_core::config::section::Section;
use abide_core::config::tree::Tree;
use abide_core::error::Error;
use abide_core::text;

use crate::feed::freshness::Header;
use crate::feed::published::{FilesByContent, ListedFile, Parts, ReleaseFiles, insert};
use crate::feed::rollout::Rollout;
use crate::feed::unusable::Unusable;

/// The publisher's metadata about the releases.
pub const METADATA: &str = "feed.toml";

/// The largest metadata file that is read.
pub const MAX_METADATA: u64 = 1 << 20;

/// How many of the things in a list a message names, and the most characters of each.
const MAX_NAMED: usize = 5;
const MAX_SHOWN: usize = 60;

/// The supported format of [`METADATA`].
const FORMAT: u32 = 1;

/// The releases of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    releases: Vec<Release>,
    /// What the publisher says of the whole feed.
    pub header: Header,
    /// Releases that are left out since their files are ambiguous or no boot entry can have their name, with the reason:
    /// sentences for the log.
    pub problems: Vec<String>,
    /// What else is listed: files whose names are not understood, and releases that are not complete.
    others: Others,
    /// What of all this may be newer than the releases.
    pub unusable: Unusable,
}

/// What is listed and makes up no release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Others {
    /// The first of them, for a message.
    first: Vec<String>,
    count: usize,
}

impl Others {
    fn add(&mut self, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < MAX_NAMED {
            self.first.push(what());
        }
    }
}

/// One complete version of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// `IMAGE_ID`.
    pub image: String,
    /// `IMAGE_VERSION`.
    pub version: String,
    /// The architecture, where the names of its files have one.
    pub arch: Option<&'static str>,
    /// Its files.
    pub files: ReleaseFiles,
    /// How its root can be had in parts. No part of its identity: it may be added later.
    pub parts: Option<Box<Parts>>,
    /// The digest that identifies it: SHA-256 of the disk image, or of the lines of a set.
    pub digest: String,
    /// The publisher's metadata about it.
    pub terms: Terms,
}

/// The publisher's metadata about a release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// A checkpoint: only a system of this version or newer can be updated to the release.
    pub requires: Option<String>,
    /// Systems older than this do not take it.
    pub min_version: Option<String>,
    /// The channels that it is for; empty: all.
    pub channels: Vec<String>,
    /// The stages in which it reaches the machines; none: it is for all at once.
    pub rollout: Option<Box<Rollout>>,
}

/// What the metadata holds.
#[derive(Default)]
struct Metadata {
    header: Header,
    named: Vec<NamedTerms>,
}

/// The terms of one version, of one image or of all.
struct NamedTerms {
    image: Option<String>,
    version: String,
    terms: Terms,
}

impl NamedTerms {
    fn names(&self, image: &str, version: &str) -> bool {
        self.version == version && self.image.as_deref().is_none_or(|its| its == image)
    }
}

/// Whether [`METADATA`] with these bytes has an entry for a version of an image.
///
/// # Errors
/// A sentence, if it cannot be parsed.
pub fn is_named(metadata: &[u8], image: &str, version: &str) -> Result<bool, String> {
    Ok(read_metadata(metadata)?.named.iter().any(|named| named.names(image, version)))
}

impl Catalog {
    /// Sorts the files of `sums` into releases; `metadata` is [`METADATA`], if it is listed.
    ///
    /// # Errors
    /// A sentence about the folder, for a message, if the metadata cannot be parsed.
    pub fn new(sums: &Sums, metadata: Option<&[u8]>) -> Result<Self, String> {
        let Metadata { header, named } = metadata.map(read_metadata).transpose()?.unwrap_or_default();
        let (mut releases, mut problems) = (Vec::new(), sums.problems().to_vec());
        let (mut others, mut unusable) = (Others::default(), Unusable::default());
        for name in sums.names().filter(|name| Name::parse(name).is_none() && !is_own(name)) {
            others.add(|| name.to_owned());
            unusable.add_file(name);
        }
        for ((image, version), files) in by_version(sums) {
            if let Some(why) = unnameable(image, version) {
                unusable.add(image, version, None);
                problems.push(format!("{image} {version} is ignored: {why}"));
                continue;
            }
            let by_arch = by_arch(files).unwrap_or_else(|problem| {
                unusable.add(image, version, None);
                problems.push(format!("{image} {version} is ignored: {problem}"));
                BTreeMap::new()
            });
            for (arch, files) in by_arch {
                let Some(files) = ReleaseFiles::complete(files) else {
                    unusable.add(image, version, arch);
                    others.add(|| format!("{image} {version} (incomplete)"));
                    continue;
                };
                let its = named.iter().find(|named| named.names(image, version));
                let terms = its.map(|n| n.terms.clone()).unwrap_or_default();
                let digest = files.digest();
                let parts = files.root().and_then(|root| Parts::of(root, sums)).map(Box::new);
                releases.push(Release {
                    image: image.into(),
                    version: version.into(),
                    arch,
                    files,
                    parts,
                    digest,
                    terms,
                });
            }
        }
        Ok(Self { problems, header, others, unusable, ..Self::of(releases) })
    }

    /// A catalog of these releases, for tests and simulations.
    #[must_use]
    pub fn of(mut releases: Vec<Release>) -> Self {
        releases.sort_unstable_by(|a, b| {
            compare(&a.version, &b.version)
                .then_with(|| (&a.version, &a.digest).cmp(&(&b.version, &b.digest)))
        });
        Self { releases, ..Self::default() }
    }

    /// What is listed, for a message about something that is not: `it lists edge 2.0 (arm64), other 1.0 and 3 more`.
    #[must_use]
    pub fn listed(&self) -> String {
        let release = |release: &Release| match release.arch {
            Some(arch) => format!("{} {} ({arch})", release.image, release.version),
            None => format!("{} {}", release.image, release.version),
        };
        let newest = self.releases.iter().rev().map(release);
        let names = newest.chain(self.others.first.iter().cloned()).take(MAX_NAMED);
        let names: Vec<String> = names.map(|name| shortened(&text::line(&name))).collect();
        match (self.releases.len() + self.others.count).saturating_sub(names.len()) {
            0 if names.is_empty() => match self.problems.as_slice() {
                [] => "its list is empty".into(),
                [problem] => format!("nothing that it lists can be used: {}", text::line(problem)),
                [problem, others @ ..] => {
                    let (problem, more) = (text::line(problem), others.len());
                    format!("nothing that it lists can be used: {problem} (and {more} more)")
                }
            },
            0 => format!("it lists {}", names.join(", ")),
            more => format!("it lists {} and {more} more", names.join(", ")),
        }
    }

    /// The releases of an image for an architecture, oldest first.
    pub fn releases<'c>(
        &'c self,
        image: &'c str,
        arch: &'c str,
    ) -> impl DoubleEndedIterator<Item = &'c Release> {
        self.releases
            .iter()
            .filter(move |r| is_same_image(&r.image, image) && r.arch.is_none_or(|its| its == arch))
    }

    /// The ids of the images that have releases.
    #[must_use]
    pub fn images(&self) -> Vec<&str> {
        let mut images: Vec<&str> = self.releases.iter().map(|r| r.image.as_str()).collect();
        images.sort_unstable();
        images.dedup();
        images
    }
}

/// Whether a listed file is one of the feed itself; `-` is what sha256sum(1) makes of nothing.
fn is_own(name: &str) -> bool {
    let is_image = |name: &str| Name::parse(name).is_some();
    [METADATA, KEY_LIST, "-"].contains(&name)
        || name.starts_with(BEST_BEFORE)
        || file_names::is_beside(name, is_image)
}

fn shortened(name: &str) -> String {
    match name.char_indices().nth(MAX_SHOWN) {
        Some((at, _)) => format!("{}{}", name.get(..at).unwrap_or_default(), text::ELLIPSIS),
        None => name.to_owned(),
    }
}

/// The files of one version, with their parsed names.
type NamedFiles<'s> = Vec<(Name<'s>, ListedFile)>;

fn by_version(sums: &Sums) -> BTreeMap<(&str, &str), NamedFiles<'_>> {
    let mut versions: BTreeMap<(&str, &str), NamedFiles<'_>> = BTreeMap::new();
    for name in sums.names() {
        let (Some(parsed), Some(sha256)) = (Name::parse(name), sums.get(name)) else { continue };
        let listed = ListedFile { name: name.to_owned(), sha256: sha256.to_owned() };
        versions.entry((parsed.image, parsed.version)).or_default().push((parsed, listed));
    }
    versions
}

/// Sorts files by architecture; files whose names have none are for every architecture.
fn by_arch(files: NamedFiles<'_>) -> Result<BTreeMap<Option<&'static str>, FilesByContent>, String> {
    let mut arches: BTreeMap<Option<&'static str>, FilesByContent> = BTreeMap::new();
    for (name, listed) in files {
        let parts = arches.entry(name.arch).or_default();
        if let Some(other) = insert(parts, name.content, listed.clone()) {
            return Err(same_part(&other, &listed));
        }
    }
    let any = if arches.len() > 1 { arches.remove(&None) } else { None }.unwrap_or_default();
    for parts in arches.values_mut() {
        for (content, listed) in &any {
            if let Some(other) = insert(parts, *content, listed.clone()) {
                return Err(same_part(&other, listed));
            }
        }
    }
    Ok(arches)
}

fn same_part(one: &ListedFile, other: &ListedFile) -> String {
    format!("{} and {} are both for the same partition", one.name, other.name)
}

/// Reads the header and the `[[release]]` tables. Unknown keys are ignored, so that a feed can have more keys for newer machines; a
/// change that older machines must not ignore needs another `format`.
fn read_metadata(bytes: &[u8]) -> Result<Metadata, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("its {METADATA} is not UTF-8 text"))?;
    let read = || {
        let tree = Tree::parse(METADATA, text)?;
        let mut top = Section::top(&tree);
        let format = top.read::<Count<0, { u32::MAX }>>("format")?;
        let missing = || Error::Usage(format!("{METADATA} has no format; begin it with format = {FORMAT}"));
        if format.ok_or_else(missing)? != FORMAT {
            return Err(top.error_at("format", "is not 1; a newer version of Abide may support it"));
        }
        let mut header = Header {
            feed: top.read::<Text>("feed")?,
            channel: top.read::<Text>("channel")?,
            serial: top.read::<Count<0, { u32::MAX }>>("serial")?.map(u64::from),
            expires: None,
        };
        if let Some(day) = top.read::<Text>("expires")? {
            let invalid = |_| top.error_at("expires", "is not a date: YYYY-MM-DD");
            header.expires = Some(day.parse().map_err(invalid)?);
        }
        let Some(releases) = top.get("release") else { return Ok(Metadata { header, named: vec![] }) };
        let named = open_tables(&top, "release", releases, |release| {
            let version = release.need::<Text>("version", "\"1.2\"")?;
            let terms = Terms {
                requires: release.read::<Text>("requires")?,
                min_version: release.read::<Text>("min_version")?,
                channels: release.read::<List<Text>>("channels")?.unwrap_or_default(),
                rollout: Rollout::read(release)?.map(Box::new),
            };
            Ok(NamedTerms { image: release.read::<Text>("image")?, version, terms })
        });
        Ok(Metadata { header, named: named? })
    };
    read().map_err(|e| format!("cannot use its metadata: {e}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn catalog(names: &[&str], metadata: Option<&str>) -> Result<Catalog, String> {
        let lines = names.iter().enumerate().map(|(number, name)| format!("{number:064x}  {name}\n"));
        let text: String = lines.collect();
        Catalog::new(&Sums::parse(text.as_bytes()).unwrap(), metadata.map(str::as_bytes))
    }

    fn versions(catalog: &Catalog, image: &str, arch: &str) -> Vec<String> {
        catalog.releases(image, arch).map(|r| r.version.clone()).collect()
    }

    #[test]
    fn complete_releases_are_listed_oldest_first() {
        let names = [
            "edge_1.10.efi",
            "edge_1.10.root.raw.xz",
            "edge_1.9.raw.zst",
            "edge_1.11.efi",
            "other_2.0.raw",
            "SHA256SUMS.old",
            "feed.toml",
        ];
        let catalog = catalog(&names, None).unwrap();
        assert_eq!(versions(&catalog, "edge", "x86-64"), ["1.9", "1.10"]);
        assert_eq!(catalog.images(), ["edge", "other"]);
        let newest = catalog.releases("edge", "x86-64").next_back().unwrap();
        let files: Vec<&str> = newest.files.files().map(|f| f.name.as_str()).collect();
        assert_eq!(files, ["edge_1.10.efi", "edge_1.10.root.raw.xz"]);
    }

    #[test]
    fn one_version_can_have_several_architectures() {
        let names = [
            "edge_1.efi",
            "edge_1.root-x86-64.raw",
            "edge_1.root-arm64.raw",
            "edge_2_arm64.raw.xz",
            "edge_2_x86-64.raw.xz",
            "edge_3_arm64.raw.xz",
        ];
        let catalog = catalog(&names, None).unwrap();
        assert_eq!(versions(&catalog, "edge", "x86-64"), ["1", "2"]);
        assert_eq!(versions(&catalog, "edge", "arm64"), ["1", "2", "3"]);
        let set = catalog.releases("edge", "arm64").next().unwrap();
        let files: Vec<&str> = set.files.files().map(|f| f.name.as_str()).collect();
        assert_eq!(files, ["edge_1.efi", "edge_1.root-arm64.raw"]);
    }

    #[test]
    fn two_files_for_one_part_leave_out_that_release_only() {
        let names = ["edge_1.efi", "edge_1.root.raw.xz", "edge_1.root.raw.zst", "edge_2.raw"];
        let twice = catalog(&names, None).unwrap();
        let problem =
            "edge 1 is ignored: edge_1.root.raw.xz and edge_1.root.raw.zst are both for the same partition";
        assert_eq!(
            (twice.problems.as_slice(), versions(&twice, "edge", "arm64")),
            (&[problem.to_owned()][..], vec!["2".to_owned()])
        );
        let any = catalog(&["edge_1.raw.xz", "edge_1_arm64.raw.xz"], None).unwrap();
        assert_eq!((any.problems.len(), any.images().len()), (1, 0));
    }

    #[test]
    fn a_release_that_can_have_no_boot_entry_is_left_out() {
        let names = ["edge_1.raw", "edge_1:2.0.raw", "edge_3.0+git.raw"];
        let catalog = catalog(&names, None).unwrap();
        assert_eq!(versions(&catalog, "edge", "x86-64"), ["1"]);
        let problem = "edge 1:2.0 is ignored: 'edge_1:2.0' cannot be the name of a boot entry: FAT does not allow names with ':'";
        assert!(catalog.problems.iter().any(|p| p.starts_with(problem)), "{:?}", catalog.problems);
        assert_eq!(catalog.problems.len(), 2);
    }

    #[test]
    fn terms_belong_to_the_release_that_they_name() {
        let metadata = "format = 1\nnews = 'x'\n[[release]]\nversion = '2.0'\nrequires = '1.5'\nmin_version = '1.2'\n\
                        channels = 'beta'\nurgency = 'high'\n[[release]]\nimage = 'other'\nversion = '1.0'\nrequires = '9'\n";
        let catalog = catalog(&["edge_1.0.raw", "edge_2.0.raw"], Some(metadata)).unwrap();
        let terms: Vec<&Terms> = catalog.releases("edge", "x86-64").map(|r| &r.terms).collect();
        let expected = Terms {
            requires: Some("1.5".into()),
            min_version: Some("1.2".into()),
            channels: vec!["beta".into()],
            rollout: None,
        };
        assert_eq!(terms, [&Terms::default(), &expected]);
    }

    #[test]
    fn what_is_listed_is_told_in_a_bounded_line() {
        let listed = |names: &[&str]| catalog(names, None).unwrap().listed();
        assert_eq!(listed(&[]), "its list is empty");
        assert_eq!(listed(&["feed.toml", "keys.toml"]), "its list is empty");
        let names = ["edge_2.0_arm64.raw", "other_1.0.raw", "edge_3.0.efi", "disk.img", "feed.toml"];
        assert_eq!(listed(&names), "it lists edge 2.0 (arm64), other 1.0, disk.img, edge 3.0 (incomplete)");
        let many: Vec<String> = (0..100).map(|n| format!("{}{n}.bin", "x".repeat(200))).collect();
        let many = listed(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(many.ends_with("… and 95 more") && many.len() < 400, "{many}");
    }

    #[test]
    fn metadata_that_cannot_be_parsed_is_an_error() {
        for (text, problem) in [
            ("", "feed.toml has no format; begin it with format = 1"),
            ("format = 2\n", "feed.toml:1: format: is not 1; a newer version of Abide may support it"),
            ("format = 1\n[[release]]\nrequires = '1'\n", "feed.toml:2: [[release]]: needs version"),
            ("format = 1\n[[release]]\nversion = 2.0\n", "feed.toml:3: version: must be a text in quotes"),
            ("<html>", "feed.toml:1: "),
            (
                "format = 1\n[[release]]\nversion = '2.0'\nrollout = [{after = '0h', percent = 500}]\n",
                "feed.toml:4: percent: must be a number from 0 to 100",
            ),
        ] {
            let error = catalog(&[], Some(text)).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
        assert!(Catalog::new(&Sums::default(), Some(b"\xff")).is_err());
    }

    const NAME: &str =
        "(edge|a_b)_[0-9~.a-c]{1,4}(_arm64)?[.](efi|raw|root[.]raw|root-arm64[.]raw|root-verity)([.]xz)?";
    const METADATA_TEXT: &str = "format = [12]\n(\\[\\[release\\]\\]\n(version|requires|channels|x) = (1|'1'|\\['a'\\])\n){0,3}.{0,9}";

    proptest! {
        #[test]
        fn a_release_has_listed_files_only(
            names in proptest::collection::btree_set(NAME, 0..12), metadata in proptest::option::of(METADATA_TEXT)
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let Ok(catalog) = catalog(&names, metadata.as_deref()) else { return Ok(()) };
            for release in &catalog.releases {
                let stem = format!("{}_{}", release.image, release.version);
                for file in release.files.files() {
                    prop_assert!(names.contains(&file.name.as_str()) && file.name.starts_with(&stem));
                }
                prop_assert!(matches!(&release.files, ReleaseFiles::Disk(_)) || release.files.files().count() >= 2);
            }
        }

        #[test]
        fn metadata_of_any_bytes_is_parsed_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,200}"
        ) {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let read = Catalog::new(&Sums::default(), Some(bytes));
                prop_assert!(read.is_err() || read == Ok(Catalog::default()));
            }
        }
    }
}
