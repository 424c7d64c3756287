//! Disks in memory, thousands of which differ in a few sectors.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::rc::Rc;

use crate::{Error, Result};

/// Bytes in a sector.
pub const SECTOR: usize = 512;

/// The content of one sector.
pub type Content = [u8; SECTOR];

const ZEROS: Content = [0; SECTOR];

/// Every content that a sector has had, once; a number stands for each, 0 for zeros.
#[derive(Debug)]
struct Pool {
    contents: Vec<Content>,
    numbers: HashMap<Content, u32>,
}

/// The content of a whole disk. Cloning is cheap until one of the two is changed.
#[derive(Debug, Clone)]
pub struct Sectors {
    pool: Rc<RefCell<Pool>>,
    numbers: Rc<Vec<u32>>,
    hash: u64,
}

impl Sectors {
    /// A disk of this many sectors, all zeros.
    #[must_use]
    pub fn zeros(count: usize) -> Sectors {
        let pool = Pool { contents: vec![ZEROS], numbers: HashMap::from([(ZEROS, 0)]) };
        Sectors { pool: Rc::new(RefCell::new(pool)), numbers: Rc::new(vec![0; count]), hash: 0 }
    }

    /// Reads a raw disk image.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(path: &Path) -> Result<Sectors> {
        let mut file = File::open(path).map_err(Error::at("open", path))?;
        let bytes = file.metadata().map_err(Error::at("read", path))?.len();
        let mut disk = Sectors::zeros(usize::try_from(bytes).unwrap_or(0).div_ceil(SECTOR));
        let mut buffer = vec![0; 256 * SECTOR];
        let zeros = buffer.clone();
        let mut at = 0;
        loop {
            let mut filled = 0;
            while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match file.read(rest).map_err(Error::at("read", path))? {
                    0 => break,
                    count => filled += count,
                }
            }
            let read = buffer.get(..filled).unwrap_or_default();
            if read.is_empty() {
                return Ok(disk);
            }
            if Some(read) != zeros.get(..filled) {
                let numbers = disk.intern(read);
                disk.set(at, &numbers);
            }
            at += (filled / SECTOR) as u64;
        }
    }

    /// Writes to a raw disk image what differs from `known`, which is what the image holds.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_changes(&self, path: &Path, known: &Sectors) -> Result<()> {
        let mut file = OpenOptions::new().write(true).open(path).map_err(Error::at("open", path))?;
        let pairs = self.numbers.iter().zip(known.numbers.iter()).zip(0_u64..);
        for (_, at) in pairs.filter(|((new, old), _)| new != old) {
            file.seek(SeekFrom::Start(at * SECTOR as u64)).map_err(Error::at("write", path))?;
            file.write_all(&self.content(at)).map_err(Error::at("write", path))?;
        }
        Ok(())
    }

    /// How many sectors there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.numbers.len() as u64
    }

    /// The numbers that stand for these bytes, a sector each; the last one is filled up with zeros.
    #[must_use]
    pub fn intern(&self, bytes: &[u8]) -> Vec<u32> {
        let mut pool = self.pool.borrow_mut();
        let mut number = |part: &[u8]| {
            let mut content = ZEROS;
            content.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
            if let Some(known) = pool.numbers.get(&content) {
                return *known;
            }
            let next = u32::try_from(pool.contents.len()).unwrap_or(u32::MAX);
            pool.contents.push(content);
            pool.numbers.insert(content, next);
            next
        };
        bytes.chunks(SECTOR).map(&mut number).collect()
    }

    /// Gives the sectors from `at` on other contents, by their numbers; what lies behind the end of
    /// the disk is dropped.
    pub fn set(&mut self, at: u64, numbers: &[u32]) {
        let all = Rc::make_mut(&mut self.numbers);
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let Some(places) = all.get_mut(start..) else { return };
        for ((place, new), sector) in places.iter_mut().zip(numbers).zip(at..) {
            self.hash ^= mark(sector, *place) ^ mark(sector, *new);
            *place = *new;
        }
    }

    /// The number of a sector's content; zeros behind the end.
    #[must_use]
    pub fn number(&self, at: u64) -> u32 {
        usize::try_from(at).ok().and_then(|at| self.numbers.get(at)).copied().unwrap_or(0)
    }

    /// The bytes of a sector.
    #[must_use]
    pub fn content(&self, at: u64) -> Content {
        let number = self.number(at) as usize;
        self.pool.borrow().contents.get(number).copied().unwrap_or(ZEROS)
    }

    /// Equal for equal disks; different ones have the same one by chance only (64 bits).
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The bytes of some of the sectors, one after the other, as a file.
    #[must_use]
    pub fn reader(&self, sectors: Vec<u64>, length: u64) -> Reader {
        Reader { disk: self.clone(), sectors, length, position: 0 }
    }
}

/// What one sector contributes to the hash of a disk; nothing where it holds zeros.
fn mark(sector: u64, number: u32) -> u64 {
    if number == 0 {
        return 0;
    }
    crate::seed::mix(sector.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (u64::from(number) << 32))
}

/// Sectors of a disk as a file to be read.
#[derive(Debug)]
pub struct Reader {
    disk: Sectors,
    sectors: Vec<u64>,
    length: u64,
    position: u64,
}

impl Read for Reader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let sector = SECTOR as u64;
        let index = usize::try_from(self.position / sector).unwrap_or(usize::MAX);
        let left = usize::try_from(self.length.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let (Some(at), 1..) = (self.sectors.get(index), left) else { return Ok(0) };
        let content = self.disk.content(*at);
        let from = content.get(usize::try_from(self.position % sector).unwrap_or(0)..).unwrap_or_default();
        let count = from.len().min(to.len()).min(left);
        to.iter_mut().zip(from.iter().take(count)).for_each(|(to, from)| *to = *from);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Reader {
    fn seek(&mut self, target: SeekFrom) -> io::Result<u64> {
        let position = match target {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn equal_disks_have_one_hash_however_they_came_about() {
        let mut one = Sectors::zeros(8);
        let (a, b) = (one.intern(b"a"), one.intern(b"b"));
        let empty = one.hash();
        let mut two = one.clone();
        one.set(3, &a);
        two.set(3, &b);
        two.set(5, &a);
        assert_ne!(one.hash(), two.hash());
        two.set(3, &a);
        two.set(5, &[0]);
        assert_eq!(one.hash(), two.hash());
        assert_ne!(one.hash(), empty);
    }

    #[test]
    fn a_disk_is_read_back_as_it_was_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1000 * 512).unwrap();
        let known = Sectors::read(file.path()).unwrap();
        let mut disk = known.clone();
        let text = disk.intern(&[7; 1300]);
        disk.set(998, &text);
        disk.write_changes(file.path(), &known).unwrap();
        let again = Sectors::read(file.path()).unwrap();
        assert_eq!((again.count(), again.content(999)), (1000, [7; 512]));
        let mut bytes = Vec::new();
        disk.reader(vec![998, 0, 999], 1030).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [vec![7; 512], vec![0; 512], vec![7; 6]].concat());
    }
}
