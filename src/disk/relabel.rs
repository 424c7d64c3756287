//! Giving a partition of a slot another UUID, label or type.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use gpt::partition::Partition;
use log::info;
use nix::fcntl::{Flock, FlockArg};

use crate::disk::gpt::{EntryChange, PartitionTable, SecondCopy};
use crate::disk::table_change::TableChange;
use abide_core::disk::Area;
use abide_core::disk::block;
use abide_core::disk::links::{links, node_of};
use abide_core::error::{Error, OrError, Result};
use abide_core::root::Root;

/// The entry of a slot's partition in the table of its disk.
#[derive(Debug, Clone, Copy)]
pub struct TableEntry<'a>(pub &'a Area);

impl TableEntry<'_> {
    /// Changes the partition's entry: on the running system in the disk's partition table, durable when
    /// this returns; with `--root` the links below `DIR/dev/disk` instead.
    ///
    /// The running kernel keeps the old values of a disk in use until the next boot; udev reads the
    /// table again when the disk is closed, and updates the links.
    ///
    /// # Errors
    /// [`Error::Image`] if the partition table cannot be read or written, [`Error::Refused`]
    /// if another partition of the disk has that UUID, or the disk's second partition table is not at its end.
    pub fn change(&self, root: &Root, change: &EntryChange) -> Result<()> {
        if *change == EntryChange::default() {
            return Ok(());
        }
        if root.is_live() { self.change_table(change) } else { self.change_links(root, change) }
    }

    /// Whether [`TableEntry::change`] would be refused; changes nothing.
    ///
    /// # Errors
    /// As [`TableEntry::change`].
    pub fn check_change(&self, root: &Root, change: &EntryChange) -> Result<()> {
        if *change == EntryChange::default() {
            return Ok(());
        }
        if !root.is_live() {
            return self.check_links(root, change);
        }
        let (path, number) = self.disk()?;
        let cannot = || format!("{}: cannot read its partition table", path.display());
        self.plan(&path, &mut File::open(&path).or_image(cannot)?, number, change).map(drop)
    }

    /// What is to be written to `disk`, which is at `path` and has this as partition `number`; nothing is written.
    fn plan(
        &self,
        path: &Path,
        disk: &mut (impl Read + Seek),
        number: u32,
        change: &EntryChange,
    ) -> Result<TableChange> {
        let cannot = || format!("{}: cannot change its partition table", path.display());
        let table = PartitionTable::read(disk).or_image(cannot)?;
        let taken = |(n, p): &(&u32, &Partition)| **n != number && change.uuid == Some(p.part_guid);
        if let Some((other, _)) = table.partitions.iter().find(taken) {
            return Err(Error::Refused(format!(
                "{}: partition {other} already has the UUID that the image requires for {}",
                path.display(),
                self.0.node
            )));
        }
        if table.partitions.get(&number).is_some_and(|p| change.is_made(p)) {
            return Ok(TableChange::default());
        }
        let second = table.second_copy(disk.seek(SeekFrom::End(0)).or_image(cannot)?);
        if second != SecondCopy::AtEnd {
            return Err(Error::Refused(format!(
                "{}: its second partition table is {second}, so a power cut while the first one is changed \
                 could leave the disk without partitions; {}",
                path.display(),
                second_copy_remedy(path)
            )));
        }
        TableChange::plan(&table, disk, number, change).or_image(cannot)
    }

    fn change_table(&self, change: &EntryChange) -> Result<()> {
        let (path, number) = self.disk()?;
        let cannot = || format!("{}: cannot change its partition table", path.display());
        // A disk that was open for writing is read again by udev, even if nothing was written.
        let mut disk = File::open(&path).or_image(cannot)?;
        if self.plan(&path, &mut disk, number, change)?.is_empty() {
            // What an interrupted change has written may be in the page cache only.
            return disk.sync_all().or_image(cannot);
        }
        let disk = OpenOptions::new().read(true).write(true).open(&path).or_image(cannot)?;
        // udev and other tools leave a locked disk alone (systemd's "Locking Block Device Access").
        let mut disk = Flock::lock(disk, FlockArg::LockExclusive).map_err(|(_, e)| e).or_image(cannot)?;
        let planned = self.plan(&path, &mut *disk, number, change)?;
        planned.perform(&mut *disk, |disk: &mut File| disk.sync_all()).or_image(cannot)?;
        info!("{}: partition {number} changed: {change:?}", path.display());
        Ok(())
    }

    fn disk(&self) -> Result<(PathBuf, u32)> {
        let cannot = || Error::Image(format!("{}: cannot find its disk", self.0.device.display()));
        disk_of(&Root::live(), self.0).ok_or_else(cannot)
    }

    fn check_links(&self, root: &Root, change: &EntryChange) -> Result<()> {
        let uuid = change.uuid.map(|uuid| format!("/dev/disk/by-partuuid/{uuid}"));
        let label = change.label.as_ref().map(|label| format!("/dev/disk/by-partlabel/{label}"));
        for link in uuid.into_iter().chain(label) {
            let path = root.path(&link);
            if path.symlink_metadata().is_ok() && node_of(root, &link)? != self.0.node {
                return Err(Error::Refused(format!(
                    "{}: already belongs to another partition",
                    path.display()
                )));
            }
        }
        Ok(())
    }

    fn change_links(&self, root: &Root, change: &EntryChange) -> Result<()> {
        self.check_links(root, change)?;
        if let Some(uuid) = change.uuid {
            self.replace_link(root, "/dev/disk/by-partuuid", &uuid.to_string())?;
        }
        if let Some(label) = &change.label {
            self.replace_link(root, "/dev/disk/by-partlabel", label)?;
        }
        Ok(())
    }

    /// Leaves `name` as the only link in `dir` that leads to this partition.
    fn replace_link(&self, root: &Root, dir: &str, name: &str) -> Result<()> {
        let folder = root.path(dir);
        let cannot = || format!("{}: cannot change", folder.display());
        fs::create_dir_all(&folder).or_image(cannot)?;
        let link = folder.join(name);
        for (old, node) in links(root, dir)? {
            if node == self.0.node && old != name {
                fs::remove_file(folder.join(old)).or_image(cannot)?;
            }
        }
        if link.symlink_metadata().is_err() {
            let target = self.0.node.strip_prefix("/dev/").map(|n| format!("../../{n}"));
            symlink(target.as_deref().unwrap_or(&self.0.node), &link).or_image(cannot)?;
        }
        File::open(&folder).and_then(|f| f.sync_all()).or_image(cannot)
    }
}

/// The node of the disk that a partition is on, as the machine itself names it, and the partition's number there.
#[must_use]
pub fn disk_of(root: &Root, area: &Area) -> Option<(PathBuf, u32)> {
    let devno = block::devno_of(&area.device);
    let is_it = |p: &block::Partition| Some(&p.devno) == devno.as_ref() || p.node == area.node;
    let partition = block::partitions(root).into_iter().find(is_it)?;
    Some((block::node_of_disk(&Root::live(), &partition.disk), partition.number))
}

/// What to do about a second partition table that is not at the end of the disk.
#[must_use]
pub fn second_copy_remedy(disk: &Path) -> String {
    format!("run: sgdisk --move-second-header {}", disk.display())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::io::Cursor;

    use super::*;
    use crate::disk::role::root_area;
    use abide_core::disk::Slots;
    use abide_testing::gpt_disk::GptDisk;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let dev = dir.path().join("dev");
        for folder in ["disk/by-partlabel", "disk/by-partuuid"] {
            fs::create_dir_all(dev.join(folder)).unwrap();
        }
        for (node, label, uuid) in [
            ("sda2", "edge_1.0", "00000000-0000-0000-0000-00000000000a"),
            ("sda3", "_empty", "00000000-0000-0000-0000-00000000000b"),
        ] {
            fs::write(dev.join(node), "x").unwrap();
            symlink(format!("../../{node}"), dev.join("disk/by-partlabel").join(label)).unwrap();
            symlink(format!("../../{node}"), dev.join("disk/by-partuuid").join(uuid)).unwrap();
        }
        dir
    }

    #[test]
    fn in_a_tree_the_links_stand_for_the_partition_table() {
        let dir = tree();
        let root = Root::at(dir.path());
        let slot = root_area(&Slots::find(&root, None).unwrap().b);
        let change = EntryChange {
            uuid: Some(uuid::Uuid::from_u128(0xc)),
            label: Some("edge_2.0".into()),
            ..EntryChange::default()
        };
        for _ in 0..2 {
            TableEntry(&slot).change(&root, &change).unwrap();
            let slots = Slots::find(&root, None).unwrap();
            assert_eq!(slots.b.label, "edge_2.0");
            assert_eq!(slots.b.partuuid.as_deref(), Some("00000000-0000-0000-0000-00000000000c"));
            assert_eq!(slots.b.node, "/dev/sda3");
            assert_eq!(slots.a.label, "edge_1.0");
        }
    }

    #[test]
    fn a_second_table_that_is_not_at_the_end_is_refused_before_any_write() {
        let area =
            Area { device: "/dev/sda6".into(), node: "/dev/sda6".into(), label: "rootfs_b".into(), size: 0 };
        let plan = |bytes: &[u8], change: &EntryChange| {
            TableEntry(&area).plan(Path::new("/dev/sda"), &mut Cursor::new(bytes), 6, change)
        };
        let relabel = EntryChange { label: Some("edge_2.0".into()), ..EntryChange::default() };
        let same = EntryChange { label: Some("rootfs_b".into()), ..EntryChange::default() };
        let whole = GptDisk::new(512).bytes();
        assert!(!plan(&whole, &relabel).unwrap().is_empty());

        let larger = [whole.as_slice(), &[0; 1 << 20]].concat();
        for (disk, place) in [(larger.as_slice(), "before"), (&whole[..whole.len() - 512], "beyond")] {
            let error = plan(disk, &relabel).unwrap_err();
            assert_eq!(error.exit_code(), 6);
            assert!(error.to_string().contains(&format!("{place} the end of the disk")), "{error}");
            assert!(error.to_string().ends_with("run: sgdisk --move-second-header /dev/sda"), "{error}");
            assert!(plan(disk, &same).unwrap().is_empty());
        }

        // At the end, but damaged: the first one says where it is, so it is made anew.
        let mut damaged = whole.clone();
        let last = damaged.len() - 512;
        damaged[last..].fill(0);
        assert!(!plan(&damaged, &relabel).unwrap().is_empty());
    }

    #[test]
    fn a_uuid_that_another_partition_has_is_refused() {
        let dir = tree();
        let root = Root::at(dir.path());
        let slot = root_area(&Slots::find(&root, None).unwrap().b);
        let change = EntryChange { uuid: Some(uuid::Uuid::from_u128(0xa)), ..EntryChange::default() };
        assert_eq!(TableEntry(&slot).change(&root, &change).unwrap_err().exit_code(), 6);
    }
}
