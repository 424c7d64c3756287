//! How much memory a packed image wants for its window, and how much it may have.

use procfs::{FromRead, Meminfo};

use abide_core::root::Root;

/// What a decoder may always use: enough for `zstd -19` and `xz -9`, whose windows are 8 and 64 MiB.
const ALWAYS: u64 = 64 << 20;

/// The largest window: that of `zstd --ultra -22` and `zstd --long=27`.
const MOST: u64 = 128 << 20;

/// The largest window that an image may have on this machine.
#[must_use]
pub fn limit(root: &Root) -> u64 {
    let memory = Meminfo::from_file(root.path("/proc/meminfo")).ok();
    limit_for(memory.and_then(|memory| memory.mem_available))
}

/// The larger window needs four times its size in memory that is available.
fn limit_for(available: Option<u64>) -> u64 {
    if available.unwrap_or(0) / 4 < MOST { ALWAYS } else { MOST }
}

/// The window of the first zstd frame (RFC 8878, 3.1.1.1) after skippable ones, if `head` holds its header.
#[must_use]
pub fn of_zstd(mut head: &[u8]) -> Option<u64> {
    while let [first, 0x2a, 0x4d, 0x18, rest @ ..] = head
        && first & 0xf0 == 0x50
    {
        let len = usize::try_from(little_endian(rest.get(..4)?)).ok()?;
        head = rest.get(4..)?.get(len..)?;
    }
    let [0x28, 0xb5, 0x2f, 0xfd, descriptor, rest @ ..] = head else { return None };
    let is_single_segment = descriptor & 0x20 != 0;
    if !is_single_segment {
        let byte = u64::from(*rest.first()?);
        let base = 1_u64 << (10 + (byte >> 3));
        return Some(base + base / 8 * (byte & 7));
    }
    let id_len = [0, 1, 2, 4].get(usize::from(descriptor & 3))?;
    let (len, add) = match descriptor >> 6 {
        0 => (1, 0),
        1 => (2, 256),
        2 => (4, 0),
        _ => (8, 0),
    };
    Some(little_endian(rest.get(*id_len..id_len + len)?) + add)
}

/// The dictionary of the first block of an xz stream (the .xz file format, 3.1 and 5.3.1), if `head` holds its header.
#[must_use]
pub fn of_xz(head: &[u8]) -> Option<u64> {
    const LZMA2: u64 = 0x21;
    let mut header = head.get(12..)?;
    let (_, flags) = (take(&mut header, 1)?, take(&mut header, 1)?);
    let flags = *flags.first()?;
    for _ in 0..u8::from(flags & 0x40 != 0) + u8::from(flags & 0x80 != 0) {
        number(&mut header)?;
    }
    for _ in 0..=(flags & 3) {
        let (id, len) = (number(&mut header)?, number(&mut header)?);
        let properties = take(&mut header, usize::try_from(len).ok()?)?;
        if id == LZMA2 {
            let bits = u32::from(*properties.first()?).min(40);
            return Some((2 | u64::from(bits & 1)) << (bits / 2 + 11));
        }
    }
    None
}

fn take<'a>(from: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(taken)
}

/// A multibyte integer of xz (1.2).
fn number(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let byte = *take(from, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// What to say of a window that is larger than `limit`; `wanted`: its size, if known.
#[must_use]
pub fn told(format: &str, wanted: Option<u64>, limit: u64) -> String {
    let wanted = match wanted {
        Some(wanted) => format!("a window of {} MiB", wanted.div_ceil(1 << 20)),
        None => "a larger window".to_owned(),
    };
    let limit = limit >> 20;
    let more = if limit << 20 < MOST { ", because less than 512 MiB of memory are available" } else { "" };
    let remedy = match format {
        "zstd" => "pack it with `zstd -19`, or with `--long=26` at most",
        _ => "pack it with `xz -9`, whose window is 64 MiB, or less",
    };
    format!("its {format} compression wants {wanted}, but {limit} MiB are allowed{more}; {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_window_needs_memory_that_is_available() {
        let mib = |available: Option<u64>| limit_for(available.map(|mib| mib << 20)) >> 20;
        assert_eq!([None, Some(0), Some(511), Some(512), Some(9999)].map(mib), [64, 64, 64, 128, 128]);
    }

    #[test]
    fn the_window_is_read_from_the_head_of_the_frame() {
        let frame = |rest: &[u8]| of_zstd(&[&[0x28, 0xb5, 0x2f, 0xfd], rest].concat());
        assert_eq!(frame(&[0x00, (27 - 10) << 3]), Some(128 << 20));
        assert_eq!(frame(&[0x04, (26 - 10) << 3 | 4]), Some(96 << 20));
        assert_eq!(frame(&[0x20, 7]), Some(7));
        assert_eq!(frame(&[0x61, 9, 1, 1]), Some(257 + 256));
        assert_eq!(frame(&[0xa0, 0, 0, 0, 1]), Some(1 << 24));
        let skipped = b"\x50\x2a\x4d\x18\x02\0\0\0xx\x28\xb5\x2f\xfd\0\0";
        assert_eq!(of_zstd(skipped), Some(1 << 10));
        assert_eq!((frame(&[0xa0, 0]), frame(&[]), of_zstd(b"\x50\x2a\x4d\x18")), (None, None, None));
        let xz = |rest: &[u8]| of_xz(&[&[0; 12], rest].concat());
        assert_eq!(xz(&[2, 0, 0x21, 1, 28, 0]), Some(64 << 20));
        // With sizes and a filter before it.
        assert_eq!(xz(&[4, 0xc1, 0x80, 1, 5, 4, 0, 0x21, 1, 30]), Some(128 << 20));
        assert_eq!((xz(&[2, 0, 0x21]), of_xz(&[])), (None, None));
    }
}
