//! Files and directories of a FAT.

use std::io::{self, Read, Seek, SeekFrom};

use crate::boot::esp::fat::disk::ReadAt;
use crate::boot::esp::fat::layout::{FatLayout, Sector, Window, invalid};
use crate::boot::esp::fat::names::{self, Named};

/// A FAT that is only read.
#[derive(Debug)]
pub struct Fat<D> {
    disk: D,
    layout: FatLayout,
}

impl<D: ReadAt> Fat<D> {
    /// The FAT on `disk`.
    ///
    /// # Errors
    /// If it cannot be read, or is not a FAT.
    pub fn open(disk: D) -> io::Result<Self> {
        let layout = FatLayout::read(&disk)?;
        Ok(Self { disk, layout })
    }

    /// Where its parts are.
    #[must_use]
    pub fn layout(&self) -> &FatLayout {
        &self.layout
    }

    /// The sectors of a directory; `None` if there is none. Its path has `/` between the names, in any case.
    ///
    /// # Errors
    /// If it cannot be read or is damaged.
    pub fn directory(&self, path: &str) -> io::Result<Option<Vec<Sector>>> {
        let mut sectors = self.layout.root(&self.disk)?;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let names = self.names(&sectors);
            let Some(found) = names.iter().find(|named| named.is(part) && named.is_dir) else {
                return Ok(None);
            };
            sectors = self.layout.directory(&self.disk, found.first)?;
        }
        Ok(Some(sectors))
    }

    /// The names in these sectors of a directory.
    #[must_use]
    pub fn names(&self, directory: &[Sector]) -> Vec<Named> {
        names::read(&self.layout, directory)
    }

    /// Whether this cluster belongs to no file.
    ///
    /// # Errors
    /// If the table of clusters cannot be read, or has no such cluster.
    pub fn is_free(&self, cluster: u32) -> io::Result<bool> {
        self.layout.is_free(&self.disk, cluster)
    }

    /// What is in a directory; `None` if there is none.
    ///
    /// # Errors
    /// As [`Fat::directory`].
    pub fn list(&self, path: &str) -> io::Result<Option<Vec<Named>>> {
        Ok(self.directory(path)?.map(|sectors| self.names(&sectors)))
    }

    /// A file, for reading.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none; if a directory or the file is damaged.
    pub fn file(&self, path: &str) -> io::Result<FatFile<D>>
    where
        D: Clone,
    {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let names = self.list(dir)?.unwrap_or_default();
        let found = names.iter().find(|named| named.is(name) && !named.is_dir);
        let found = found.ok_or(io::ErrorKind::NotFound)?;
        // This bounds the number of clusters, too.
        if found.len > self.layout.capacity() {
            return Err(invalid("file length"));
        }
        Ok(FatFile {
            disk: self.disk.clone(),
            layout: self.layout,
            window: Window::default(),
            clusters: vec![found.first],
            len: found.len,
            at: 0,
        })
    }
}

/// An open file.
#[derive(Debug)]
pub struct FatFile<D> {
    disk: D,
    layout: FatLayout,
    window: Window,
    /// Its clusters as far as they were needed; one at least.
    clusters: Vec<u32>,
    len: u64,
    at: u64,
}

impl<D: ReadAt> FatFile<D> {
    /// Its cluster of this number.
    fn cluster(&mut self, index: u64) -> io::Result<u32> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        loop {
            if let Some(cluster) = self.clusters.get(index) {
                return Ok(*cluster);
            }
            let last = self.clusters.last().copied().unwrap_or_default();
            let next = self.layout.next(&self.disk, &mut self.window, last)?;
            // The chain is shorter than the file (Linux, `fat_bmap_cluster`).
            self.clusters.push(next.ok_or_else(|| invalid("cluster chain"))?);
        }
    }

    /// How many of `wanted` bytes lie in a row from the current position on, and where.
    fn run(&mut self, wanted: u64) -> io::Result<(u64, u64)> {
        let size = self.layout.cluster_size();
        let (mut index, inside) = (self.at / size, self.at % size);
        let mut cluster = self.cluster(index)?;
        let place = self.layout.place(cluster)? + inside;
        let mut len = size - inside;
        while len < wanted {
            index += 1;
            // An error there is reported when the next read needs that cluster.
            match self.cluster(index) {
                Ok(next) if next == cluster + 1 => cluster = next,
                _ => break,
            }
            len += size;
        }
        Ok((place, len.min(wanted)))
    }
}

impl<D: ReadAt> Read for FatFile<D> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let wanted = self.len.saturating_sub(self.at).min(bytes.len() as u64);
        if wanted == 0 {
            return Ok(0);
        }
        let (place, len) = self.run(wanted)?;
        let count = usize::try_from(len).unwrap_or_default();
        self.disk.read_all_at(bytes.get_mut(..count).unwrap_or_default(), place)?;
        self.at += len;
        Ok(count)
    }
}

impl<D: ReadAt> Seek for FatFile<D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
