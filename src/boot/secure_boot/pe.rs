//! The parts of an executable that its signature covers, and the signatures themselves (Microsoft, "Windows Authenticode
//! Portable Executable Signature Format", "Calculating the PE Image Hash"; EDK2, `HashPeImage`).

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use crate::boot::secure_boot::hash::Hash;

/// How much of the beginning is read: headers have a few KiB.
const MOST_HEADERS: u64 = 1 << 20;

/// The most bytes of signatures that are read. One has some KiB.
const MOST_SIGNATURES: u64 = 1 << 20;

/// `WIN_CERT_TYPE_PKCS_SIGNED_DATA`
const PKCS: u16 = 2;

/// Length, revision and type of a signature.
const CERTIFICATE_HEADER: usize = 8;

/// Which bytes of an executable are hashed, and where its signatures are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable {
    hashed: Vec<Range<u64>>,
    signatures: Range<u64>,
}

impl Executable {
    /// Reads the headers. `None` if they are damaged.
    pub fn read(file: &mut (impl Read + Seek)) -> io::Result<Option<Self>> {
        let size = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let mut head = Vec::new();
        file.take(MOST_HEADERS).read_to_end(&mut head)?;
        Ok(Self::parse(&head, size))
    }

    fn parse(head: &[u8], size: u64) -> Option<Self> {
        let pe = usize::try_from(u32_at(head, 0x3c)?).ok()?;
        if head.get(..2)? != b"MZ" || head.get(pe..)?.get(..4)? != b"PE\0\0" {
            return None;
        }
        let optional = pe.checked_add(24)?;
        let directories = optional + if u16_at(head, optional)? == 0x20b { 112 } else { 96 };
        let headers = u64::from(u32_at(head, optional + 60)?);
        let checksum = (optional + 64) as u64;
        let directory = (directories + 4 * 8) as u64;
        let has_directory = u32_at(head, directories - 4)? > 4;
        let signatures = if has_directory {
            let at = |offset| u32_at(head, directories + 4 * 8 + offset).map(u64::from);
            at(0)?..at(0)? + at(4)?
        } else {
            0..0
        };
        let covered = if has_directory {
            vec![0..checksum, checksum + 4..directory, directory + 8..headers]
        } else {
            vec![0..checksum, checksum + 4..headers]
        };
        let mut sections = sections(head, pe, optional)?;
        sections.sort_unstable_by_key(|section| (section.start, section.end));
        let hashed = headers + sections.iter().map(|section| section.end - section.start).sum::<u64>();
        // Firmware hashes what is behind the sections up to the signatures, by their size alone.
        let end = size.checked_sub(signatures.end - signatures.start)?;
        let rest = hashed..end.max(hashed);
        let ranges: Vec<Range<u64>> = covered.into_iter().chain(sections).chain([rest]).collect();
        // Sections in one another's place would be hashed over and over.
        let fits = hashed <= size
            && signatures.end <= size
            && ranges.iter().all(|r| r.start <= r.end && r.end <= size);
        fits.then_some(Self { hashed: ranges, signatures })
    }

    /// The digest that a signature has.
    pub fn digest(&self, hash: Hash, file: &mut (impl Read + Seek)) -> io::Result<Vec<u8>> {
        let mut context = hash.context();
        let mut block = vec![0; 1 << 16];
        for range in &self.hashed {
            file.seek(SeekFrom::Start(range.start))?;
            let mut left = range.end - range.start;
            while left > 0 {
                let want = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let part = block.get_mut(..want).unwrap_or_default();
                file.read_exact(part)?;
                context.update(part);
                left -= want as u64;
            }
        }
        Ok(context.finish().as_ref().to_vec())
    }

    /// Each PKCS #7 in the table of signatures; `None` if the table is damaged.
    pub fn signatures(&self, file: &mut (impl Read + Seek)) -> io::Result<Option<Vec<Vec<u8>>>> {
        let size = self.signatures.end - self.signatures.start;
        if size > MOST_SIGNATURES {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(self.signatures.start))?;
        let mut table = Vec::new();
        file.take(size).read_to_end(&mut table)?;
        Ok(split(&table))
    }
}

/// Where the bytes of the sections are.
fn sections(head: &[u8], pe: usize, optional: usize) -> Option<Vec<Range<u64>>> {
    let count = usize::from(u16_at(head, pe + 6)?);
    let table = head.get(optional + usize::from(u16_at(head, pe + 20)?)..)?;
    let headers = table.get(..count.checked_mul(40)?)?.chunks_exact(40);
    let range = |header: &[u8]| {
        let (len, start) = (u64::from(u32_at(header, 16)?), u64::from(u32_at(header, 20)?));
        Some(start..start + len)
    };
    let all: Option<Vec<Range<u64>>> = headers.map(range).collect();
    all.map(|all| all.into_iter().filter(|section| !section.is_empty()).collect())
}

/// Splits a table of signatures, each of which begins at a multiple of 8 bytes.
fn split(mut table: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut found = vec![];
    while !table.is_empty() {
        let len = usize::try_from(u32_at(table, 0)?).ok()?;
        let content = table.get(..len)?.get(CERTIFICATE_HEADER..)?;
        if u16_at(table, 6)? == PKCS {
            found.push(content.to_vec());
        }
        table = table.get(len.checked_next_multiple_of(8)?..)?;
    }
    Some(found)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_le_bytes(*two))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_le_bytes(*four))
}
