//! What lies where in a whole-disk image.

use std::io::Cursor;

use crate::disk::gpt::PartitionTable;
use abide_core::disk::partitions::{ROOT_TYPES, VERITY_TYPES};
use abide_core::error::{Error, OrError, Result};

/// Bytes at the front of an image that are enough to hold its partition table:
/// with sectors of 4096 bytes it takes 24 KiB.
pub const HEAD: usize = 64 * 1024;

const ESP_TYPE: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

/// Labels by which a root is known where its type does not tell.
const ROOT_LABELS: [&str; 4] = ["rootfs", "rootfs_a", "root", "root-a"];

/// What a partition of an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The EFI system partition.
    Esp,
    /// A root, for that architecture.
    Root(&'static str),
    /// dm-verity hashes of a root.
    Verity,
    /// The signature of their root hash.
    VeritySig,
    /// Anything else.
    Other,
}

/// A partition of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// What it is, by its type.
    pub kind: Kind,
    /// Its label.
    pub label: String,
    /// Its UUID, in lower case.
    pub uuid: String,
    /// Its first byte in the image.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// Its attributes.
    pub flags: u64,
}

impl Partition {
    /// The byte after its last one.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }
}

/// The partitions of an image, in the order in which they lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// All of them.
    pub partitions: Vec<Partition>,
    /// Bytes of the whole image, by its partition table.
    pub disk_len: u64,
}

impl Layout {
    /// Reads the partition table out of the first [`HEAD`] bytes.
    ///
    /// # Errors
    /// [`Error::Image`] if there is none, or it makes no sense.
    pub fn parse(head: &[u8], name: &str) -> Result<Self> {
        let table = PartitionTable::read(&mut Cursor::new(head)).or_image(|| {
            format!("{name}: has no valid partition table; it must be the image of a whole disk with a GPT")
        })?;
        let nonsense =
            |label: &str| Error::Image(format!("{name}: the place of partition '{label}' makes no sense"));
        let mut partitions = Vec::new();
        for entry in table.partitions.values() {
            let sectors = entry
                .last_lba
                .checked_sub(entry.first_lba)
                .and_then(|n| n.checked_add(1))
                .ok_or_else(|| nonsense(&entry.name))?;
            let bytes = |sectors: u64| sectors.checked_mul(table.sector).ok_or_else(|| nonsense(&entry.name));
            let partition = Partition {
                kind: kind_of(&entry.part_type_guid.guid.to_string()),
                label: entry.name.clone(),
                uuid: entry.part_guid.to_string(),
                start: bytes(entry.first_lba)?,
                len: bytes(sectors)?,
                flags: entry.flags,
            };
            if partition.start.checked_add(partition.len).is_none() {
                return Err(nonsense(&entry.name));
            }
            partitions.push(partition);
        }
        partitions.sort_by_key(|p| p.start);
        if let Some([first, second]) = partitions.windows(2).find_map(|pair| match pair {
            [a, b] if a.end() > b.start => Some([a, b]),
            _ => None,
        }) {
            return Err(Error::Image(format!(
                "{name}: its partitions '{}' and '{}' overlap",
                first.label, second.label
            )));
        }
        Ok(Self { partitions, disk_len: table.disk_len() })
    }

    /// The ESP.
    ///
    /// # Errors
    /// [`Error::Image`] if there is none, or more than one.
    pub fn esp(&self, name: &str) -> Result<&Partition> {
        let all: Vec<&Partition> = self.partitions.iter().filter(|p| p.kind == Kind::Esp).collect();
        match all.as_slice() {
            [esp] => Ok(esp),
            [] => {
                Err(Error::Image(format!("{name}: holds no EFI system partition, so there is no UKI in it")))
            }
            _ => Err(Error::Image(format!("{name}: holds more than one EFI system partition"))),
        }
    }

    /// The root: the only partition of a root's type that is not an empty or second slot, else
    /// the one whose label says so.
    ///
    /// # Errors
    /// [`Error::Image`] if there is none, or it is not clear which one it is.
    pub fn root(&self, name: &str) -> Result<&Partition> {
        let spare = |p: &Partition| matches!(p.label.as_str(), "_empty" | "rootfs_b" | "root-b");
        let typed = self.partitions.iter().filter(|p| matches!(p.kind, Kind::Root(_)) && !spare(p));
        let labelled = self.partitions.iter().filter(|p| ROOT_LABELS.contains(&p.label.as_str()));
        let typed: Vec<&Partition> = typed.collect();
        let all = if typed.is_empty() { labelled.collect() } else { typed };
        match all.as_slice() {
            [root] => Ok(root),
            [] => Err(Error::Image(format!(
                "{name}: holds no root partition; give it the type of a root, or the label 'rootfs'"
            ))),
            _ => Err(Error::Image(format!(
                "{name}: holds more than one root partition ({})",
                all.iter().map(|p| p.label.as_str()).collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    /// The only partition of that kind that is not an empty one.
    ///
    /// # Errors
    /// [`Error::Image`] if there are several.
    pub fn only(&self, kind: Kind, name: &str) -> Result<Option<&Partition>> {
        let mut all = self.partitions.iter().filter(|p| p.kind == kind && p.label != "_empty");
        match (all.next(), all.next()) {
            (first, None) => Ok(first),
            (_, Some(second)) => Err(Error::Image(format!(
                "{name}: holds more than one partition like '{}', and it is not clear which one counts",
                second.label
            ))),
        }
    }
}

fn kind_of(guid: &str) -> Kind {
    if guid == ESP_TYPE {
        return Kind::Esp;
    }
    if VERITY_TYPES.iter().any(|(hash, _, _)| *hash == guid) {
        return Kind::Verity;
    }
    if VERITY_TYPES.iter().any(|(_, sig, _)| *sig == guid) {
        return Kind::VeritySig;
    }
    ROOT_TYPES.iter().find(|(ty, _)| *ty == guid).map_or(Kind::Other, |(_, arch)| Kind::Root(arch))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn partition(kind: Kind, label: &str) -> Partition {
        Partition { kind, label: label.into(), uuid: String::new(), start: 0, len: 1, flags: 0 }
    }

    fn root_of(partitions: Vec<Partition>) -> std::result::Result<String, String> {
        Layout { partitions, disk_len: 0 }.root("x").map(|p| p.label.clone()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_root_is_told_by_type_before_label() {
        let x86 = Kind::Root("x86-64");
        let both = vec![partition(Kind::Other, "rootfs"), partition(x86, "edge_1.0")];
        assert_eq!(root_of(both).unwrap(), "edge_1.0");
        assert_eq!(root_of(vec![partition(Kind::Other, "rootfs")]).unwrap(), "rootfs");
        assert_eq!(root_of(vec![partition(x86, "edge_1.0"), partition(x86, "_empty")]).unwrap(), "edge_1.0");
        assert!(
            root_of(vec![partition(x86, "a"), partition(x86, "b")]).unwrap_err().contains("more than one")
        );
        assert!(root_of(vec![partition(Kind::Other, "data")]).unwrap_err().contains("no root"));
    }

    #[test]
    fn an_image_without_a_partition_table_is_refused() {
        let error = Layout::parse(&[0; HEAD], "x.raw").unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("whole disk"));
    }
}
