//! What the judge reads and writes (`qemu/judge/judge.c`), in blocks of 512 bytes.
//!
//! A header (magic, and eight numbers: cases, first block of the first case, blocks of a case, of
//! its variables, of its result, of its disk, first block of the loader, its bytes), the loader, and
//! for each case the variables to set, the result, and the disk, which the judge replaces by
//! what the loader left.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::decision::{Case, Decision, LoaderEnd};
use crate::{Error, Result, small_disk};

const BLOCK: usize = 512;
const VARIABLES: usize = 16;
const RESULT: usize = 128;
const DISK: usize = small_disk::BYTES / BLOCK;
const CASE: usize = VARIABLES + RESULT + DISK;
const MAGIC: &[u8] = b"ABIDE-CASE-FILE\0";

/// The block of the first case, behind the header and a loader of this many bytes.
fn first(loader: usize) -> usize {
    1 + loader.div_ceil(BLOCK)
}

/// Writes a case file.
///
/// # Errors
/// When it cannot be written, or a case has too many variables or no small disk.
pub fn write(path: &Path, loader: &[u8], cases: &[Case]) -> Result<()> {
    let file = File::create(path).map_err(Error::at("create", path))?;
    let mut file = std::io::BufWriter::new(file);
    let mut put = |bytes: &[u8], blocks: usize| {
        let mut padded = bytes.to_vec();
        padded.resize(blocks * BLOCK, 0);
        file.write_all(&padded).map_err(Error::at("write", path))
    };
    let numbers = [cases.len(), first(loader.len()), CASE, VARIABLES, RESULT, DISK, 1, loader.len()];
    let numbers = numbers.iter().flat_map(|n| u32::try_from(*n).unwrap_or(u32::MAX).to_le_bytes());
    put(&MAGIC.iter().copied().chain(numbers).collect::<Vec<u8>>(), 1)?;
    put(loader, loader.len().div_ceil(BLOCK))?;
    for case in cases {
        let variables = encode(&case.variables);
        if variables.len() > VARIABLES * BLOCK || case.disk.len() != small_disk::BYTES {
            return Err(Error::Disk { disk: "a case".into(), cause: "it does not fit".into() });
        }
        put(&variables, VARIABLES)?;
        put(&[], RESULT)?;
        put(&case.disk, DISK)?;
    }
    file.flush().map_err(Error::at("write", path))
}

/// Size of the name, size of the data, name, data, up to a multiple of 4; no name ends the list.
fn encode(variables: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, data) in variables {
        let name: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        for size in [name.len(), data.len()] {
            bytes.extend(u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
        }
        bytes.extend(name);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes.extend([0; 8]);
    bytes
}

/// Reads what the judge made of a case file.
///
/// # Errors
/// When it cannot be read or is cut off, or a case was not judged.
pub fn read(path: &Path) -> Result<Vec<Decision>> {
    let bytes = std::fs::read(path).map_err(Error::at("read", path))?;
    let bad = |cause: String| Error::Disk { disk: path.display().to_string(), cause };
    let header = |index: usize| number(&bytes, MAGIC.len() + 4 * index);
    let (cases, first) = (header(0), header(1));
    let decision = |index: usize| {
        let at = (first + index * CASE + VARIABLES) * BLOCK;
        let result = bytes.get(at..at + RESULT * BLOCK).unwrap_or_default();
        let disk = bytes.get(at + RESULT * BLOCK..at + (RESULT + DISK) * BLOCK).unwrap_or_default();
        let status = number(result, 8) as u64 | (number(result, 12) as u64) << 32;
        let end = match number(result, 0) {
            1 => LoaderEnd::Started {
                partition: u32::try_from(number(result, 4)).unwrap_or(0),
                path: text(result.get(16..1040).unwrap_or_default()),
                options: text(result.get(1044..1044 + number(result, 1040)).unwrap_or_default()),
            },
            2 => LoaderEnd::Returned(status),
            3 => LoaderEnd::Reset,
            other => {
                return Err(bad(format!("case {index} was not judged: {other}, EFI status {status:#x}")));
            }
        };
        let variables = decode(result.get(3088..).unwrap_or_default());
        Ok(Decision { end, variables, disk: disk.to_vec() })
    };
    (0..cases).map(decision).collect()
}

/// The list that [`encode`] makes.
fn decode(mut bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut variables = BTreeMap::new();
    loop {
        let (name, data) = (number(bytes, 0), number(bytes, 4));
        let (Some(key), Some(value)) = (bytes.get(8..8 + name), bytes.get(8 + name..8 + name + data)) else {
            return variables;
        };
        if name == 0 {
            return variables;
        }
        variables.insert(text(key), value.to_vec());
        bytes = bytes.get(8 + (name + data).next_multiple_of(4)..).unwrap_or_default();
    }
}

/// UTF-16 up to its NUL.
fn text(bytes: &[u8]) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    String::from_utf16_lossy(&units.take_while(|unit| *unit != 0).collect::<Vec<u16>>())
}

fn number(bytes: &[u8], at: usize) -> usize {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map_or(0, u32::from_le_bytes) as usize
}
