//! The root that a kernel command line names, as text; nothing is read here.

use std::fmt;

use crate::disk::links::udev_decoded;

/// The device that a command line names as the root of the system.
///
/// The spellings are those of `systemd-fstab-generator(8)` and of the kernel
/// (`init/do_mounts.c`), plus `boot_uuid=`, by which Intel's Edge Microvisor
/// Toolkit names the root below its dm-verity device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootArg {
    /// `root=PARTUUID=…`: the partition's UUID, in lower case.
    PartUuid(String),
    /// `root=PARTLABEL=…`: the partition's label.
    PartLabel(String),
    /// `root=UUID=…`: the file system's UUID, in lower case.
    FsUuid(String),
    /// `root=LABEL=…`: the file system's label.
    FsLabel(String),
    /// `boot_uuid=…` below a device-mapper device: the UUID of the root's ext4, or of its LUKS2 header, in lower case.
    BootUuid(String),
    /// `roothash=…`: a dm-verity root hash, in lower case. By the Discoverable Partitions
    /// Specification its first 128 bits are the UUID of the root partition.
    RootHash(String),
    /// `root=/dev/…`: any other device node.
    Node(String),
    /// Something that names no partition: `root=tmpfs`, `root=nfs:…`.
    Other(String),
}

impl fmt::Display for RootArg {
    /// The word on a command line that [`RootArg::parse`] reads back as the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, value) = match self {
            Self::PartUuid(v) => ("root=PARTUUID=", v),
            Self::PartLabel(v) => return write!(f, "\"root=PARTLABEL={v}\""),
            Self::FsUuid(v) => ("root=UUID=", v),
            Self::FsLabel(v) => return write!(f, "\"root=LABEL={v}\""),
            Self::BootUuid(v) => ("boot_uuid=", v),
            Self::RootHash(v) => ("roothash=", v),
            Self::Node(v) | Self::Other(v) => return write!(f, "\"root={v}\""),
        };
        // No UUID has blanks, but a command line with an unclosed quote can yield one that does.
        if value.contains(|c: char| c.is_whitespace() || c == '\0') {
            write!(f, "\"{key}{value}\"")
        } else {
            write!(f, "{key}{value}")
        }
    }
}

impl RootArg {
    /// The link that udev makes to this root, or the node itself; none where the argument names no single device.
    #[must_use]
    pub fn link(&self) -> Option<String> {
        match self {
            Self::PartUuid(uuid) => Some(format!("/dev/disk/by-partuuid/{uuid}")),
            Self::FsUuid(uuid) => Some(format!("/dev/disk/by-uuid/{uuid}")),
            Self::Node(node) => Some(node.clone()),
            _ => None,
        }
    }

    /// Reads the root out of a command line; the last mention counts, as for the kernel.
    /// `roothash=` goes first. `boot_uuid=` counts where `root=` only names the device-mapper node on top of
    /// what it means; any other device in `root=` is the root itself, as for the kernel.
    #[must_use]
    pub fn parse(cmdline: &str) -> Option<Self> {
        let last = |key| last_value(cmdline, key);
        if let Some(hash) = last("roothash") {
            return Some(Self::RootHash(hash.to_ascii_lowercase()));
        }
        let device = last("root");
        match last("boot_uuid").filter(|_| device.is_none_or(is_mapper)) {
            Some(uuid) => Some(Self::BootUuid(uuid.to_ascii_lowercase())),
            None => device.map(Self::device),
        }
    }

    /// Whether both are one root by their text alone. Earlier versions recorded `boot_uuid=` as the root where
    /// `root=PARTUUID=` with the same UUID stood beside it.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::BootUuid(one), Self::PartUuid(two)) | (Self::PartUuid(one), Self::BootUuid(two)) => {
                one == two
            }
            _ => self == other,
        }
    }

    /// Reads one device, as it stands after `root=`.
    #[must_use]
    pub fn device(value: &str) -> Self {
        let tag = |tag: &str, dir: &str| {
            let by_dir = || value.strip_prefix("/dev/disk/").and_then(|v| v.strip_prefix(dir));
            value.strip_prefix(tag).or_else(by_dir).map(unquoted)
        };
        if let Some(v) = tag("PARTUUID=", "by-partuuid/") {
            Self::PartUuid(v.to_ascii_lowercase())
        } else if let Some(v) = tag("PARTLABEL=", "by-partlabel/") {
            Self::PartLabel(udev_decoded(v))
        } else if let Some(v) = tag("UUID=", "by-uuid/") {
            Self::FsUuid(v.to_ascii_lowercase())
        } else if let Some(v) = tag("LABEL=", "by-label/") {
            Self::FsLabel(udev_decoded(v))
        } else if value.starts_with("/dev/") {
            Self::Node(value.to_owned())
        } else {
            Self::Other(value.to_owned())
        }
    }

    /// The UUID that the root partition must have for this root to be found, if one follows
    /// from it: of `PARTUUID=`, or the first half of a 256-bit `roothash=`.
    #[must_use]
    pub fn partition_uuid(&self) -> Option<String> {
        match self {
            Self::PartUuid(uuid) => Some(uuid.clone()),
            Self::RootHash(hash) => uuid_of_half(hash.get(..32)?),
            _ => None,
        }
    }
}

/// Whether a device in `root=` is one of device-mapper.
#[must_use]
pub fn is_mapper(device: &str) -> bool {
    device.starts_with("/dev/mapper/") || device.starts_with("/dev/dm-")
}

/// The last value of a key that is not empty, as for the kernel.
#[must_use]
pub fn last_value<'a>(cmdline: &'a str, key: &str) -> Option<&'a str> {
    words(cmdline)
        .filter_map(|w| w.strip_prefix(key).and_then(|w| w.strip_prefix('=')).map(unquoted))
        .filter(|v| !v.is_empty())
        .last()
}

/// Splits a command line at blanks, but not inside double quotes, as the kernel does.
fn words(cmdline: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    cmdline
        .split(move |c: char| {
            if c == '"' {
                quoted = !quoted;
            }
            !quoted && (c.is_whitespace() || c == '\0')
        })
        .filter(|w| !w.is_empty())
        // A word may be quoted as a whole: "root=PARTLABEL=my root".
        .map(unquoted)
        // What stands after `--` is for init, not for the kernel.
        .take_while(|w| *w != "--")
}

fn unquoted(word: &str) -> &str {
    word.strip_prefix('"').map_or(word, |w| w.strip_suffix('"').unwrap_or(w))
}

/// The UUID that is half of a 256-bit root hash.
#[must_use]
pub fn uuid_of_half(hex: &str) -> Option<String> {
    if hex.len() != 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    Some(format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(cmdline: &str) -> Option<RootArg> {
        RootArg::parse(cmdline)
    }

    #[test]
    fn every_spelling_of_a_root_is_understood() {
        let cases = [
            ("ro root=PARTUUID=ABCD-1 quiet", RootArg::PartUuid("abcd-1".into())),
            ("root=PARTLABEL=rootfs_b", RootArg::PartLabel("rootfs_b".into())),
            ("root=\"PARTLABEL=my root\" ro", RootArg::PartLabel("my root".into())),
            ("root=/dev/disk/by-partlabel/my\\x20root", RootArg::PartLabel("my root".into())),
            ("root=/dev/disk/by-partuuid/AB", RootArg::PartUuid("ab".into())),
            ("root=UUID=1F\n", RootArg::FsUuid("1f".into())),
            ("root=LABEL=os", RootArg::FsLabel("os".into())),
            ("root=/dev/vda2\0", RootArg::Node("/dev/vda2".into())),
            ("root=tmpfs", RootArg::Other("tmpfs".into())),
        ];
        for (cmdline, want) in cases {
            assert_eq!(parse(cmdline), Some(want), "{cmdline}");
        }
    }

    #[test]
    fn a_whole_quoted_word_is_understood() {
        assert_eq!(parse("\"root=PARTLABEL=my root\""), Some(RootArg::PartLabel("my root".into())));
    }

    #[test]
    fn the_last_root_counts() {
        assert_eq!(parse("root=/dev/sda1 root=LABEL=x"), Some(RootArg::FsLabel("x".into())));
    }

    #[test]
    fn other_words_that_end_in_root_are_not_the_root() {
        assert_eq!(parse("nfsroot=/x rootflags=ro rootwait"), None);
        assert_eq!(parse("quiet -- root=/dev/sda1"), None);
    }

    #[test]
    fn the_device_below_a_verity_mapping_goes_first() {
        let emt = "root=/dev/mapper/rootfs_verity boot_uuid=ABC";
        assert_eq!(parse(emt), Some(RootArg::BootUuid("abc".into())));
        assert_eq!(parse("boot_uuid=abc root=/dev/dm-0"), Some(RootArg::BootUuid("abc".into())));
    }

    #[test]
    fn a_real_device_goes_before_boot_uuid() {
        for root in ["PARTUUID=P", "LABEL=rootfs", "/dev/sda2"] {
            let cmdline = format!("root={root} boot_uuid=F");
            assert_eq!(parse(&cmdline), Some(RootArg::device(root)), "{cmdline}");
        }
    }

    #[test]
    fn what_earlier_versions_recorded_of_a_root_is_still_the_same_root() {
        let (now, then) = (RootArg::PartUuid("aa".into()), RootArg::BootUuid("aa".into()));
        assert!(now.is_same(&then) && then.is_same(&now) && now.is_same(&now));
        assert!(!now.is_same(&RootArg::BootUuid("bb".into())));
        assert!(!now.is_same(&RootArg::FsUuid("aa".into())));
    }

    #[test]
    fn a_root_hash_gives_the_uuid_of_the_root_partition() {
        let hash = "00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100";
        let arg = parse(&format!("roothash={hash}"));
        assert_eq!(
            arg.as_ref().and_then(RootArg::partition_uuid).as_deref(),
            Some("00112233-4455-6677-8899-aabbccddeeff")
        );
    }

    #[test]
    fn a_short_or_odd_root_hash_gives_no_uuid() {
        assert_eq!(parse("roothash=12").and_then(|r| r.partition_uuid()), None);
        assert_eq!(parse("roothash=äöü").and_then(|r| r.partition_uuid()), None);
    }

    #[test]
    fn what_is_written_is_read_back_as_the_same_root() {
        for root in [
            RootArg::PartUuid("aa-bb".into()),
            RootArg::PartLabel("my root".into()),
            RootArg::FsUuid("cc".into()),
            RootArg::FsLabel("x y".into()),
            RootArg::BootUuid("dd".into()),
            RootArg::RootHash("ee".into()),
            RootArg::Node("/dev/sda2".into()),
            RootArg::Other("tmpfs".into()),
        ] {
            assert_eq!(RootArg::parse(&root.to_string()), Some(root));
        }
    }
}
