//! A FAT32 reader of its own, for disks after a power cut: it follows what is there, says where that
//! makes no sense, and repairs nothing. Abide reads FAT with the kernel's driver and with the crate
//! `fatfs`; this is the third opinion.
//!
//! Offsets are those of Microsoft's specification (FAT: General Overview of On-Disk Format, 1.03).

use crate::sectors::{SECTOR, Sectors};

const DIRECTORY: u8 = 0x10;
const VOLUME_LABEL: u8 = 0x08;
const LONG_NAME: u8 = 0x0f;
const READ_ONLY: u8 = 0x01;
const REMOVED: u8 = 0xe5;

/// The bits of a FAT entry that count.
const CLUSTER: u32 = 0x0fff_ffff;
/// From here on: the end of a chain.
const END: u32 = 0x0fff_fff8;

/// What is wrong, for people.
pub type Fault = String;

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The long name, or the short one where there is none.
    pub name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// The read-only attribute.
    pub read_only: bool,
    /// In bytes.
    pub length: u64,
    first: u32,
}

/// The file system.
#[derive(Debug, Clone)]
pub struct Fat {
    disk: Sectors,
    table: u64,
    data: u64,
    per_cluster: u64,
    clusters: u32,
    root: u32,
}

impl Fat {
    /// Looks at the file system that starts at a sector of the disk.
    ///
    /// # Errors
    /// When there is no FAT32 with sectors of 512 bytes.
    pub fn open(disk: &Sectors, start: u64) -> Result<Fat, Fault> {
        let boot = disk.content(start);
        if get16(&boot, 510) != 0xaa55 || get16(&boot, 11) as usize != SECTOR || get16(&boot, 22) != 0 {
            return Err("no FAT32 boot sector".into());
        }
        let (reserved, tables) = (u64::from(get16(&boot, 14)), u64::from(get8(&boot, 16)));
        let (per_cluster, length) = (u64::from(get8(&boot, 13)), u64::from(get32(&boot, 36)));
        let total = u64::from(get32(&boot, 32));
        let before = reserved + tables * length;
        if per_cluster == 0 || total < before {
            return Err("the FAT32 boot sector is invalid".into());
        }
        Ok(Fat {
            disk: disk.clone(),
            table: start + reserved,
            data: start + before,
            per_cluster,
            clusters: u32::try_from((total - before) / per_cluster).unwrap_or(0),
            root: get32(&boot, 44),
        })
    }

    /// The names in a folder, which is found in any case; nothing where there is no such folder.
    ///
    /// # Errors
    /// When a chain of clusters is invalid.
    pub fn list(&self, dir: &str) -> Result<Vec<Item>, Fault> {
        match self.dir(dir)? {
            Some(first) => self.items(first),
            None => Ok(Vec::new()),
        }
    }

    /// A file, found in any case.
    ///
    /// # Errors
    /// When a chain of clusters is invalid.
    pub fn find(&self, path: &str) -> Result<Option<Item>, Fault> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok(self.list(dir)?.into_iter().find(|item| item.name.eq_ignore_ascii_case(name) && !item.is_dir))
    }

    /// The sectors of a file, in order.
    ///
    /// # Errors
    /// When its chain of clusters is longer or shorter than its length says.
    pub fn sectors(&self, item: &Item) -> Result<Vec<u64>, Fault> {
        let chain = if item.first == 0 { Vec::new() } else { self.chain(item.first)? };
        let wanted = item.length.div_ceil(self.per_cluster * SECTOR as u64);
        if chain.len() as u64 != wanted {
            return Err(format!("{} has {} clusters instead of {wanted}", item.name, chain.len()));
        }
        let count = usize::try_from(item.length.div_ceil(SECTOR as u64)).unwrap_or(0);
        Ok(chain.into_iter().flat_map(|cluster| self.of_cluster(cluster)).take(count).collect())
    }

    /// The sectors of a folder.
    ///
    /// # Errors
    /// When a chain of clusters is invalid.
    pub fn sectors_of_dir(&self, dir: &str) -> Result<Vec<u64>, Fault> {
        let Some(first) = self.dir(dir)? else { return Ok(Vec::new()) };
        Ok(self.chain(first)?.into_iter().flat_map(|cluster| self.of_cluster(cluster)).collect())
    }

    fn dir(&self, dir: &str) -> Result<Option<u32>, Fault> {
        let mut at = self.root;
        for part in dir.split('/').filter(|part| !part.is_empty()) {
            let items = self.items(at)?;
            match items.iter().find(|item| item.is_dir && item.name.eq_ignore_ascii_case(part)) {
                Some(item) => at = item.first,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    fn of_cluster(&self, cluster: u32) -> std::ops::Range<u64> {
        let start = self.data + u64::from(cluster - 2) * self.per_cluster;
        start..start + self.per_cluster
    }

    fn chain(&self, first: u32) -> Result<Vec<u32>, Fault> {
        let mut chain = Vec::new();
        let mut cluster = first;
        let mut sector = (u64::MAX, [0; SECTOR]);
        while cluster < END {
            if cluster < 2 || cluster - 2 >= self.clusters {
                return Err(format!(
                    "the chain of cluster {first} leads to {cluster}, which is not a cluster"
                ));
            }
            if chain.len() > self.clusters as usize {
                return Err(format!("the chain of cluster {first} has a loop"));
            }
            chain.push(cluster);
            let at = self.table + u64::from(cluster) * 4 / SECTOR as u64;
            if sector.0 != at {
                sector = (at, self.disk.content(at));
            }
            cluster = get32(&sector.1, cluster as usize * 4 % SECTOR) & CLUSTER;
        }
        Ok(chain)
    }

    fn items(&self, first: u32) -> Result<Vec<Item>, Fault> {
        let mut items = Vec::new();
        let mut long = LongName::default();
        for sector in self.chain(first)?.into_iter().flat_map(|cluster| self.of_cluster(cluster)) {
            for slot in self.disk.content(sector).as_chunks::<32>().0 {
                match (get8(slot, 0), get8(slot, 11)) {
                    (0, _) => return Ok(items),
                    (REMOVED, _) => long = LongName::default(),
                    (_, LONG_NAME) => long.add(slot),
                    (_, attributes) => {
                        let name = std::mem::take(&mut long).finish(slot);
                        if attributes & VOLUME_LABEL == 0 && name != "." && name != ".." {
                            let first = u32::from(get16(slot, 20)) << 16 | u32::from(get16(slot, 26));
                            items.push(Item {
                                name,
                                is_dir: attributes & DIRECTORY != 0,
                                read_only: attributes & READ_ONLY != 0,
                                length: u64::from(get32(slot, 28)),
                                first,
                            });
                        }
                    }
                }
            }
        }
        Ok(items)
    }
}

/// The slots of a long name, which stand before the short one, its end first.
#[derive(Debug, Default)]
struct LongName {
    units: Vec<u16>,
    missing: u8,
    checksum: u8,
}

impl LongName {
    fn add(&mut self, slot: &[u8; 32]) {
        let (order, checksum) = (get8(slot, 0), get8(slot, 13));
        if order & 0x40 != 0 {
            *self = LongName { units: Vec::new(), missing: order & 0x3f, checksum };
        } else if self.missing != order || self.checksum != checksum {
            *self = LongName::default();
            return;
        }
        self.missing = self.missing.saturating_sub(1);
        let offsets = (1..11).step_by(2).chain((14..26).step_by(2)).chain([28, 30]);
        let mut units: Vec<u16> = offsets.map(|at| get16(slot, at)).collect();
        units.append(&mut self.units);
        self.units = units;
    }

    /// The long name if it belongs to this short one, else the short one.
    fn finish(self, slot: &[u8; 32]) -> String {
        let short = slot.first_chunk::<11>().copied().unwrap_or_default();
        let sum = short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        if self.missing == 0 && self.checksum == sum && !self.units.is_empty() {
            let units: Vec<u16> = self.units.into_iter().take_while(|unit| *unit != 0).collect();
            return String::from_utf16_lossy(&units);
        }
        let (base, extension) = short.split_at(8);
        // Windows NT's and Linux's bits for a part that is lower case.
        let text = |bytes: &[u8], bit: u8| {
            let text = String::from_utf8_lossy(bytes).trim_end().to_owned();
            if get8(slot, 12) & bit != 0 { text.to_lowercase() } else { text }
        };
        match (text(base, 0x08), text(extension, 0x10)) {
            (base, extension) if extension.is_empty() => base,
            (base, extension) => format!("{base}.{extension}"),
        }
    }
}

fn get8(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

fn get16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([get8(bytes, at), get8(bytes, at + 1)])
}

fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from(get16(bytes, at)) | u32::from(get16(bytes, at + 2)) << 16
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;

    use super::*;
    use crate::disk::{MIB, create_with_esp};
    use crate::esp::Esp;

    #[test]
    fn what_another_driver_wrote_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        create_with_esp(file.path(), 300).unwrap();
        let esp = Esp::open(file.path()).unwrap();
        let text: Vec<u8> = (0..=255).cycle().take(9000).collect();
        esp.write("EFI/Linux/edge_a-long-name_2.0+3-0.efi", &text).unwrap();
        esp.write("EFI/Linux/staged.uki", b"x").unwrap();
        esp.close().unwrap();
        let disk = Sectors::read(file.path()).unwrap();
        let fat = Fat::open(&disk, MIB / SECTOR as u64).unwrap();
        let names: Vec<String> = fat.list("efi/linux").unwrap().into_iter().map(|item| item.name).collect();
        assert_eq!(names, ["edge_a-long-name_2.0+3-0.efi", "staged.uki"]);
        let item = fat.find("EFI/Linux/EDGE_a-long-name_2.0+3-0.efi").unwrap().unwrap();
        let mut read = Vec::new();
        disk.reader(fat.sectors(&item).unwrap(), item.length).read_to_end(&mut read).unwrap();
        assert_eq!(read, text);
        assert!(fat.list("no/such").unwrap().is_empty());
        assert!(Fat::open(&disk, 0).is_err());
        // A chain that was cut off is no file.
        let short = Item { length: 20_000, ..item };
        assert!(fat.sectors(&short).is_err());
    }
}
