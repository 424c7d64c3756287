//! The UUID that the content of a partition carries, by its first bytes. Pure but for [`read`].

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::disk::root_arg::uuid_of_half;
use crate::hex;

/// Bytes at the start of a partition that are read: both headers lie within them.
const LEN: usize = 2048;

/// What a partition holds, as far as its UUID matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A LUKS2 header, and its UUID.
    Luks(String),
    /// A file system of ext4's family, and its UUID.
    Ext(String),
}

impl Content {
    /// Recognises the content by its first 2048 bytes; `None`: neither.
    #[must_use]
    pub fn parse(start: &[u8]) -> Option<Self> {
        luks(start).map(Self::Luks).or_else(|| ext(start).map(Self::Ext))
    }

    /// The UUID, in lower case.
    #[must_use]
    pub fn uuid(&self) -> &str {
        match self {
            Self::Luks(uuid) | Self::Ext(uuid) => uuid,
        }
    }
}

/// Reads what a device or a plain file holds; `None` where it cannot be read or is not recognised.
#[must_use]
pub fn read(device: &Path) -> Option<Content> {
    let mut start = Vec::with_capacity(LEN);
    File::open(device).ok()?.take(LEN as u64).read_to_end(&mut start).ok()?;
    Content::parse(&start)
}

/// The UUID of a LUKS2 header (LUKS2 On-Disk Format Specification, 2.1: magic and version, both big-endian, then
/// `uuid[40]` at byte 168).
fn luks(start: &[u8]) -> Option<String> {
    if !start.starts_with(b"LUKS\xba\xbe\x00\x02") {
        return None;
    }
    let text: Vec<u8> = start.get(168..208)?.iter().copied().take_while(|byte| *byte != 0).collect();
    let text = String::from_utf8(text).ok().filter(|text| !text.is_empty())?;
    text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-').then(|| text.to_ascii_lowercase())
}

/// The UUID of an ext2, ext3 or ext4 (Documentation/filesystems/ext4/super.rst: the superblock is at byte 1024, with
/// `s_magic` at 0x38 and `s_uuid` at 0x68).
fn ext(start: &[u8]) -> Option<String> {
    let superblock = start.get(1024..)?;
    if superblock.get(0x38..0x3a)? != [0x53, 0xef] {
        return None;
    }
    let bytes: &[u8; 16] = superblock.get(0x68..)?.first_chunk()?;
    uuid_of_half(&hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    const UUID: &str = "00112233-4455-6677-8899-aabbccddeeff";

    fn ext4() -> Vec<u8> {
        let mut bytes = vec![0; LEN];
        bytes[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
        for (at, byte) in (0..16).zip((0..16).map(|n| n * 0x11)) {
            bytes[1024 + 0x68 + at] = byte;
        }
        bytes
    }

    fn luks2() -> Vec<u8> {
        let mut bytes = vec![0; LEN];
        bytes[..8].copy_from_slice(b"LUKS\xba\xbe\x00\x02");
        bytes[168..168 + 36].copy_from_slice(UUID.to_ascii_uppercase().as_bytes());
        bytes
    }

    #[test]
    fn the_uuid_of_an_ext4_and_of_a_luks2_header_is_read() {
        assert_eq!(Content::parse(&ext4()), Some(Content::Ext(UUID.into())));
        assert_eq!(Content::parse(&luks2()), Some(Content::Luks(UUID.into())));
    }

    #[test]
    fn other_or_short_content_has_no_uuid() {
        assert_eq!(Content::parse(&[0; LEN]), None);
        assert_eq!(Content::parse(&ext4()[..1024 + 0x70]), None);
        assert_eq!(Content::parse(&luks2()[..180]), None);
        let mut odd = luks2();
        odd[170] = b'\n';
        assert_eq!(Content::parse(&odd), None);
        odd = luks2();
        odd[7] = 1;
        assert_eq!(Content::parse(&odd), None);
    }
}
