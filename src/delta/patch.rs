//! A patch: for each region of the new root, the ranges of the old one that it resembles, and a frame with these as
//! its prefix.

use std::io::{self, Read, Write};

use crate::delta::digest::Digest;
use crate::delta::fields::Fields;
use crate::delta::frame::MAX_FRAME;

const MAGIC: &[u8; 8] = b"ABIDEPAT";
const VERSION: u32 = 1;

/// Bytes of the header.
const HEAD: usize = 56;

/// The most bytes of the old root that one region is made from.
pub const MAX_OLD: usize = 8 << 20;

/// The most ranges of the old root that one region is made from.
pub const MAX_RANGES: u16 = 1024;

/// What a patch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes in each region, as in the map.
    pub region_size: u32,
    /// Bytes of the old root: no range ends behind it.
    pub old_len: u64,
    /// SHA-256 of the new root, as in its map.
    pub sha256: Digest,
}

impl Header {
    /// Writes it.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(MAGIC)?;
        to.write_all(&VERSION.to_le_bytes())?;
        to.write_all(&self.region_size.to_le_bytes())?;
        to.write_all(&self.old_len.to_le_bytes())?;
        to.write_all(&self.sha256)
    }

    /// Reads it.
    ///
    /// # Errors
    /// Those of `from`, and [`io::ErrorKind::InvalidData`] if it is not the header of a patch.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut bytes = [0; HEAD];
        from.read_exact(&mut bytes)?;
        let mut fields = Fields(&bytes);
        let parsed = (|| {
            let (magic, version) = (fields.bytes::<8>()?, fields.u32()?);
            let header =
                Self { region_size: fields.u32()?, old_len: fields.u64()?, sha256: fields.digest()? };
            (magic == *MAGIC && version == VERSION).then_some(header)
        })();
        parsed.ok_or_else(|| invalid("is not a patch, or one of a version that this abide does not know"))
    }
}

/// A range of the old root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u32,
}

impl Range {
    /// Its end.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.len))
    }
}

/// How one region is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The old bytes, one range after the other.
    pub ranges: Vec<Range>,
    /// A frame with the old bytes as its prefix. If it is empty, the old bytes are the region.
    pub frame: Vec<u8>,
}

impl Record {
    /// The number of old bytes.
    #[must_use]
    pub fn old_len(&self) -> usize {
        self.ranges.iter().map(|range| range.len as usize).sum()
    }
}

/// Writes the record of the next region.
///
/// # Errors
/// Those of `to`, and [`io::ErrorKind::InvalidData`] if it has too many ranges.
pub fn write_record(to: &mut impl Write, record: &Record) -> io::Result<()> {
    let count = u16::try_from(record.ranges.len()).map_err(|_| invalid("has too many ranges"))?;
    let len = u32::try_from(record.frame.len()).map_err(|_| invalid("has a frame that is too long"))?;
    to.write_all(&count.to_le_bytes())?;
    to.write_all(&len.to_le_bytes())?;
    for range in &record.ranges {
        to.write_all(&range.offset.to_le_bytes())?;
        to.write_all(&range.len.to_le_bytes())?;
    }
    to.write_all(&record.frame)
}

/// Reads the record of the next region.
///
/// # Errors
/// Those of `from`, and [`io::ErrorKind::InvalidData`] if it exceeds a limit, before memory is taken for it.
pub fn read_record(from: &mut impl Read, header: &Header) -> io::Result<Record> {
    let mut head = [0; 6];
    from.read_exact(&mut head)?;
    let mut fields = Fields(&head);
    let (count, frame_len) = fields.u16().zip(fields.u32()).unwrap_or_default();
    if count > MAX_RANGES || frame_len > MAX_FRAME {
        return Err(invalid("has a record that exceeds the limits"));
    }
    let mut table = vec![0; usize::from(count) * 12];
    from.read_exact(&mut table)?;
    let mut fields = Fields(&table);
    let mut ranges = Vec::with_capacity(usize::from(count));
    while let Some((offset, len)) = fields.u64().zip(fields.u32()) {
        ranges.push(Range { offset, len });
    }
    let old: u64 = ranges.iter().map(|range| u64::from(range.len)).sum();
    if old > MAX_OLD as u64 || ranges.iter().any(|range| range.end() > header.old_len) {
        return Err(invalid("has a record with ranges that exceed the limits or the old root"));
    }
    let mut frame = vec![0; usize::try_from(frame_len).unwrap_or_default()];
    from.read_exact(&mut frame)?;
    Ok(Record { ranges, frame })
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const HEADER: Header = Header { region_size: 2 << 20, old_len: 1000, sha256: [3; 32] };

    fn record() -> Record {
        Record {
            ranges: vec![Range { offset: 10, len: 20 }, Range { offset: 990, len: 10 }],
            frame: vec![1, 2, 3],
        }
    }

    fn written(record: &Record) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_record(&mut bytes, record).unwrap();
        bytes
    }

    #[test]
    fn a_patch_is_read_as_it_was_written() {
        let mut bytes = Vec::new();
        HEADER.write(&mut bytes).unwrap();
        bytes.extend(written(&record()));
        let from = &mut bytes.as_slice();
        assert_eq!(Header::read(from).unwrap(), HEADER);
        assert_eq!(read_record(from, &HEADER).unwrap(), record());
        assert!(from.is_empty());
        for len in 0..bytes.len() {
            let from = &mut &bytes[..len];
            assert!(Header::read(from).and_then(|header| read_record(from, &header)).is_err(), "{len}");
        }
    }

    #[test]
    fn a_record_beyond_the_limits_is_refused() {
        let far = Record { ranges: vec![Range { offset: 995, len: 10 }], frame: vec![] };
        let many = Record { ranges: vec![Range { offset: 0, len: 1 }; 1025], frame: vec![] };
        let wrapping = Record { ranges: vec![Range { offset: u64::MAX, len: 10 }], frame: vec![] };
        for record in [far, many, wrapping] {
            assert!(read_record(&mut written(&record).as_slice(), &HEADER).is_err());
        }
        let wide = Header { old_len: u64::MAX, ..HEADER };
        let much = Record {
            ranges: vec![Range { offset: 0, len: 8 << 20 }, Range { offset: 0, len: 1 }],
            frame: vec![],
        };
        assert!(read_record(&mut written(&much).as_slice(), &wide).is_err());
        let mut long = written(&Record { ranges: vec![], frame: vec![] });
        long[2..6].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(read_record(&mut long.as_slice(), &wide).is_err());
    }
}
