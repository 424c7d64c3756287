//! What the names of published files say, as mkosi splits an image and systemd-sysupdate matches them:
//! `edge_1.2.root-x86-64.raw.xz`, `edge_1.2_UUID.root-verity.raw`, `edge_1.2.efi`, `edge_1.2.raw.zst`.

use crate::disk::role::Role;
use abide_core::arch;
use abide_core::text;

/// The list of digests in a folder of images, as sha256sum(1) writes it.
pub const SUMS: &str = "SHA256SUMS";

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
    /// The architecture, where it is part of the name.
    pub arch: Option<&'static str>,
}

const PACKED: [&str; 4] = [".xz", ".zst", ".gz", ".bz2"];

impl<'a> Name<'a> {
    /// None if it is the name of something else, or cannot be shown.
    #[must_use]
    pub fn parse(name: &'a str) -> Option<Self> {
        if !text::is_printable(name) {
            return None;
        }
        let mut rest = PACKED.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let (mut content, mut arch, mut raw) = (None, None, false);
        while let Some((before, end)) = rest.rsplit_once('.') {
            if let Some((found, its_arch)) = part(end).filter(|_| content.is_none()) {
                content = Some(found);
                arch = arch.or(its_arch);
            } else if end == "raw" && !raw {
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
        while let Some((before, end)) = rest.rsplit_once('_') {
            match arch_of(end) {
                Some(known) => arch = Some(known),
                None if is_uuid(end) => {}
                None => break,
            }
            rest = before;
        }
        let (image, version) = rest.rsplit_once('_')?;
        (!image.is_empty() && !version.is_empty()).then_some(Self { image, version, content, arch })
    }
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

fn arch_of(word: &str) -> Option<&'static str> {
    arch::ALL.iter().map(|arch| arch.name).find(|name| *name == word)
}

fn is_uuid(word: &str) -> bool {
    uuid::Uuid::try_parse(word).is_ok()
}

#[cfg(test)]
mod tests {
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
