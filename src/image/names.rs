//! What the names of published files say, as mkosi splits an image and systemd-sysupdate matches them:
//! `edge_1.2.root-x86-64.raw.xz`, `edge_1.2_UUID.root-verity.raw`, `edge_1.2.efi`, `edge_1.2.raw.zst`.
//!
//! Other words and endings of the field are understood where they can mean one thing only: `edge_1.2_amd64.img.gz`,
//! `edge-1.2.wic.zst`.

use crate::disk::role::Role;
use abide_core::arch;
use abide_core::text;

/// The list of digests in a folder of images, as sha256sum(1) writes it.
pub const SUMS: &str = "SHA256SUMS";

/// The ending of the list of one release, as mkosi names it: `edge_1.2.SHA256SUMS`.
pub const RELEASE_SUMS: &str = ".SHA256SUMS";

/// What a published file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// A whole disk.
    Disk,
    /// The UKI.
    Uki,
    /// One partition.
    Part(Role),
}

/// The name of a published file, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name<'a> {
    /// What stands before the last `_`: `IMAGE_ID`.
    pub image: &'a str,
    /// What stands behind it.
    pub version: &'a str,
    /// What the endings say.
    pub content: Content,
    /// The architecture, where it is part of the name: as [`arch::ALL`] spells it, or one of another machine.
    pub arch: Option<&'static str>,
    /// The name without endings: image, version, and what else mkosi puts into it.
    pub stem: &'a str,
}

const PACKED: [&str; 4] = [".xz", ".zst", ".gz", ".bz2"];

/// The endings of unpacked images: of mkosi, of most others, of OpenEmbedded's wic.
const RAW: [&str; 3] = ["raw", "img", "wic"];

/// Other words for architectures, of Debian, GNU and rpm, each with the name that [`arch::ALL`] has.
const WORDS: [(&str, &str); 11] = [
    ("x86_64", "x86-64"),
    ("amd64", "x86-64"),
    ("aarch64", "arm64"),
    ("i386", "x86"),
    ("i486", "x86"),
    ("i586", "x86"),
    ("i686", "x86"),
    ("armhf", "arm"),
    ("armv7", "arm"),
    ("armv7l", "arm"),
    ("armv7hl", "arm"),
];

/// Architectures that Abide is not built for, so that their images are recognized (systemd, "architecture.c").
const FOREIGN: [&str; 14] = [
    "ppc64-le",
    "ppc64le",
    "ppc64el",
    "ppc64",
    "ppc",
    "s390x",
    "s390",
    "loongarch64",
    "mips64-le",
    "mips64",
    "mips-le",
    "mips",
    "riscv32",
    "ia64",
];

impl<'a> Name<'a> {
    /// Takes the last component of a path apart; none if it is the name of something else, or cannot be shown.
    #[must_use]
    pub fn parse(path: &'a str) -> Option<Self> {
        let name = base_name(path);
        if !text::is_printable(name) {
            return None;
        }
        let mut rest = unpacked(name);
        let (mut content, mut arch, mut raw) = (None, None, false);
        while let Some((before, end)) = rest.rsplit_once('.') {
            if let Some((found, its_arch)) = part(end).filter(|_| content.is_none()) {
                content = Some(found);
                arch = arch.or(its_arch);
            } else if RAW.contains(&end) && !raw {
                raw = true;
            } else if let Some(known) = arch_of(end) {
                arch = Some(known);
            } else if is_other_part(end) {
                return None;
            } else if !is_uuid(end) {
                break;
            }
            rest = before;
        }
        let content = content.or(raw.then_some(Content::Disk))?;
        let stem = rest;
        loop {
            if let Some((before, known)) = strip_arch(rest) {
                arch = Some(known);
                rest = before;
            } else if let Some((before, _)) = rest.rsplit_once('_').filter(|(_, end)| is_uuid(end)) {
                rest = before;
            } else {
                break;
            }
        }
        let (image, version) = rest.rsplit_once('_').or_else(|| split_at_hyphen(rest))?;
        (!image.is_empty() && !version.is_empty()).then_some(Self { image, version, content, arch, stem })
    }
}

/// The name of a file without the ending of its packing.
#[must_use]
pub fn unpacked(name: &str) -> &str {
    PACKED.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// The last component of a path.
#[must_use]
pub fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `edge-2.0`: only where one hyphen alone has a number behind it, since `edge-2-1.0` and `edge-1.0-2` may mean anything.
fn split_at_hyphen(rest: &str) -> Option<(&str, &str)> {
    let mut splits =
        rest.match_indices('-').filter_map(|(at, _)| rest.split_at_checked(at)).filter_map(|(image, end)| {
            let version = end.strip_prefix('-')?;
            version.starts_with(|c: char| c.is_ascii_digit()).then_some((image, version))
        });
    let first = splits.next()?;
    splits.next().is_none().then_some(first)
}

fn part(word: &str) -> Option<(Content, Option<&'static str>)> {
    if word == "efi" {
        return Some((Content::Uki, None));
    }
    let (rest, role) = match (word.strip_suffix("verity-sig"), word.strip_suffix("verity")) {
        (Some(rest), _) => (rest, Role::VeritySig),
        (None, Some(rest)) => (rest, Role::Verity),
        (None, None) => (word, Role::Root),
    };
    let rest = rest.strip_suffix('-').unwrap_or(rest);
    let arch = match rest {
        "root" => None,
        "" if role != Role::Root => None,
        _ => Some(arch_of(rest.strip_prefix("root-")?)?),
    };
    Some((Content::Part(role), arch))
}

/// Partitions that Abide does not write, as mkosi names them (Discoverable Partitions Specification).
fn is_other_part(word: &str) -> bool {
    let kind = word.split('-').next().unwrap_or_default();
    matches!(kind, "usr" | "home" | "srv" | "var" | "tmp" | "esp" | "xbootldr" | "swap" | "linux" | "user")
}

/// All words for architectures, each with the name that Abide has for it.
fn arch_words() -> impl Iterator<Item = (&'static str, &'static str)> {
    let own = arch::ALL.iter().map(|arch| (arch.name, arch.name));
    own.chain(WORDS).chain(FOREIGN.into_iter().map(|word| (word, word)))
}

fn arch_of(word: &str) -> Option<&'static str> {
    arch_words().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, name)| name)
}

/// The architecture at the end of a name, behind `_`, `-`, `.` or `+`: the longest word counts, since `_` and `-` are in
/// some. A version that ends with such a word is not one: an image of another architecture must not be taken for one of all.
fn strip_arch(rest: &str) -> Option<(&str, &'static str)> {
    let ends_with = |(word, name): (&str, &'static str)| {
        let (before, end) = rest.split_at_checked(rest.len().checked_sub(word.len())?)?;
        let before = before.strip_suffix(['_', '-', '.', '+'])?;
        end.eq_ignore_ascii_case(word).then_some((before, name))
    };
    arch_words().filter_map(ends_with).min_by_key(|(before, _)| before.len())
}

fn is_uuid(word: &str) -> bool {
    uuid::Uuid::try_parse(word).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    fn parse(name: &str) -> Option<(&str, &str, Content, Option<&'static str>)> {
        Name::parse(name).map(|n| (n.image, n.version, n.content, n.arch))
    }

    #[test]
    fn the_names_that_mkosi_and_sysupdate_give_are_understood() {
        let part = Content::Part;
        let uuid = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
        for (name, content, arch) in [
            ("edge_1.2.raw.zst", Content::Disk, None),
            ("edge_1.2_x86-64.raw", Content::Disk, Some("x86-64")),
            ("edge_1.2.efi", Content::Uki, None),
            ("edge_1.2.efi.xz", Content::Uki, None),
            ("edge_1.2.root.raw.xz", part(Role::Root), None),
            ("edge_1.2.root.xz", part(Role::Root), None),
            ("edge_1.2.root-verity.raw.xz", part(Role::Verity), None),
            ("edge_1.2.verity.xz", part(Role::Verity), None),
            ("edge_1.2.root-verity-sig.raw", part(Role::VeritySig), None),
            ("edge_1.2.root-x86-64.raw", part(Role::Root), Some("x86-64")),
            ("edge_1.2.root-arm64-verity-sig.raw.gz", part(Role::VeritySig), Some("arm64")),
            (&format!("edge_1.2_{uuid}.root.raw.xz"), part(Role::Root), None),
            (&format!("edge_1.2.root-x86-64.{uuid}.raw.xz"), part(Role::Root), Some("x86-64")),
            (&format!("edge_1.2.{}.root-verity.raw", uuid.replace('-', "")), part(Role::Verity), None),
        ] {
            assert_eq!(parse(name), Some(("edge", "1.2", content, arch)), "{name}");
        }
        assert_eq!(parse("my_os_1.0-rc1.efi"), Some(("my_os", "1.0-rc1", Content::Uki, None)));
    }

    #[test]
    fn the_usual_words_for_architectures_and_endings_are_understood() {
        let x86 = Some("x86-64");
        for (name, content, arch) in [
            ("edge_1.2_x86_64.raw", Content::Disk, x86),
            ("edge_1.2_amd64.img.gz", Content::Disk, x86),
            ("edge_1.2-x86_64.wic.bz2", Content::Disk, x86),
            ("edge_1.2.AMD64.wic.zst", Content::Disk, x86),
            ("edge_1.2+amd64.raw.xz", Content::Disk, x86),
            ("edge_1.2_aarch64.img.zst", Content::Disk, Some("arm64")),
            ("edge_1.2-arm64.raw", Content::Disk, Some("arm64")),
            ("edge_1.2_i686.img", Content::Disk, Some("x86")),
            ("edge_1.2_armhf.img", Content::Disk, Some("arm")),
            ("edge_1.2_ppc64le.raw.zst", Content::Disk, Some("ppc64le")),
            ("edge_1.2.root-x86_64.img.zst", Content::Part(Role::Root), x86),
            ("edge_1.2.root-aarch64-verity.raw", Content::Part(Role::Verity), Some("arm64")),
            ("edge_1.2_x86_64.efi", Content::Uki, x86),
            ("edge-1.2.img.zst", Content::Disk, None),
            ("edge-1.2_amd64.raw", Content::Disk, x86),
            ("edge-1.2-amd64.raw", Content::Disk, x86),
            ("v1/x86/edge_1.2.raw.zst", Content::Disk, None),
        ] {
            assert_eq!(parse(name), Some(("edge", "1.2", content, arch)), "{name}");
        }
        assert_eq!(parse("my-os-1.2.raw").map(|(image, ..)| image), Some("my-os"));
        for ambiguous in ["edge-2-1.0.raw", "edge-1.0-2.raw", "edge-rc.raw", "edge.wic"] {
            assert_eq!(parse(ambiguous), None, "{ambiguous}");
        }
    }

    #[test]
    fn each_word_stands_for_one_known_architecture() {
        let mut words: Vec<&str> = arch_words().map(|(word, _)| word).collect();
        assert!(WORDS.iter().all(|(_, name)| arch::ALL.iter().any(|arch| arch.name == *name)));
        words.sort_unstable();
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]), "{words:?}");
    }

    #[test]
    fn no_word_for_another_architecture_leaves_a_name_without_one() {
        for (word, arch) in arch_words() {
            for name in [
                format!("edge_1.2_{word}.raw"),
                format!("edge_1.2-{word}.efi"),
                format!("edge_1.2.{word}.img.xz"),
            ] {
                assert_eq!(
                    parse(&name).map(|(image, version, _, its)| (image, version, its)),
                    Some(("edge", "1.2", Some(arch))),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn the_stem_is_what_mkosi_names_its_list_after() {
        let stem = |name| Name::parse(name).map(|name| name.stem);
        assert_eq!(stem("edge_1.2_x86-64.root.raw.zst"), Some("edge_1.2_x86-64"));
        assert_eq!(stem("edge_1.2.raw"), Some("edge_1.2"));
    }

    #[test]
    fn other_names_are_left_alone() {
        for name in [
            "SHA256SUMS",
            "edge_1.2.manifest",
            "edge_1.2.home.raw",
            "edge.efi",
            "_1.efi",
            "edge_.efi",
            "",
            "edge_1.2.vmlinuz",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
