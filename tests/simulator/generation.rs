//! The state's generations as bytes, so that two disks that differ only in how often the state
//! was saved count as one.

use super::disk::{Content, Image};

const FILES: [&str; 2] = ["EFI/abide/state.0", "EFI/abide/state.1"];

pub struct Generation<'a> {
    pub sequence: u64,
    /// All that does not depend on the sequence number.
    pub rest: &'a [u8],
}

/// `abide-state FORMAT SEQUENCE LENGTH SHA256\n` and what follows; none for other files and
/// torn generations.
pub fn parse(bytes: &[u8]) -> Option<Generation<'_>> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let words: Vec<&str> = head.split(' ').collect();
    let [magic, _, sequence, length, _] = words.as_slice() else { return None };
    if *magic != "abide-state" {
        return None;
    }
    let length: usize = length.parse().ok()?;
    Some(Generation { sequence: sequence.parse().ok()?, rest: bytes.get(end + 1..end + 1 + length)? })
}

/// Which of the two files holds the newest generation.
pub fn newest(image: &Image) -> Option<usize> {
    let sequence = |path| match image.content(path) {
        Some(Content::Bytes(blob)) => parse(&blob.bytes).map(|g| g.sequence),
        _ => None,
    };
    let all = FILES.map(sequence);
    match all {
        [None, None] => None,
        [a, b] => Some(usize::from(b > a)),
    }
}
