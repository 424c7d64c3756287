//! What is in an image, how it is packed, and where it comes from.

use std::io::{Cursor, Write};

use abide::image::names::Name;
use abide::image::{Source, Stream, content_range};
use abide_core::boot::model::uki::read;
use abide_testing::uki as fixture;

use crate::used::used;

/// A UKI's sections.
pub fn uki(bytes: &[u8]) {
    used(read(Cursor::new(bytes), true));
    used(read(Cursor::new(bytes), false));
}

pub fn uki_seeds() -> Vec<Vec<u8>> {
    let osrel: &[u8] = b"ID=edge\nIMAGE_VERSION=2.0\n";
    let profiles = fixture::pe(
        0x8664,
        &[
            (".osrel", osrel),
            (".cmdline", b"root=PARTLABEL=a"),
            (".linux", &[1; 64]),
            (".profile", b"ID=other\n"),
            (".cmdline", b"root=PARTLABEL=b"),
        ],
    );
    vec![fixture::uki("edge", "2.0", "root=PARTLABEL=rootfs_b"), profiles]
}

/// More than this a seed never unpacks to; what follows is only more of the same.
const MOST: usize = 4 << 20;

/// An image as it is read: unpacked and hashed, in whatever it is packed with.
pub fn stream(bytes: &[u8]) {
    let source = Source {
        name: "fuzz".into(),
        len: Some(bytes.len() as u64),
        repeatable: false,
        reader: Box::new(Cursor::new(bytes.to_vec())),
    };
    let Ok(mut stream) = Stream::open(source, None) else { return };
    let mut block = vec![0; 256 << 10];
    let mut total = 0;
    while let Ok(count @ 1..) = stream.fill(&mut block) {
        total += count;
        assert_eq!(stream.position(), total as u64);
        if total > MOST {
            break;
        }
    }
    assert!(stream.verified(None).is_ok(), "a source without errors has a digest");
}

pub fn stream_seeds() -> Vec<Vec<u8>> {
    let text: Vec<u8> = (0..9000_u32).flat_map(|n| (n % 300).to_le_bytes()).collect();
    let mut gz = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    gz.write_all(&text).expect("memory");
    let mut xz = liblzma::write::XzEncoder::new(vec![], 0);
    xz.write_all(&text).expect("memory");
    let mut bz = bzip2::write::BzEncoder::new(vec![], bzip2::Compression::fast());
    bz.write_all(&text).expect("memory");
    let mut zst = zstd::stream::write::Encoder::new(vec![], 1).expect("memory");
    zst.include_checksum(true).expect("a checksum");
    zst.write_all(&text).expect("memory");
    let all = [
        gz.finish().expect("memory"),
        xz.finish().expect("memory"),
        bz.finish().expect("memory"),
        zst.finish().expect("memory"),
        text,
    ];
    let twice = all.iter().map(|seed| seed.repeat(2));
    all.iter().cloned().chain(twice).collect()
}

/// The names of a set's files.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    used(Name::parse(text));
}

pub fn name_seeds() -> Vec<Vec<u8>> {
    let names: [&[u8]; 6] = [
        b"edge_1.2.efi",
        b"edge_1.2.root.raw.xz",
        b"edge_1.2_x86-64.root-x86-64-verity-sig.raw",
        b"edge_1.2.root-x86-64-verity.00112233445566778899aabbccddeeff.raw.zst",
        b"edge_1.2.raw.gz",
        b"v1/edge-1.2_x86_64.wic.bz2",
    ];
    names.map(<[u8]>::to_vec).into()
}

/// Where a server says that its answer belongs.
pub fn content_range(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    used(content_range::parse(text));
}

pub fn content_range_seeds() -> Vec<Vec<u8>> {
    [&b"bytes 5-9/10"[..], b"bytes 5-9/*", b"bytes */10", b"bytes 18446744073709551615-0/0"]
        .map(<[u8]>::to_vec)
        .into()
}
