//! Device-mapper devices: what lies over what, by their tables. Their names prove nothing.

use std::fs::{self, File};

use log::debug;

use crate::disk::block::Partition;
use crate::disk::dm_ioctl;
use crate::disk::root_arg::last_value;
use crate::mounts;
use crate::root::Root;
use crate::sys;

const CLASS: &str = "/sys/class/block";
const MAPPER: &str = "/dev/mapper/";

/// Where the kernel is asked for tables; in a tree, a plain file with the lines of `dmsetup table`.
const CONTROL: &str = "/dev/mapper/control";

/// How many mappings may lie over each other in a description.
const MAX_LAYERS: usize = 8;

/// A device-mapper device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Its name below `/dev/mapper`.
    pub name: String,
    /// The tree's own path: `/dev/dm-0`.
    pub node: String,
    /// `MAJOR:MINOR`.
    pub devno: String,
    /// What it consists of.
    pub targets: Vec<Target>,
}

/// A part of a mapping. Devices are `MAJOR:MINOR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// dm-verity.
    Verity {
        /// The device with the data.
        data: String,
        /// The device with the hash tree.
        hashes: String,
        /// The root hash, in lower case.
        root_hash: String,
    },
    /// dm-crypt.
    Crypt {
        /// The device with the encrypted data.
        on: String,
    },
    /// A piece of another device as it is.
    Linear {
        /// That device.
        on: String,
        /// Where the piece starts, in sectors of 512 bytes.
        start: u64,
    },
    /// Any other target, and one whose parameters cannot be read.
    Other {
        /// Its type.
        kind: String,
        /// The devices that the mapping lies over.
        on: Vec<String>,
    },
}

impl Target {
    /// Reads one target: its type and its parameters in the kernel's table
    /// (Documentation/admin-guide/device-mapper/{verity,linear}.rst); `below` are the devices that sysfs shows.
    fn parse(kind: &str, parameters: &str, below: &[String]) -> Self {
        let word = |at: usize| parameters.split_whitespace().nth(at);
        let known = match kind {
            "verity" => word(1).zip(word(2)).zip(word(8)).map(|((data, hashes), root_hash)| Self::Verity {
                data: data.into(),
                hashes: hashes.into(),
                root_hash: root_hash.to_ascii_lowercase(),
            }),
            "linear" => word(0)
                .zip(word(1).and_then(|start| start.parse().ok()))
                .map(|(on, start)| Self::Linear { on: on.into(), start }),
            "crypt" => word(3).or(below.first().map(String::as_str)).map(|on| Self::Crypt { on: on.into() }),
            _ => None,
        };
        known.unwrap_or_else(|| Self::Other { kind: kind.into(), on: below.to_vec() })
    }

    fn kind(&self) -> &str {
        match self {
            Self::Verity { .. } => "verity",
            Self::Crypt { .. } => "crypt",
            Self::Linear { .. } => "linear",
            Self::Other { kind, .. } => kind,
        }
    }

    fn on(&self) -> Vec<&str> {
        match self {
            Self::Verity { data, hashes, .. } => vec![data, hashes],
            Self::Crypt { on } | Self::Linear { on, .. } => vec![on],
            Self::Other { on, .. } => on.iter().map(String::as_str).collect(),
        }
    }
}

impl Mapping {
    /// Its path below `/dev/mapper`, for messages.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{MAPPER}{}", self.name)
    }

    /// Its target, if it has just one.
    #[must_use]
    pub fn only_target(&self) -> Option<&Target> {
        match self.targets.as_slice() {
            [target] => Some(target),
            _ => None,
        }
    }

    /// The device below, if this is a crypt mapping.
    #[must_use]
    pub fn decrypts(&self) -> Option<&str> {
        match self.only_target() {
            Some(Target::Crypt { on }) => Some(on),
            _ => None,
        }
    }
}

/// Every mapping of the machine. Of one whose table cannot be read, the devices below are known, and no more.
#[must_use]
pub fn mappings(root: &Root) -> Vec<Mapping> {
    let entries = fs::read_dir(root.path(CLASS)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("dm-"))
        .collect();
    if names.is_empty() {
        return Vec::new();
    }
    names.sort_unstable();
    let tables = Tables::open(root);
    names.iter().filter_map(|name| mapping(root, name, &tables)).collect()
}

/// Of these mappings the one that a device node names.
#[must_use]
pub fn named<'m>(mappings: &'m [Mapping], node: &str) -> Option<&'m Mapping> {
    mappings.iter().find(|m| m.node == node || node.strip_prefix(MAPPER) == Some(m.name.as_str()))
}

/// The mapping that the root is on, if it is on one.
#[must_use]
pub fn root_mapping<'m>(root: &Root, cmdline: &str, mappings: &'m [Mapping]) -> Option<&'m Mapping> {
    let mounts = mounts::read(root).unwrap_or_default();
    let by_number = |devno: &str| mappings.iter().find(|m| m.devno == devno);
    for mount in ["/sysroot", "/"].into_iter().filter_map(|at| mounts::at(&mounts, at)) {
        // A file system without a device of its own (an overlay, a btrfs subvolume, the initramfs) has major number 0.
        if !mount.majmin.starts_with("0:") {
            return by_number(&mount.majmin);
        }
    }
    named(mappings, last_value(cmdline, "root")?)
}

/// What a device is, down to the partitions: `/dev/mapper/x (crypt over /dev/sda2)`.
#[must_use]
pub fn described(devno: &str, mappings: &[Mapping], partitions: &[Partition]) -> String {
    layers(devno, mappings, partitions, MAX_LAYERS)
}

fn layers(devno: &str, mappings: &[Mapping], partitions: &[Partition], depth: usize) -> String {
    let Some(mapping) = mappings.iter().find(|m| m.devno == devno).filter(|_| depth > 0) else {
        return partitions
            .iter()
            .find(|p| p.devno == devno)
            .map_or_else(|| format!("device {devno}"), |p| p.node.clone());
    };
    let target = |target: &Target| {
        let on: Vec<String> =
            target.on().into_iter().map(|on| layers(on, mappings, partitions, depth - 1)).collect();
        if on.is_empty() {
            target.kind().to_owned()
        } else {
            format!("{} over {}", target.kind(), on.join(" and "))
        }
    };
    let targets: Vec<String> = mapping.targets.iter().map(target).collect();
    format!("{} ({})", mapping.path(), targets.join(", "))
}

fn mapping(root: &Root, kernel_name: &str, tables: &Tables) -> Option<Mapping> {
    let dir = root.resolve(format!("{CLASS}/{kernel_name}")).ok()?;
    let read = |path: &str| fs::read_to_string(dir.join(path)).ok().map(|text| text.trim().to_owned());
    let (name, devno) = (read("dm/name")?, read("dev")?);
    let slaves = fs::read_dir(dir.join("slaves")).into_iter().flatten().flatten();
    let mut below: Vec<String> = slaves
        .filter_map(|slave| fs::read_to_string(slave.path().join("dev")).ok())
        .map(|devno| devno.trim().to_owned())
        .collect();
    below.sort_unstable();
    let targets = match tables.of(&name, &devno) {
        Some(targets) => {
            targets.iter().map(|(kind, parameters)| Target::parse(kind, parameters, &below)).collect()
        }
        None => vec![Target::Other { kind: "unknown".into(), on: below }],
    };
    Some(Mapping { name, node: format!("/dev/{kernel_name}"), devno, targets })
}

/// Where tables are read from.
enum Tables {
    /// The running kernel.
    Kernel(File),
    /// The lines of `dmsetup table`.
    Text(String),
    /// Nowhere.
    None,
}

impl Tables {
    fn open(root: &Root) -> Self {
        let path = root.path(CONTROL);
        let opened = if root.is_live() {
            File::open(&path).map(Self::Kernel)
        } else if path.is_file() {
            fs::read_to_string(&path).map(Self::Text)
        } else {
            return Self::None;
        };
        opened.unwrap_or_else(|e| {
            debug!("{}: cannot open: {e}", path.display());
            Self::None
        })
    }

    /// The type and the parameters of each target. Those of a crypt target are not asked for: they may hold its key.
    fn of(&self, name: &str, devno: &str) -> Option<Vec<(String, String)>> {
        match self {
            Self::Kernel(control) => {
                let ask = |table| {
                    let mut buffer = dm_ioctl::request(devno, table)?;
                    sys::dm_table_status(control, &mut buffer)
                        .inspect_err(|e| debug!("device {devno}: cannot read its table: {e}"))
                        .ok()?;
                    dm_ioctl::targets(&buffer)
                };
                let status = ask(false)?;
                if status.iter().all(|(kind, _)| kind == "verity" || kind == "linear") {
                    return ask(true);
                }
                Some(status.into_iter().map(|(kind, _)| (kind, String::new())).collect())
            }
            Self::Text(lines) => {
                let of_name = |line: &str| {
                    let mut words = line.strip_prefix(name)?.strip_prefix(": ")?.splitn(4, ' ').skip(2);
                    Some((words.next()?.to_owned(), words.next().unwrap_or_default().to_owned()))
                };
                let targets: Vec<_> = lines.lines().filter_map(of_name).collect();
                Some(targets).filter(|targets| !targets.is_empty())
            }
            Self::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::disk::block::partitions;
    use crate::disk::tests::FakeDisks;

    const HASH: &str = "aa11";

    fn machine() -> FakeDisks {
        FakeDisks::new()
            .partition("sda", 2, "rootfs", "")
            .partition("sda", 4, "hashmap_a", "")
            .mapping(0, "rootfs_a", "crypt aes-xts-plain64 :64:logon:x 0 8:1554 32768", &["sda2"])
            .mapping(
                1,
                "rootfs_verity",
                "verity 1 253:0 8:1556 4096 4096 64 1 sha256 AA11 00ff",
                &["dm-0", "sda4"],
            )
    }

    #[test]
    fn the_table_says_what_a_mapping_is_whatever_its_name() {
        let found = mappings(&machine().root());
        assert_eq!(found.iter().map(|m| m.node.as_str()).collect::<Vec<_>>(), ["/dev/dm-0", "/dev/dm-1"]);
        let targets: Vec<&Target> = found.iter().filter_map(Mapping::only_target).collect();
        let verity = Target::Verity {
            data: "253:0".into(),
            hashes: FakeDisks::devno("sda", 4),
            root_hash: HASH.into(),
        };
        assert_eq!(targets.last(), Some(&&verity));
        assert_eq!(found.first().unwrap().decrypts(), Some("8:1554"));
        assert_eq!(named(&found, "/dev/mapper/rootfs_verity").unwrap().devno, "253:1");
        assert_eq!(named(&found, "/dev/dm-0").unwrap().name, "rootfs_a");
        assert_eq!(named(&found, "/dev/mapper/other"), None);
    }

    #[test]
    fn the_layers_of_a_device_are_described_down_to_the_partitions() {
        let machine = machine();
        let root = machine.root();
        let said = described("253:1", &mappings(&root), &partitions(&root));
        assert_eq!(
            said,
            "/dev/mapper/rootfs_verity (verity over /dev/mapper/rootfs_a (crypt over /dev/sda2) and /dev/sda4)"
        );
    }

    #[test]
    fn without_its_table_the_devices_below_a_mapping_are_known() {
        let machine = machine();
        fs::remove_file(machine.path("dev/mapper/control")).unwrap();
        let found = mappings(&machine.root());
        let unknown = Target::Other { kind: "unknown".into(), on: vec![FakeDisks::devno("sda", 2)] };
        assert_eq!(found.first().unwrap().only_target(), Some(&unknown));
    }

    #[test]
    fn parameters_that_are_not_understood_make_another_target() {
        let other = |kind: &str, parameters| {
            matches!(Target::parse(kind, parameters, &["8:1".into()]), Target::Other { .. })
        };
        assert!(other("verity", "1 8:2 8:4"));
        assert!(other("linear", "8:2 x"));
        assert!(other("striped", "2 8 8:2 0 8:3 0"));
        assert!(!other("crypt", ""));
    }
}
