//! Makes the full file with its map, and patches, region by region on all processors.

use std::io::Write;
use std::num::NonZero;
use std::sync::mpsc::sync_channel;
use std::thread::{self, Builder};

use crate::delta::{self, Anchors, DICTIONARY, Digest, Header, Map, Packer, REGION, Range, Record, Region};
use crate::publish::file_system::count_packed_modules;
use crate::publish::raw_file::RawFile;
use abide_core::error::{Error, OrError, Result};
use ring::digest::{Context, SHA256};

/// Threads at most: each takes up to 40 MiB.
const MAX_WORKERS: usize = 8;

/// Regions that wait at most in each thread.
const AHEAD: usize = 1;

/// zstd's level. The build leaves out what levels above 12 need, and 12 makes patches 2 % smaller in 1.6 of the time.
const LEVEL: i32 = 9;

/// Ends a file in zstd's seekable format (`contrib/seekable_format/zstd_seekable_compression_format.md`): the magic number
/// of its skippable frame, and that of its last bytes.
const SEEK_FRAME: u32 = 0x184D_2A5E;
const SEEK_END: u32 = 0x8F92_EAB1;

/// Writes the full file: one frame for each region, and zstd's seekable table. Returns its map, and about how many
/// compressed kernel modules the root has.
///
/// # Errors
/// [`Error::Image`] if the root cannot be read, [`Error::Failed`] if the file cannot be written.
pub fn pack(file: &RawFile, to: &mut impl Write) -> Result<(Map, usize)> {
    let mut whole = Context::new(&SHA256);
    let mut regions = Vec::new();
    let (mut offset, mut modules) = (0, 0);
    let make = |packer: &mut Packer, number: usize| {
        let bytes = region(file, number)?;
        let frame = packed(packer, &bytes, &[])?;
        Ok((delta::digest(&bytes), count_packed_modules(&bytes), bytes, frame))
    };
    in_order(count(file), make, |(sha256, found, bytes, frame)| {
        modules += found;
        whole.update(&bytes);
        let len = u32::try_from(frame.len()).or_failed(|| "a frame is too long")?;
        regions.push(Region { sha256, offset, frame: len });
        offset += u64::from(len);
        to.write_all(&frame).or_failed(|| "cannot write the full file")
    })?;
    let mut sha256 = Digest::default();
    sha256.copy_from_slice(whole.finish().as_ref());
    let mut map = Map { region_size: REGION as u32, len: file.len, sha256, full_len: 0, regions };
    let table = seek_table(&map);
    map.full_len = offset + table.len() as u64;
    to.write_all(&table).or_failed(|| "cannot write the full file")?;
    Ok((map, modules))
}

fn packed(packer: &mut Packer, region: &[u8], prefix: &[u8]) -> Result<Vec<u8>> {
    packer.pack(region, prefix, LEVEL).map_err(|e| Error::Failed(format!("cannot compress: {e}")))
}

fn seek_table(map: &Map) -> Vec<u8> {
    let count = map.regions.len() as u32;
    let mut table = Vec::new();
    for number in [SEEK_FRAME, count * 8 + 9] {
        table.extend(number.to_le_bytes());
    }
    for (number, region) in map.regions.iter().enumerate() {
        table.extend(region.frame.to_le_bytes());
        table.extend((map.region_len(number) as u32).to_le_bytes());
    }
    table.extend(count.to_le_bytes());
    table.push(0);
    table.extend(SEEK_END.to_le_bytes());
    table
}

/// Writes the patch that makes `new`, which has this map and this full file, from `old`.
///
/// # Errors
/// [`Error::Image`] if a root cannot be read, [`Error::Failed`] if the file cannot be written.
pub fn write_patch(
    new: &RawFile,
    map: &Map,
    full: &RawFile,
    old: &RawFile,
    to: &mut impl Write,
) -> Result<()> {
    let cannot = || format!("{old}: cannot read");
    let anchors = Anchors::index(old.len, |to, at| old.read_at(to, at)).or_image(cannot)?;
    let header = Header { region_size: map.region_size, old_len: old.len, sha256: map.sha256 };
    header.write(to).or_failed(|| "cannot write the patch")?;
    let make = |packer: &mut Packer, number: usize| {
        let bytes = region(new, number)?;
        let published = map.regions.get(number).filter(|region| region.sha256 == delta::digest(&bytes));
        let published = published.filter(|_| new.len == map.len).ok_or_else(|| {
            Error::Refused(format!(
                "{new}: is not what was published with this version; publish it as another version"
            ))
        })?;
        if let Some(record) = copied(&anchors, old, &bytes).or_image(cannot)? {
            return Ok(record);
        }
        let similar = similar(&anchors, old, &bytes, number).or_image(cannot)?;
        if let Some((ranges, prefix)) = similar {
            let frame = packed(packer, &bytes, &prefix)?;
            if frame.len() < published.frame as usize {
                return Ok(Record { ranges, frame });
            }
        }
        let mut frame = vec![0; published.frame as usize];
        full.read_at(&mut frame, published.offset).or_image(|| "cannot read the full file")?;
        Ok(Record { ranges: Vec::new(), frame })
    };
    in_order(map.regions.len(), make, |record| {
        delta::write_record(to, &record).or_failed(|| "cannot write the patch")
    })
}

/// The record of a region that is in the old root as it is.
fn copied(anchors: &Anchors, old: &RawFile, bytes: &[u8]) -> std::io::Result<Option<Record>> {
    let Some(offset) = anchors.whole(bytes) else { return Ok(None) };
    let range = Range { offset, len: bytes.len() as u32 };
    let is_same = joined(old, &[range])? == bytes;
    Ok(is_same.then_some(Record { ranges: vec![range], frame: Vec::new() }))
}

/// The ranges of the old root that a region resembles, and their bytes; none if it resembles nothing.
fn similar(
    anchors: &Anchors,
    old: &RawFile,
    bytes: &[u8],
    number: usize,
) -> std::io::Result<Option<(Vec<Range>, Vec<u8>)>> {
    let mut ranges = anchors.ranges(bytes, number as u64 * REGION as u64);
    let mut prefix = joined(old, &ranges)?;
    if let Some(first) = ranges.first_mut().filter(|_| prefix.starts_with(&DICTIONARY)) {
        (first.offset, first.len) = (first.offset + 1, first.len - 1);
        prefix.remove(0);
    }
    Ok((!ranges.is_empty()).then_some((ranges, prefix)))
}

fn joined(old: &RawFile, ranges: &[Range]) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(ranges.iter().map(|range| range.len as usize).sum());
    for range in ranges {
        let start = bytes.len();
        bytes.resize(start + range.len as usize, 0);
        old.read_at(bytes.get_mut(start..).unwrap_or_default(), range.offset)?;
    }
    Ok(bytes)
}

fn count(file: &RawFile) -> usize {
    usize::try_from(file.len.div_ceil(REGION as u64)).unwrap_or(usize::MAX)
}

fn region(file: &RawFile, number: usize) -> Result<Vec<u8>> {
    let offset = number as u64 * REGION as u64;
    let len = usize::try_from(file.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(REGION);
    let mut bytes = vec![0; len];
    file.read_at(&mut bytes, offset).or_image(|| format!("{file}: cannot read"))?;
    Ok(bytes)
}

/// Makes the regions 0 to `count` on all processors and takes them in order. A bounded number of them waits.
fn in_order<T: Send>(
    count: usize,
    make: impl Fn(&mut Packer, usize) -> Result<T> + Sync,
    mut take: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_WORKERS);
    let make = &make;
    thread::scope(|scope| {
        let mut made = Vec::new();
        for first in 0..workers {
            let (send, receive) = sync_channel(AHEAD);
            let work = move || {
                let mut packer = Packer::default();
                let mut numbers = (first..count).step_by(workers);
                while numbers.next().is_some_and(|number| send.send(make(&mut packer, number)).is_ok()) {}
            };
            Builder::new()
                .name("regions".into())
                .spawn_scoped(scope, work)
                .or_failed(|| "cannot start a thread")?;
            made.push(receive);
        }
        for receive in made.iter().cycle().take(count) {
            take(receive.recv().or_failed(|| "a thread that makes regions has ended early")??)?;
        }
        Ok(())
    })
}
