//! The bytes of device-mapper's `DM_TABLE_STATUS` request and of its answer (linux/dm-ioctl.h). Pure.

use crate::sys::DmBuffer;

/// `struct dm_ioctl`: its size, and the offsets of its fields.
const HEADER: usize = 312;
const VERSION: usize = 0;
const DATA_START: usize = 16;
const TARGET_COUNT: usize = 20;
const FLAGS: usize = 28;
const DEV: usize = 40;

/// `struct dm_target_spec`: its size, and the offsets of its fields. The target's text follows it.
const SPEC: usize = 40;
const NEXT: usize = 20;
const TYPE: usize = 24;

const STATUS_TABLE_FLAG: u32 = 1 << 4;
const BUFFER_FULL_FLAG: u32 = 1 << 8;
const NOFLUSH_FLAG: u32 = 1 << 11;

/// The request for the targets of the device `MAJOR:MINOR`: with `table` their parameters, otherwise their status.
/// The parameters of a crypt target may hold its key.
#[must_use]
pub fn request(devno: &str, table: bool) -> Option<DmBuffer> {
    let (major, minor) = devno.split_once(':')?;
    let (major, minor): (u64, u64) = (major.parse().ok()?, minor.parse().ok()?);
    // `huge_encode_dev` of linux/kdev_t.h.
    let dev = (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12);
    let flags = NOFLUSH_FLAG | if table { STATUS_TABLE_FLAG } else { 0 };
    let mut buffer = DmBuffer::new();
    // Version 4.0.0 of the interface, which every kernel of version 4 answers.
    put(&mut buffer, VERSION, &4_u32.to_ne_bytes());
    put(&mut buffer, DATA_START, &u32::try_from(HEADER).ok()?.to_ne_bytes());
    put(&mut buffer, FLAGS, &flags.to_ne_bytes());
    put(&mut buffer, DEV, &dev.to_ne_bytes());
    Some(buffer)
}

/// The type and the text of each target in the answer; `None` where it does not hold all of them.
#[must_use]
pub fn targets(answer: &DmBuffer) -> Option<Vec<(String, String)>> {
    let bytes = answer.bytes();
    if number(bytes, FLAGS)? & BUFFER_FULL_FLAG != 0 {
        return None;
    }
    let data = bytes.get(usize::try_from(number(bytes, DATA_START)?).ok()?..)?;
    let mut targets = Vec::new();
    let mut at = 0;
    for _ in 0..number(bytes, TARGET_COUNT)? {
        let spec = data.get(at..)?;
        targets.push((text(spec.get(TYPE..SPEC)?), text(spec.get(SPEC..)?)));
        // Counted from the first one (`retrieve_status` in drivers/md/dm-ioctl.c).
        let next = usize::try_from(number(spec, NEXT)?).ok()?;
        at = Some(next).filter(|next| *next > at)?;
    }
    Some(targets)
}

fn put(buffer: &mut DmBuffer, at: usize, value: &[u8]) {
    if let Some(place) = buffer.bytes_mut().get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk))
}

/// The text up to its NUL.
fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// As `retrieve_status` of the kernel fills it in.
    fn answer(targets: &[(&str, &str)]) -> DmBuffer {
        let mut buffer = request("253:0", true).unwrap();
        put(&mut buffer, TARGET_COUNT, &u32::try_from(targets.len()).unwrap().to_ne_bytes());
        let mut at = 0;
        for (kind, parameters) in targets {
            let next = (at + SPEC + parameters.len() + 1).next_multiple_of(8);
            put(&mut buffer, HEADER + at + NEXT, &u32::try_from(next).unwrap().to_ne_bytes());
            put(&mut buffer, HEADER + at + TYPE, kind.as_bytes());
            put(&mut buffer, HEADER + at + SPEC, parameters.as_bytes());
            at = next;
        }
        buffer
    }

    #[test]
    fn a_request_has_the_fields_where_the_kernel_reads_them() {
        // MKDEV(253, 0x12345), encoded as in linux/kdev_t.h.
        let buffer = request("253:74565", true).unwrap();
        let bytes = buffer.bytes();
        assert_eq!(bytes[..12], [4_u32, 0, 0].map(u32::to_ne_bytes).concat());
        assert_eq!(number(bytes, 12), u32::try_from(bytes.len()).ok());
        assert_eq!(number(bytes, 16), Some(312));
        assert_eq!(number(bytes, 28), Some(0x810));
        assert_eq!(bytes[40..48], 0x1230_fd45_u64.to_ne_bytes());
        assert!(bytes[48..].iter().all(|byte| *byte == 0));
        assert_eq!(number(request("253:0", false).unwrap().bytes(), 28), Some(0x800));
        assert!(request("sda", true).is_none());
    }

    #[test]
    fn every_target_of_an_answer_is_read() {
        let targets_of = |list: &[(&str, &str)]| targets(&answer(list)).unwrap();
        assert_eq!(targets_of(&[("linear", "8:2 0")]), [("linear".into(), "8:2 0".into())]);
        let two = targets_of(&[("linear", "8:2 2048"), ("error", "")]);
        assert_eq!(two, [("linear".into(), "8:2 2048".into()), ("error".into(), String::new())]);
    }

    #[test]
    fn an_answer_that_is_cut_off_is_not_read() {
        let mut full = answer(&[("linear", "8:2 0")]);
        put(&mut full, FLAGS, &BUFFER_FULL_FLAG.to_ne_bytes());
        assert_eq!(targets(&full), None);
        let mut circle = answer(&[("linear", "8:2 0"), ("linear", "8:2 0")]);
        put(&mut circle, HEADER + NEXT, &0_u32.to_ne_bytes());
        assert_eq!(targets(&circle), None);
        let mut beyond = answer(&[("linear", "8:2 0")]);
        put(&mut beyond, DATA_START, &u32::MAX.to_ne_bytes());
        assert_eq!(targets(&beyond), None);
    }
}
