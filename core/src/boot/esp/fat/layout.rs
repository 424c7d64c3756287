//! Where the parts of a FAT are, and its chains of clusters.
//!
//! The kind of a FAT follows from its boot sector as in Linux (`fat_read_bpb`, `fat_fill_super`): it is FAT32 if it has
//! no 16-bit length of its tables, whatever the number of clusters. Others ask for 65525 clusters at least; with 4096-byte
//! sectors an ESP below 257 MiB has fewer (systemd 36370, edk2 12761). Offsets are those of Microsoft's specification
//! (FAT: General Overview of On-Disk Format, 1.03).

use std::io::{self, ErrorKind};

use crate::boot::esp::directory_entries::SIZE;
use crate::boot::esp::fat::disk::ReadAt;

/// Bytes of a directory; the specification has no larger ones (Linux, `FAT_MAX_DIR_SIZE`).
const LARGEST: u64 = 65_536 * SIZE as u64;
/// Bytes of a table that are read at once.
const WINDOW: u64 = 4096;
/// Most clusters of each kind (Linux, `MAX_FAT12`, `MAX_FAT16`, `MAX_FAT32`).
const MOST_12: u64 = 0xff4;
const MOST_16: u64 = 0xfff4;
const MOST_32: u64 = 0x0fff_fff6;

/// A sector, at this byte of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sector {
    /// Its first byte.
    pub at: u64,
    /// What it holds.
    pub content: Vec<u8>,
}

/// The number of bits of an entry in the table of clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Fat12,
    Fat16,
    Fat32,
}

/// Where the root directory is.
#[derive(Debug, Clone, Copy)]
enum RootDirectory {
    /// FAT12 and FAT16: from this byte on, so many bytes.
    Fixed(u64, u64),
    /// FAT32: it begins in this cluster.
    Chain(u32),
}

/// Where the parts of the file system are, in bytes of the device.
#[derive(Debug, Clone, Copy)]
pub struct FatLayout {
    sector: u64,
    cluster: u64,
    table: u64,
    width: Width,
    root: RootDirectory,
    data: u64,
    clusters: u64,
    is_plain: bool,
}

/// What the table has for a cluster.
enum InTable {
    Free,
    Next(u32),
    End,
}

/// A part of the table of clusters.
#[derive(Debug, Default)]
pub struct Window {
    at: u64,
    bytes: Vec<u8>,
}

impl FatLayout {
    /// Reads the boot sector.
    ///
    /// # Errors
    /// If it cannot be read, or is not that of a FAT.
    pub fn read(disk: &impl ReadAt) -> io::Result<Self> {
        let boot = read_at(disk, 0, 512)?;
        let [long, word, byte] = [4, 2, 1].map(|len| {
            let boot = &boot;
            move |at| number(boot, at, len)
        });
        let sector = word(11);
        let (per_cluster, reserved, tables, entries) = (byte(13), word(14), byte(16), word(17));
        let is_32 = word(22) == 0;
        let length = if is_32 { long(36) } else { word(22) };
        let is_valid = [512, 1024, 2048, 4096].contains(&sector)
            && per_cluster.is_power_of_two()
            && reserved > 0
            && tables > 0
            && (byte(21) == 0xf0 || byte(21) >= 0xf8)
            && length > 0
            && (entries * SIZE as u64).is_multiple_of(sector);
        if !is_valid {
            return Err(invalid("boot sector"));
        }
        let root = (reserved + tables * length) * sector;
        let root_len = entries * SIZE as u64;
        let total = if word(19) == 0 { long(32) } else { word(19) };
        let in_data = total.checked_sub((root + root_len) / sector).ok_or_else(|| invalid("length"))?;
        let (clusters, width) = match in_data / per_cluster {
            clusters if is_32 => (clusters, Width::Fat32),
            clusters if clusters > MOST_12 => (clusters, Width::Fat16),
            clusters => (clusters, Width::Fat12),
        };
        let (bits, most) = match width {
            Width::Fat12 => (12, MOST_12),
            Width::Fat16 => (16, MOST_16),
            Width::Fat32 => (32, MOST_32),
        };
        // The first two entries of the table are none of clusters.
        let clusters = clusters.min((length * sector * 8 / bits).saturating_sub(2));
        if clusters == 0 || clusters > most {
            return Err(invalid("cluster count"));
        }
        Ok(Self {
            sector,
            cluster: per_cluster * sector,
            table: reserved * sector,
            width,
            root: if is_32 {
                RootDirectory::Chain(u32::try_from(long(44)).unwrap_or_default())
            } else {
                RootDirectory::Fixed(root, root_len)
            },
            data: root + root_len,
            clusters,
            is_plain: word(510) == 0xaa55 && (!is_32 || word(40) & 0x80 == 0),
        })
    }

    /// Whether it is beyond doubt a FAT, whose first table counts: for those who write to it. Linux neither asks for
    /// the signature of the boot sector, nor for which of several tables is the valid one (FAT32).
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Whether it is FAT32 for Linux, and has too few clusters for one by the specification.
    #[must_use]
    pub fn is_too_small(&self) -> bool {
        self.width == Width::Fat32 && self.clusters < 65_525
    }

    /// Bytes of a cluster.
    #[must_use]
    pub fn cluster_size(&self) -> u64 {
        self.cluster
    }

    /// Bytes of all clusters.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.clusters * self.cluster
    }

    /// The first byte of a cluster.
    ///
    /// # Errors
    /// If there is no such cluster.
    pub fn place(&self, cluster: u32) -> io::Result<u64> {
        let index = u64::from(cluster).checked_sub(2).filter(|index| *index < self.clusters);
        index.map(|index| self.data + index * self.cluster).ok_or_else(|| invalid("cluster chain"))
    }

    /// The cluster after this one; `None` at the end of its chain.
    ///
    /// # Errors
    /// If the table cannot be read, or names no cluster there.
    pub fn next(&self, disk: &impl ReadAt, window: &mut Window, cluster: u32) -> io::Result<Option<u32>> {
        match self.in_table(disk, window, cluster)? {
            InTable::Next(next) => self.place(next).map(|_| Some(next)),
            InTable::End => Ok(None),
            InTable::Free => Err(invalid("cluster chain")),
        }
    }

    /// Whether this cluster belongs to no file.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub fn is_free(&self, disk: &impl ReadAt, cluster: u32) -> io::Result<bool> {
        Ok(matches!(self.in_table(disk, &mut Window::default(), cluster)?, InTable::Free))
    }

    fn in_table(&self, disk: &impl ReadAt, window: &mut Window, cluster: u32) -> io::Result<InTable> {
        self.place(cluster)?;
        let number = u64::from(cluster);
        let (offset, len) = match self.width {
            Width::Fat12 => (number + number / 2, 2),
            Width::Fat16 => (number * 2, 2),
            Width::Fat32 => (number * 4, 4),
        };
        let value = window.number(disk, self.table + offset, len)?;
        // A bad cluster ends a chain, too (Linux, `fat12_ent_get` and the others).
        let (value, bad) = match self.width {
            Width::Fat12 if cluster.is_multiple_of(2) => (value & 0xfff, 0xff7),
            Width::Fat12 => (value >> 4, 0xff7),
            Width::Fat16 => (value, 0xfff7),
            Width::Fat32 => (value & 0x0fff_ffff, 0x0fff_fff7),
        };
        match u32::try_from(value).unwrap_or_default() {
            0 => Ok(InTable::Free),
            _ if value >= bad => Ok(InTable::End),
            next => Ok(InTable::Next(next)),
        }
    }

    /// The sectors of the root directory.
    ///
    /// # Errors
    /// As [`FatLayout::directory`].
    pub fn root(&self, disk: &impl ReadAt) -> io::Result<Vec<Sector>> {
        match self.root {
            RootDirectory::Fixed(at, length) => self.sectors(disk, at, length),
            RootDirectory::Chain(first) => self.directory(disk, first),
        }
    }

    /// The sectors of the directory that begins in this cluster.
    ///
    /// # Errors
    /// If they cannot be read, or the directory is endless or otherwise invalid.
    pub fn directory(&self, disk: &impl ReadAt, first: u32) -> io::Result<Vec<Sector>> {
        let (mut sectors, mut window, mut next) = (vec![], Window::default(), Some(first));
        while let Some(cluster) = next {
            sectors.extend(self.sectors(disk, self.place(cluster)?, self.cluster)?);
            if sectors.len() as u64 * self.sector > LARGEST {
                return Err(invalid("directory length"));
            }
            next = self.next(disk, &mut window, cluster)?;
        }
        Ok(sectors)
    }

    fn sectors(&self, disk: &impl ReadAt, at: u64, length: u64) -> io::Result<Vec<Sector>> {
        let all = read_at(disk, at, length)?;
        let sector = usize::try_from(self.sector).unwrap_or(SIZE);
        let places = (at..).step_by(sector);
        Ok(all.chunks(sector).zip(places).map(|(part, at)| Sector { at, content: part.to_vec() }).collect())
    }

    /// The first cluster of a file or directory, from its directory entry.
    #[must_use]
    pub fn first_cluster(&self, entry: &[u8]) -> u32 {
        // Linux leaves the upper half to other uses elsewhere (`fat_get_start`).
        let high = if self.width == Width::Fat32 { number(entry, 20, 2) } else { 0 };
        u32::try_from(high << 16 | number(entry, 26, 2)).unwrap_or_default()
    }
}

impl Window {
    /// The number of `len` bytes at this byte of the disk.
    fn number(&mut self, disk: &impl ReadAt, at: u64, len: u64) -> io::Result<u64> {
        let end = self.at + self.bytes.len() as u64;
        if at < self.at || at + len > end {
            // Chains mostly lead forward. The device may end before the window does.
            let all = read_at(disk, at, WINDOW).or_else(|_| read_at(disk, at, len))?;
            *self = Self { at, bytes: all };
        }
        let offset = usize::try_from(at - self.at).unwrap_or(usize::MAX);
        Ok(number(&self.bytes, offset, len))
    }
}

/// A number of up to eight bytes; 0 where there are none.
#[must_use]
pub fn number(bytes: &[u8], at: usize, len: u64) -> u64 {
    let part = bytes.iter().skip(at).take(usize::try_from(len).unwrap_or_default());
    part.rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn read_at(disk: &impl ReadAt, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length.min(LARGEST)).unwrap_or_default()];
    disk.read_all_at(&mut bytes, at)?;
    Ok(bytes)
}

/// The error of a FAT in which `what` is damaged.
#[must_use]
pub fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("invalid {what} of a FAT file system"))
}
