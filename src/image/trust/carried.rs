//! The signature that an image carries in front of itself, for servers that have room for one file only: a frame that each
//! decoder of zstd skips (RFC 8878, section 3.1.2).
//!
//! The frame holds a tag, a list of digests with one image, and signatures of that list, so that it is verified as a list in
//! a folder is. The digest is of everything behind the frame.

use std::io::{self, Read};

use crate::image::names::SUMS;
use crate::image::trust::sums::Sums;

/// The first line of a frame with a signature. Frames with other content are skipped.
pub const TAG: &[u8] = b"abide-signature 1\n";

/// The most bytes of a frame's content that are read.
pub const MOST_CONTENT: usize = 64 << 10;

/// Magic number and length.
const HEAD: usize = 8;

/// The most bytes of a frame that are read.
pub const MOST_FRAME: usize = HEAD + MOST_CONTENT;

/// With what a signature begins, and the ending of a file with such ones.
const BEGINNINGS: [(&str, &str); 2] =
    [("untrusted comment:", ".minisig"), ("-----BEGIN PGP SIGNATURE-----", ".asc")];

/// The content of a frame, not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The list.
    pub list: Vec<u8>,
    /// Its signatures: the names that such files would have beside the list, and the bytes.
    pub signatures: Vec<(String, Vec<u8>)>,
    /// The length of the whole frame.
    pub len: u64,
}

impl Carried {
    /// Reads the frame at the start of an image, and no byte behind it; `None` if there is no frame with the tag, or a longer
    /// one.
    ///
    /// # Errors
    /// If `image` cannot be read.
    pub fn read(image: &mut impl Read) -> io::Result<Option<Self>> {
        let head = read_up_to(image, HEAD)?;
        let [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d] = *head else { return Ok(None) };
        let len = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if !(TAG.len()..=MOST_CONTENT).contains(&len) || read_up_to(image, TAG.len())? != TAG {
            return Ok(None);
        }
        let content = read_up_to(image, len - TAG.len())?;
        let is_whole = content.len() == len - TAG.len();
        Ok(is_whole.then(|| Self::parse(&content, (HEAD + len) as u64)))
    }

    /// Whether the list has this digest.
    #[must_use]
    pub fn lists(&self, sha256: &str) -> bool {
        Sums::parse(&self.list).is_ok_and(|sums| sums.names().any(|name| sums.get(name) == Some(sha256)))
    }

    /// The list ends where the first signature begins.
    fn parse(content: &[u8], len: u64) -> Self {
        let mut it = Self { list: vec![], signatures: vec![], len };
        for block in blocks(content) {
            let Some(ending) = ending_of(block) else {
                it.list.extend_from_slice(block);
                continue;
            };
            let file = format!("{SUMS}{ending}");
            match it.signatures.iter_mut().find(|(name, _)| *name == file) {
                Some((_, bytes)) => bytes.extend_from_slice(block),
                None => it.signatures.push((file, block.to_owned())),
            }
        }
        it
    }
}

/// Splits signatures that stand one after the other; what precedes the first one is a block, too.
pub(super) fn blocks(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut starts, mut at) = (vec![0], 0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if at > 0 && ending_of(line).is_some() {
            starts.push(at);
        }
        at += line.len();
    }
    starts.push(at);
    starts.windows(2).filter_map(|pair| bytes.get(*pair.first()?..*pair.last()?)).collect()
}

/// The ending of a file with the signature that begins here, if one does.
fn ending_of(block: &[u8]) -> Option<&'static str> {
    let found = BEGINNINGS.iter().find(|(beginning, _)| block.starts_with(beginning.as_bytes()));
    found.map(|(_, ending)| *ending)
}

/// The next `len` bytes, or fewer at the end.
fn read_up_to(from: &mut impl Read, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    from.take(len as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const MINISIG: &str = "untrusted comment: a\nRUQ=\ntrusted comment: b\nabc=\n";
    const ARMOUR: &str = "-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n";

    fn frame(magic: u8, content: &[u8]) -> Vec<u8> {
        let len = u32::try_from(content.len()).unwrap().to_le_bytes();
        [&[magic, 0x2a, 0x4d, 0x18], &len[..], content].concat()
    }

    fn content(rest: &str) -> Vec<u8> {
        [TAG, rest.as_bytes()].concat()
    }

    fn read(bytes: &[u8]) -> Option<Carried> {
        Carried::read(&mut &*bytes).unwrap()
    }

    #[test]
    fn a_frame_is_read_and_nothing_behind_it() {
        for magic in 0x50..=0x5f {
            let frame = frame(magic, &content(&format!("a  b\n{MINISIG}{ARMOUR}{MINISIG}")));
            let image = [&frame[..], b"image"].concat();
            let mut rest = &image[..];
            let carried = Carried::read(&mut rest).unwrap().unwrap();
            assert_eq!((rest, carried.len), (&b"image"[..], frame.len() as u64));
            assert_eq!(carried.list, b"a  b\n");
            assert_eq!(blocks(MINISIG.repeat(3).as_bytes()), [MINISIG.as_bytes(); 3]);
            let signatures = [(".minisig", MINISIG.repeat(2)), (".asc", ARMOUR.to_owned())]
                .map(|(ending, text)| (format!("{SUMS}{ending}"), text.into_bytes()));
            assert_eq!(carried.signatures, signatures);
        }
    }

    #[test]
    fn what_is_no_frame_with_a_signature_is_no_signature() {
        let good = content(&format!("a  b\n{MINISIG}"));
        let long = [&good[..], &vec![b'\n'; MOST_CONTENT]].concat();
        for bytes in [
            frame(0x50, &[]),
            frame(0x50, b"abide-signature 2\na  b\n"),
            frame(0x50, b"abide-signature 1"),
            frame(0x50, b"made by pzstd"),
            frame(0x60, &good),
            frame(0x4f, &good),
            frame(0x50, &long),
            // It is not the first frame.
            [frame(0x50, b"pzstd"), frame(0x50, &good)].concat(),
            vec![],
            b"\x28\xb5\x2f\xfd".to_vec(),
        ] {
            assert_eq!(read(&bytes), None, "{:?}", bytes.get(..40));
        }
        let whole = frame(0x50, &good);
        for len in 0..whole.len() {
            assert_eq!(read(&whole[..len]), None, "{len}");
        }
        let longest = [&good[..], &vec![b'\n'; MOST_CONTENT - good.len()]].concat();
        assert!(read(&frame(0x50, &longest)).is_some());
    }

    #[test]
    fn a_frame_without_a_signature_has_none() {
        assert_eq!(read(&frame(0x50, TAG)).unwrap().signatures, []);
        assert_eq!(read(&frame(0x50, &content("a  b\n untrusted comment: x\n"))).unwrap().signatures, []);
    }
}
