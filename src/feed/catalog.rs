//! The releases of a published folder, from its list of digests and the publisher's metadata.
//!
//! The list is verified before ([`crate::image::trust::Verifier::sums`]). The metadata is a file in that list, so
//! that its digest is verified, too.

use std::collections::BTreeMap;

use crate::boot::names::unnameable;
use crate::config::forms::{List, open_tables};
use crate::image::names::Name;
use crate::image::trust::Sums;
use abide_core::boot::model::version::compare;
use abide_core::config::form::{Count, Text};
use abide_core::config::section::Section;
use abide_core::config::tree::Tree;

use crate::feed::freshness::Header;
use crate::feed::published::{FilesByContent, ListedFile, ReleaseFiles, insert};

/// The publisher's metadata about the releases.
pub const METADATA: &str = "feed.toml";

/// The largest metadata file that is read.
pub const MAX_METADATA: u64 = 1 << 20;

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

impl Catalog {
    /// Sorts the files of `sums` into releases; `metadata` is [`METADATA`], if it is listed.
    ///
    /// # Errors
    /// A sentence about the folder, for a message, if the metadata cannot be parsed.
    pub fn new(sums: &Sums, metadata: Option<&[u8]>) -> Result<Self, String> {
        let Metadata { header, named } = metadata.map(read_metadata).transpose()?.unwrap_or_default();
        let (mut releases, mut problems) = (Vec::new(), sums.problems().to_vec());
        for ((image, version), files) in by_version(sums) {
            if let Some(why) = unnameable(image, version) {
                problems.push(format!("{image} {version} is ignored: {why}"));
                continue;
            }
            let by_arch = by_arch(files).unwrap_or_else(|problem| {
                problems.push(format!("{image} {version} is ignored: {problem}"));
                BTreeMap::new()
            });
            for (arch, files) in by_arch {
                let Some(files) = ReleaseFiles::complete(files) else { continue };
                let names_it =
                    |n: &&NamedTerms| n.version == version && n.image.as_deref().is_none_or(|i| i == image);
                let terms = named.iter().find(names_it).map(|n| n.terms.clone()).unwrap_or_default();
                let digest = files.digest();
                releases.push(Release {
                    image: image.into(),
                    version: version.into(),
                    arch,
                    files,
                    digest,
                    terms,
                });
            }
        }
        Ok(Self { problems, header, ..Self::of(releases) })
    }

    /// A catalog of these releases, for tests and simulations.
    #[must_use]
    pub fn of(mut releases: Vec<Release>) -> Self {
        releases.sort_by(|a, b| compare(&a.version, &b.version));
        Self { releases, header: Header::default(), problems: vec![] }
    }

    /// The releases of an image for an architecture, oldest first.
    pub fn releases<'c>(
        &'c self,
        image: &'c str,
        arch: &'c str,
    ) -> impl DoubleEndedIterator<Item = &'c Release> {
        self.releases.iter().filter(move |r| r.image == image && r.arch.is_none_or(|its| its == arch))
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
        if format != Some(FORMAT) {
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
        };
        assert_eq!(terms, [&Terms::default(), &expected]);
    }

    #[test]
    fn metadata_that_cannot_be_parsed_is_an_error() {
        for (text, problem) in [
            ("", "format: is not 1"),
            ("format = 2\n", "feed.toml:1: format: is not 1; a newer version of Abide may support it"),
            ("format = 1\n[[release]]\nrequires = '1'\n", "feed.toml:2: [[release]]: needs version"),
            ("format = 1\n[[release]]\nversion = 2.0\n", "feed.toml:3: version: must be a text in quotes"),
            ("<html>", "feed.toml:1: "),
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
