//! Makes the full file with its map, and patches, region by region on all processors.

use std::io::Write;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread::{self, Builder};

use crate::delta::{self, Anchors, Digest, Header, Map, REGION, Range, Record, Region};
use crate::publish::root_file::RootFile;
use abide_core::error::{Error, OrError, Result};
use ring::digest::{Context, SHA256};

/// Regions that are made at once for each processor.
const BATCH: usize = 8;

/// Ends a file in zstd's seekable format (`contrib/seekable_format/zstd_seekable_compression_format.md`): the magic number
/// of its skippable frame, and that of its last bytes.
const SEEK_FRAME: u32 = 0x184D_2A5E;
const SEEK_END: u32 = 0x8F92_EAB1;

/// Writes the full file: one frame for each region, and zstd's seekable table. Returns its map.
///
/// # Errors
/// [`Error::Image`] if the root cannot be read, [`Error::Failed`] if the file cannot be written.
pub fn pack_root(root: &RootFile, level: i32, to: &mut impl Write) -> Result<Map> {
    let mut whole = Context::new(&SHA256);
    let mut regions = Vec::new();
    let mut offset = 0;
    let make = |number: usize| {
        let bytes = region(root, number)?;
        let frame =
            delta::pack(&bytes, &[], level).map_err(|e| Error::Failed(format!("cannot compress: {e}")))?;
        Ok((bytes, frame))
    };
    in_order(count(root), make, |(bytes, frame)| {
        whole.update(&bytes);
        let len = u32::try_from(frame.len()).or_failed(|| "a frame is too long")?;
        regions.push(Region { sha256: delta::digest(&bytes), offset, frame: len });
        offset += u64::from(len);
        to.write_all(&frame).or_failed(|| "cannot write the full file")
    })?;
    let mut sha256 = Digest::default();
    sha256.copy_from_slice(whole.finish().as_ref());
    let mut map = Map { region_size: REGION as u32, len: root.len, sha256, full_len: 0, regions };
    let table = seek_table(&map);
    map.full_len = offset + table.len() as u64;
    to.write_all(&table).or_failed(|| "cannot write the full file")?;
    Ok(map)
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

/// Writes the patch that makes `new`, which has this map, from `old`.
///
/// # Errors
/// [`Error::Image`] if a root cannot be read, [`Error::Failed`] if the file cannot be written.
pub fn write_patch(new: &RootFile, map: &Map, old: &RootFile, level: i32, to: &mut impl Write) -> Result<()> {
    let cannot = || "cannot read the old root";
    let anchors = Anchors::index(old.len, |to, at| old.read_at(to, at)).or_image(cannot)?;
    let header = Header { region_size: map.region_size, old_len: old.len, sha256: map.sha256 };
    header.write(to).or_failed(|| "cannot write the patch")?;
    let make = |number: usize| {
        let bytes = region(new, number)?;
        let published = map.regions.get(number).map(|region| region.sha256);
        if new.len != map.len || published != Some(delta::digest(&bytes)) {
            return Err(Error::Refused(format!(
                "{new}: is not the root that was published with this version; publish it as another version"
            )));
        }
        if let Some(record) = copied(&anchors, old, &bytes).or_image(cannot)? {
            return Ok(record);
        }
        let ranges = anchors.ranges(&bytes, number as u64 * REGION as u64);
        let prefix = joined(old, &ranges).or_image(cannot)?;
        let pack = |prefix: &[u8]| {
            delta::pack(&bytes, prefix, level).map_err(|e| Error::Failed(format!("cannot compress: {e}")))
        };
        let (alone, frame) = (pack(&[])?, pack(&prefix)?);
        Ok(if alone.len() <= frame.len() {
            Record { ranges: Vec::new(), frame: alone }
        } else {
            Record { ranges, frame }
        })
    };
    in_order(map.regions.len(), make, |record| {
        delta::write_record(to, &record).or_failed(|| "cannot write the patch")
    })
}

/// The record of a region that is in the old root as it is.
fn copied(anchors: &Anchors, old: &RootFile, bytes: &[u8]) -> std::io::Result<Option<Record>> {
    let Some(offset) = anchors.whole(bytes) else { return Ok(None) };
    let range = Range { offset, len: bytes.len() as u32 };
    let is_same = joined(old, &[range])? == bytes;
    Ok(is_same.then_some(Record { ranges: vec![range], frame: Vec::new() }))
}

fn joined(old: &RootFile, ranges: &[Range]) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(ranges.iter().map(|range| range.len as usize).sum());
    for range in ranges {
        let start = bytes.len();
        bytes.resize(start + range.len as usize, 0);
        old.read_at(bytes.get_mut(start..).unwrap_or_default(), range.offset)?;
    }
    Ok(bytes)
}

fn count(root: &RootFile) -> usize {
    usize::try_from(root.len.div_ceil(REGION as u64)).unwrap_or(usize::MAX)
}

fn region(root: &RootFile, number: usize) -> Result<Vec<u8>> {
    let offset = number as u64 * REGION as u64;
    let len = usize::try_from(root.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(REGION);
    let mut bytes = vec![0; len];
    root.read_at(&mut bytes, offset).or_image(|| "cannot read the root")?;
    Ok(bytes)
}

/// Makes the parts 0 to `count` on all processors and takes them in order. A bounded number of them waits.
fn in_order<T: Send>(
    count: usize,
    make: impl Fn(usize) -> Result<T> + Sync,
    mut take: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let mut start = 0;
    while start < count {
        let end = (start + workers * BATCH).min(count);
        let next = &AtomicUsize::new(start);
        let (send, receive) = channel();
        let make = &make;
        thread::scope(|scope| -> Result<()> {
            for _ in 0..workers {
                let send = send.clone();
                let work = move || {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= end || send.send((number, make(number))).is_err() {
                            return;
                        }
                    }
                };
                Builder::new()
                    .name("regions".into())
                    .spawn_scoped(scope, work)
                    .or_failed(|| "cannot start a thread")?;
            }
            Ok(())
        })?;
        drop(send);
        let mut made: Vec<_> = receive.into_iter().collect();
        made.sort_by_key(|(number, _)| *number);
        for (_, part) in made {
            take(part?)?;
        }
        start = end;
    }
    Ok(())
}
