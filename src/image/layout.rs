//! The partition table of a whole-disk image.

use std::io::Cursor;

use crate::disk::gpt::PartitionTable;
use crate::disk::role::Role;
use abide_core::arch;
use abide_core::arch::Arch;
use abide_core::boot::esp::partitions::ESP_TYPE;
use abide_core::error::{Error, OrError, Result};

/// Bytes at the start of an image that contain its whole partition table, which takes 24 KiB with
/// sectors of 4096 bytes.
pub const HEAD: usize = 64 * 1024;

/// Labels of a root whose type is not that of a root.
const ROOT_LABELS: [&str; 4] = ["rootfs", "rootfs_a", "root", "root-a"];

/// The type of a partition of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionType {
    /// The EFI system partition.
    Esp,
    /// A root, for this architecture.
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
pub struct ImagePartition {
    /// What it is, by its type.
    pub kind: PartitionType,
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

impl ImagePartition {
    /// The byte after its last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }
}

/// The partitions of an image, in the order of their position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// All of them.
    pub partitions: Vec<ImagePartition>,
    /// Length of the whole image in bytes, by its partition table.
    pub disk_len: u64,
}

impl Layout {
    /// Reads the partition table out of the first [`HEAD`] bytes.
    ///
    /// # Errors
    /// [`Error::Image`] if there is none, or it is corrupt.
    pub fn parse(head: &[u8], name: &str) -> Result<Self> {
        let table = PartitionTable::read(&mut Cursor::new(head)).or_image(|| {
            format!("{name}: has no valid partition table; it must be the image of a whole disk with a GPT")
        })?;
        let corrupt = |label: &str| {
            Error::Image(format!(
                "{name}: corrupt partition table: partition '{label}' has an invalid start or end"
            ))
        };
        let mut partitions = Vec::new();
        for entry in table.partitions.values() {
            let sectors = entry
                .last_lba
                .checked_sub(entry.first_lba)
                .and_then(|n| n.checked_add(1))
                .ok_or_else(|| corrupt(&entry.name))?;
            let bytes = |sectors: u64| sectors.checked_mul(table.sector).ok_or_else(|| corrupt(&entry.name));
            let partition = ImagePartition {
                kind: kind_of(&entry.part_type_guid.guid.to_string()),
                label: entry.name.clone(),
                uuid: entry.part_guid.to_string(),
                start: bytes(entry.first_lba)?,
                len: bytes(sectors)?,
                flags: entry.flags,
            };
            if partition.start.checked_add(partition.len).is_none() {
                return Err(corrupt(&entry.name));
            }
            partitions.push(partition);
        }
        partitions.sort_unstable_by_key(|p| p.start);
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
    pub fn esp(&self, name: &str) -> Result<&ImagePartition> {
        let all: Vec<&ImagePartition> =
            self.partitions.iter().filter(|p| p.kind == PartitionType::Esp).collect();
        match all.as_slice() {
            [esp] => Ok(esp),
            [] => Err(Error::Image(format!("{name}: has no EFI system partition, and so no UKI"))),
            _ => Err(Error::Image(format!("{name}: has more than one EFI system partition"))),
        }
    }

    /// The root: the only partition of a root's type that is not an empty or second slot, else
    /// the one with the label of a root.
    ///
    /// # Errors
    /// [`Error::Image`] if there is none, or more than one.
    pub fn root(&self, name: &str) -> Result<&ImagePartition> {
        let spare = |p: &ImagePartition| matches!(p.label.as_str(), "_empty" | "rootfs_b" | "root-b");
        let typed = self.partitions.iter().filter(|p| matches!(p.kind, PartitionType::Root(_)) && !spare(p));
        let labelled = self.partitions.iter().filter(|p| ROOT_LABELS.contains(&p.label.as_str()));
        let typed: Vec<&ImagePartition> = typed.collect();
        let all = if typed.is_empty() { labelled.collect() } else { typed };
        match all.as_slice() {
            [root] => Ok(root),
            [] => Err(Error::Image(format!(
                "{name}: has no root partition; give it the type of a root, or the label 'rootfs'"
            ))),
            _ => Err(Error::Image(format!(
                "{name}: has more than one root partition ({})",
                all.iter().map(|p| p.label.as_str()).collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    /// The partitions of a slot, in the order of their position.
    ///
    /// # Errors
    /// [`Error::Image`] if there is no root, or which one to write is ambiguous.
    pub fn slot(&self, name: &str) -> Result<Vec<(Role, ImagePartition)>> {
        let mut found = vec![(Role::Root, self.root(name)?.clone())];
        for (role, kind) in
            [(Role::Verity, PartitionType::Verity), (Role::VeritySig, PartitionType::VeritySig)]
        {
            found.extend(self.only(kind, name)?.map(|partition| (role, partition.clone())));
        }
        found.sort_unstable_by_key(|(_, partition)| partition.start);
        Ok(found)
    }

    /// The only partition of this type that is not empty.
    fn only(&self, kind: PartitionType, name: &str) -> Result<Option<&ImagePartition>> {
        let mut all = self.partitions.iter().filter(|p| p.kind == kind && p.label != "_empty");
        match (all.next(), all.next()) {
            (first, None) => Ok(first),
            (_, Some(second)) => Err(Error::Image(format!(
                "{name}: has more than one partition of the type of '{}'; which one to write is ambiguous",
                second.label
            ))),
        }
    }
}

fn kind_of(guid: &str) -> PartitionType {
    if guid == ESP_TYPE {
        return PartitionType::Esp;
    }
    let kind_for = |arch: &Arch| {
        if guid == arch.types.root {
            Some(PartitionType::Root(arch.name))
        } else if arch.types.verity == Some(guid) {
            Some(PartitionType::Verity)
        } else if arch.types.verity_sig == Some(guid) {
            Some(PartitionType::VeritySig)
        } else {
            None
        }
    };
    arch::ALL.iter().find_map(kind_for).unwrap_or(PartitionType::Other)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn partition(kind: PartitionType, label: &str) -> ImagePartition {
        ImagePartition { kind, label: label.into(), uuid: String::new(), start: 0, len: 1, flags: 0 }
    }

    fn root_of(partitions: Vec<ImagePartition>) -> std::result::Result<String, String> {
        Layout { partitions, disk_len: 0 }.root("x").map(|p| p.label.clone()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_root_is_found_by_type_before_label() {
        let x86 = PartitionType::Root("x86-64");
        let both = vec![partition(PartitionType::Other, "rootfs"), partition(x86, "edge_1.0")];
        assert_eq!(root_of(both).unwrap(), "edge_1.0");
        assert_eq!(root_of(vec![partition(PartitionType::Other, "rootfs")]).unwrap(), "rootfs");
        assert_eq!(root_of(vec![partition(x86, "edge_1.0"), partition(x86, "_empty")]).unwrap(), "edge_1.0");
        assert!(
            root_of(vec![partition(x86, "a"), partition(x86, "b")]).unwrap_err().contains("more than one")
        );
        assert!(root_of(vec![partition(PartitionType::Other, "data")]).unwrap_err().contains("no root"));
    }

    #[test]
    fn an_image_without_a_partition_table_is_refused() {
        let error = Layout::parse(&[0; HEAD], "x.raw").unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("whole disk"));
    }
}
