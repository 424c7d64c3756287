//! What a machine wrote to its first disk, in order, and when it asked the disk to flush: recorded by
//! QEMU's `blklogwrites` driver in the format of the kernel's dm-log-writes target
//! (`Documentation/admin-guide/device-mapper/log-writes.rst`).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::sectors::{SECTOR, Sectors};
use crate::{Error, Result};

const MAGIC: u64 = 0x006a_7366_7773_6872;

const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// The longest write that is accepted, in sectors.
const MOST_SECTORS: u64 = 1 << 17;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Data for the disk, which may keep it in its cache.
    Write(Write),
    /// All that was written before is durable.
    Flush,
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The first sector.
    pub at: u64,
    /// The contents, by their numbers in [`Sectors`].
    pub numbers: Vec<u32>,
    /// Durable at once, past the disk's cache.
    pub durable: bool,
}

/// Reads a log while it is written.
#[derive(Debug)]
pub struct Follower {
    file: File,
    next: u64,
    /// Entries so far.
    pub entries: u64,
    /// Flushes among them.
    pub flushes: u64,
}

impl Follower {
    /// Opens a log that QEMU has begun.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> Result<Follower> {
        let file = File::open(path).map_err(Error::at("open", path))?;
        Ok(Follower { file, next: SECTOR as u64, entries: 0, flushes: 0 })
    }

    /// Counts what was added; `None` once nothing is left.
    ///
    /// # Errors
    /// When the log cannot be read or is invalid.
    pub fn step(&mut self) -> Result<Option<Header>> {
        let count = match self.count() {
            Ok(count) => count,
            // Begun, but without its first sector as yet.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(Error::doing("read the log of writes")(error)),
        };
        if self.entries >= count {
            return Ok(None);
        }
        let header = match self.header() {
            // Counted already, and still on its way into the file.
            Ok(header) if header.count == 0 && header.flags == 0 => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            header => header.map_err(Error::doing("read the log of writes"))?,
        };
        let mut next = self.next + SECTOR as u64;
        if header.flags & DISCARD == 0 {
            next += header.count * SECTOR as u64;
        }
        // Killed while it was written: the guest was not told that it is done.
        if self.file.metadata().map_err(Error::doing("read the log of writes"))?.len() < next {
            return Ok(None);
        }
        self.next = next;
        self.entries += 1;
        self.flushes += u64::from(header.flags & FLUSH != 0);
        Ok(Some(header))
    }

    /// The number of entries in the first sector, which is kept up to date.
    fn count(&mut self) -> std::io::Result<u64> {
        let mut bytes = [0; 24];
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_exact(&mut bytes)?;
        let [magic, _, count] = words(&bytes);
        // QEMU writes the first sector when it starts; until then the file is empty or zeros.
        match magic {
            MAGIC => Ok(count),
            0 => Ok(0),
            _ => Err(std::io::Error::other("not a log of writes")),
        }
    }

    fn header(&mut self) -> std::io::Result<Header> {
        let mut bytes = [0; 32];
        self.file.seek(SeekFrom::Start(self.next))?;
        self.file.read_exact(&mut bytes)?;
        let [at, count, flags, _] = words(&bytes);
        if count > MOST_SECTORS || flags > 15 {
            return Err(std::io::Error::other(format!("entry {} is invalid", self.entries)));
        }
        Ok(Header { at, count, flags })
    }
}

/// The head of an entry.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    at: u64,
    count: u64,
    flags: u64,
}

/// Reads a whole log, an entry for each of its own; the contents become numbers of `disk`.
///
/// # Errors
/// When the log cannot be read or is invalid.
pub fn read(path: &Path, disk: &Sectors) -> Result<Vec<Entry>> {
    let mut follower = Follower::open(path)?;
    let mut data = File::open(path).map_err(Error::at("open", path))?;
    let mut entries = Vec::new();
    loop {
        let at = follower.next + SECTOR as u64;
        let Some(header) = follower.step()? else { return Ok(entries) };
        if header.flags & FLUSH != 0 {
            entries.push(Entry::Flush);
            continue;
        }
        // What is discarded keeps its content here: a disk may do that, and nothing discards what it
        // still needs.
        if header.flags & DISCARD != 0 {
            entries.push(Entry::Write(Write { at: header.at, numbers: Vec::new(), durable: false }));
            continue;
        }
        let mut bytes = vec![0; usize::try_from(header.count).unwrap_or(0) * SECTOR];
        data.seek(SeekFrom::Start(at))
            .and_then(|_| data.read_exact(&mut bytes))
            .map_err(Error::at("read", path))?;
        entries.push(Entry::Write(Write {
            at: header.at,
            numbers: disk.intern(&bytes),
            durable: header.flags & FUA != 0,
        }));
    }
}

impl Write {
    /// Does it.
    pub fn apply(&self, disk: &mut Sectors) {
        disk.set(self.at, &self.numbers);
    }

    /// Whether one of its sectors is in `range`.
    #[must_use]
    pub fn touches(&self, range: &std::ops::Range<u64>) -> bool {
        self.at < range.end && range.start < self.at + self.numbers.len() as u64
    }
}

fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::io::Write as _;

    use super::*;

    fn log(entries: &[(u64, u64, u64)]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let sector = |words: &[u64]| {
            let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            bytes.resize(SECTOR, 0);
            bytes
        };
        file.write_all(&sector(&[MAGIC, 1, entries.len() as u64, 512])).unwrap();
        for (at, count, flags) in entries {
            file.write_all(&sector(&[*at, *count, *flags, 0])).unwrap();
            if flags & DISCARD == 0 {
                file.write_all(&vec![0xab; usize::try_from(*count).unwrap() * SECTOR]).unwrap();
            }
        }
        file
    }

    #[test]
    fn writes_and_flushes_are_read_in_their_order() {
        let file = log(&[(5, 2, 0), (9, 9, DISCARD), (0, 0, FLUSH), (1, 1, FUA)]);
        let mut disk = Sectors::zeros(16);
        let entries = read(file.path(), &disk).unwrap();
        let [Entry::Write(first), Entry::Write(_), Entry::Flush, Entry::Write(last)] = entries.as_slice()
        else {
            panic!("{entries:?}");
        };
        assert!((first.at, last.at, last.durable) == (5, 1, true) && !first.durable);
        first.apply(&mut disk);
        assert_eq!((disk.content(6), disk.content(7)), ([0xab; 512], [0; 512]));
        assert!(first.touches(&(6..7)) && !first.touches(&(7..9)));
    }

    #[test]
    fn a_write_that_was_cut_off_in_the_log_was_none() {
        let file = log(&[(5, 2, 0), (0, 0, FLUSH), (9, 2, 0)]);
        file.as_file().set_len((1 + 3 + 1 + 2) * SECTOR as u64).unwrap();
        assert_eq!(read(file.path(), &Sectors::zeros(16)).unwrap().len(), 2);
    }

    #[test]
    fn a_log_that_is_being_written_is_counted_as_far_as_it_goes() {
        let file = log(&[(5, 2, 0), (0, 0, FLUSH)]);
        let mut follower = Follower::open(file.path()).unwrap();
        while follower.step().unwrap().is_some() {}
        assert_eq!((follower.entries, follower.flushes), (2, 1));
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert!(Follower::open(empty.path()).unwrap().step().unwrap().is_none());
        let counted_first = log(&[(0, 0, FLUSH), (5, 2, 0)]);
        counted_first.as_file().set_len(2 * SECTOR as u64).unwrap();
        let mut follower = Follower::open(counted_first.path()).unwrap();
        assert!(follower.step().unwrap().is_some() && follower.step().unwrap().is_none());
        let undefined = log(&[(5, 1 << 40, DISCARD)]);
        assert!(read(undefined.path(), &Sectors::zeros(1)).is_err());
    }
}
