//! Maps, patches and the frames of single regions.

use std::io::Cursor;

use abide::delta::{
    Header, MAX_FRAME, MAX_OLD, MAX_RANGES, Map, Range, Record, Region, digest, pack, read_record, unpack,
    write_record,
};

use crate::used::used;

/// Bytes in a region of the seeds.
const REGION: usize = 64 << 10;

/// A map: what is read is what is written, and its regions make up the root.
pub fn map(bytes: &[u8]) {
    let Ok(map) = Map::parse(bytes) else { return };
    assert!(map.encode() == bytes, "another map was read");
    let len: u64 = (0..map.regions.len()).map(|number| map.region_len(number) as u64).sum();
    assert_eq!(len, map.len);
    let mut end = 0;
    for region in &map.regions {
        assert!(region.offset >= end && region.frame <= MAX_FRAME);
        end = region.offset + u64::from(region.frame);
    }
    assert!(end <= map.full_len);
}

pub fn map_seeds() -> Vec<Vec<u8>> {
    let region = |number: u8| Region { sha256: [number; 32], offset: 100 * u64::from(number), frame: 90 };
    let map = |count: u8, len| Map {
        region_size: REGION as u32,
        len,
        sha256: [9; 32],
        full_len: 1000,
        regions: (0..count).map(region).collect(),
    };
    vec![map(0, 0).encode(), map(1, 5).encode(), map(4, 3 * REGION as u64 + 1).encode()]
}

/// A patch, to its first mistake: no record exceeds what a machine makes room for.
pub fn patch(bytes: &[u8]) {
    let mut from = Cursor::new(bytes);
    let Ok(header) = Header::read(&mut from) else { return };
    let mut again = Vec::new();
    header.write(&mut again).expect("memory");
    while let Ok(record) = read_record(&mut from, &header) {
        assert!(record.ranges.len() <= usize::from(MAX_RANGES) && record.old_len() <= MAX_OLD);
        assert!(record.frame.len() <= MAX_FRAME as usize);
        assert!(record.ranges.iter().all(|range| range.end() <= header.old_len));
        write_record(&mut again, &record).expect("memory");
    }
    assert!(bytes.starts_with(&again), "another patch was read");
}

pub fn patch_seeds() -> Vec<Vec<u8>> {
    let (old, new) = (text(1), text(2));
    let mut bytes = Vec::new();
    let header = Header { region_size: REGION as u32, old_len: old.len() as u64, sha256: digest(&new) };
    header.write(&mut bytes).expect("memory");
    let records = [
        Record { ranges: vec![Range { offset: 5, len: 1000 }], frame: vec![] },
        Record { ranges: vec![], frame: pack(&new, &[], 3).expect("a frame") },
        Record {
            ranges: vec![Range { offset: 0, len: 3000 }, Range { offset: 9, len: 1 }],
            frame: pack(&new, &old, 3).expect("a frame"),
        },
    ];
    for record in &records {
        write_record(&mut bytes, record).expect("memory");
    }
    vec![bytes[..56].to_vec(), bytes]
}

/// A frame of a region: behind two bytes with the length of its prefix, and the prefix.
pub fn frame(bytes: &[u8]) {
    let Some((len, rest)) = bytes.split_first_chunk() else { return };
    let Some((prefix, frame)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len))) else { return };
    if let Ok(region) = unpack(frame, prefix, REGION) {
        assert!(region.len() <= REGION);
    }
    used(unpack(frame, prefix, 1));
}

pub fn frame_seeds() -> Vec<Vec<u8>> {
    let (mut old, mut new) = (text(1), text(2));
    old.truncate(20_000);
    new.resize(REGION, 7);
    let seed = |prefix: &[u8]| {
        let frame = pack(&new, prefix, 3).expect("a frame");
        [&(prefix.len() as u16).to_le_bytes()[..], prefix, &frame].concat()
    };
    vec![seed(&[]), seed(&old)]
}

fn text(step: u32) -> Vec<u8> {
    (0..9000_u32).flat_map(|n| (n % 300 * step).to_le_bytes()).collect()
}
