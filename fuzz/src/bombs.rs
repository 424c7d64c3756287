//! Small inputs that ask for a lot of memory.

use std::io::Write;

use abide_testing::uki as fixture;

/// The number of sections that share one text.
const SECTIONS: usize = 3000;

/// Inputs, by the name of their target.
#[must_use]
pub fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("uki", uki(".cmdline", SECTIONS)),
        ("uki", uki(".osrel", SECTIONS)),
        ("uki", uki(".profile", SECTIONS)),
        ("stream", zst_with_a_large_window()),
        ("stream", xz_with_a_large_window()),
        ("map", map_of_the_largest_root()),
        ("patch", patch_with_lengths(1024, u32::MAX)),
        ("patch", patch_with_lengths(u16::MAX, 8 << 20)),
        ("patch", patch_with_lengths(0, 8 << 20)),
        ("frame", [vec![0, 0], zst_with_a_large_window()].concat()),
    ]
}

/// A UKI of one MiB whose sections all have the same MiB of text.
fn uki(name: &str, count: usize) -> Vec<u8> {
    let text = b"A=1\n".repeat(1 << 18);
    let mut sections: Vec<(&str, &[u8])> = vec![(".cmdline", &text)];
    sections.resize(count, (name, b"A=1\n"));
    let mut file = fixture::pe(0x8664, &sections);
    // Behind the headers: MZ, PE, the optional one.
    let table = 64 + 4 + 20 + 240;
    let place: Vec<u8> = file[table + 8..table + 24].to_vec();
    for header in 1..count {
        let at = table + header * 40 + 8;
        file[at..at + 16].copy_from_slice(&place);
    }
    file
}

fn zst_with_a_large_window() -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(vec![], 1).expect("memory");
    encoder.window_log(27).expect("a window of 128 MiB");
    encoder.write_all(&vec![1; 8 << 20]).expect("memory");
    encoder.finish().expect("memory")
}

fn xz_with_a_large_window() -> Vec<u8> {
    // The header says 4 GiB; the encoder would need more than that to make it.
    let mut encoder = liblzma::write::XzEncoder::new(vec![], 0);
    encoder.write_all(&vec![1; 1 << 20]).expect("memory");
    let mut bytes = encoder.finish().expect("memory");
    // The xz file format, 3.1: behind the stream's header the block's, with size, flags, id and size of properties.
    bytes[12 + 4] = 40;
    let end = 12 + 4 * (usize::from(bytes[12]) + 1) - 4;
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..end]);
    bytes[end..end + 4].copy_from_slice(&crc.sum().to_le_bytes());
    bytes
}

/// It has no regions, and says that there are eight millions of them.
fn map_of_the_largest_root() -> Vec<u8> {
    let mut map = [&b"ABIDEMAP"[..], &1_u32.to_le_bytes(), &(64_u32 << 10).to_le_bytes()].concat();
    map.extend((512_u64 << 30).to_le_bytes());
    map.resize(64, 0);
    map
}

/// Its first record has these numbers in front of it, and nothing else.
fn patch_with_lengths(ranges: u16, frame: u32) -> Vec<u8> {
    let mut patch = [&b"ABIDEPAT"[..], &1_u32.to_le_bytes(), &(2_u32 << 20).to_le_bytes()].concat();
    patch.extend(u64::MAX.to_le_bytes());
    patch.resize(56, 0);
    patch.extend(ranges.to_le_bytes());
    patch.extend(frame.to_le_bytes());
    // Ranges that say four GiB each.
    patch.resize(patch.len() + 12 * usize::from(ranges.min(1024)), 0xff);
    patch
}
