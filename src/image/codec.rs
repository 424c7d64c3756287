//! How an image is packed, told by its first bytes; a name may lie.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

use super::chunks::Chunks;
use crate::error::{Error, OrError, Result};

/// The largest window that a zstd frame may ask for, as a power of two: 64 MiB.
/// `zstd -19` needs 8 MiB; only `--ultra -22` and `--long=27` ask for more.
const MAX_ZSTD_WINDOW_LOG: u32 = 26;

/// An unpacked source.
pub enum Decoder {
    /// Not packed.
    Plain(Chunks),
    /// gzip (RFC 1952), one or several members.
    Gzip(Box<MultiGzDecoder<Chunks>>),
    /// Zstandard (RFC 8878), one or several frames.
    Zstd(Box<zstd::stream::read::Decoder<'static, Chunks>>),
}

impl Decoder {
    /// Looks at the first bytes and starts decoding.
    ///
    /// # Errors
    /// [`Error::Image`] if the source cannot be read, is empty, or is packed in a way that is not supported.
    pub fn open(mut packed: Chunks, name: &str) -> Result<Self> {
        let head = packed.fill_buf().or_image(|| format!("{name}: cannot read"))?;
        if head.is_empty() {
            return Err(Error::Image(format!("{name}: is empty")));
        }
        match Magic::of(head) {
            Magic::Gzip => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(packed)))),
            Magic::Zstd => {
                let cannot = || format!("{name}: cannot decode");
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).or_image(cannot)?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG).or_image(cannot)?;
                Ok(Self::Zstd(Box::new(decoder)))
            }
            Magic::Other(kind) => Err(Error::Image(format!(
                "{name}: is packed with {kind}, which this build cannot read; pack the image with zstd or gzip"
            ))),
            Magic::None => {
                let lower = name.to_ascii_lowercase();
                if [".gz", ".zst", ".xz", ".bz2"].iter().any(|end| lower.ends_with(end)) {
                    return Err(Error::Image(format!(
                        "{name}: is not packed as its name says; is it an error page?"
                    )));
                }
                Ok(Self::Plain(packed))
            }
        }
    }

    /// The source below, with what was not decoded yet.
    pub fn into_inner(self) -> Chunks {
        match self {
            Self::Plain(chunks) => chunks,
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.finish(),
        }
    }
}

impl Read for Decoder {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(decoder) => decoder.read(to),
            Self::Gzip(decoder) => decoder.read(to),
            Self::Zstd(decoder) => decoder.read(to),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Magic {
    Gzip,
    Zstd,
    Other(&'static str),
    None,
}

impl Magic {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame, as `pzstd` puts first.
            [first, 0x2a, 0x4d, 0x18, ..] if first & 0xf0 == 0x50 => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Other("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Other("bzip2"),
            [b'P', b'K', 3, 4, ..] => Self::Other("zip"),
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::image::chunks;
    use std::io::Write;

    fn decode(bytes: &[u8], name: &str) -> std::result::Result<Vec<u8>, String> {
        let (chunks, _) = chunks::start(Box::new(io::Cursor::new(bytes.to_vec()))).unwrap();
        let mut decoder = Decoder::open(chunks, name).map_err(|e| e.to_string())?;
        let mut all = Vec::new();
        decoder.read_to_end(&mut all).map_err(|e| e.to_string())?;
        Ok(all)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn sample() -> Vec<u8> {
        (0..300_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect()
    }

    #[test]
    fn the_codec_follows_from_the_bytes_and_not_from_the_name() {
        let bytes = sample();
        assert!(decode(&gzip(&bytes), "x.raw").unwrap() == bytes);
        assert!(decode(&zstd(&bytes), "x.gz").unwrap() == bytes);
        assert!(decode(&bytes, "x.raw").unwrap() == bytes);
    }

    #[test]
    fn several_members_are_one_image() {
        let bytes = sample();
        let twice = [bytes.clone(), bytes.clone()].concat();
        assert!(decode(&[gzip(&bytes), gzip(&bytes)].concat(), "x").unwrap() == twice);
        assert!(decode(&[zstd(&bytes), zstd(&bytes)].concat(), "x").unwrap() == twice);
    }

    #[test]
    fn truncated_input_is_an_error() {
        for packed in [gzip(&sample()), zstd(&sample())] {
            for cut in [1, 5, 100, packed.len() / 2] {
                let (short, _) = packed.split_at(packed.len() - cut);
                assert!(decode(short, "x").is_err(), "{cut} bytes short");
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_an_error() {
        for mut packed in [gzip(&sample()), zstd(&sample())] {
            let middle = packed.len() / 2;
            *packed.get_mut(middle).unwrap() ^= 4;
            assert!(decode(&packed, "x").is_err());
        }
    }

    #[test]
    fn rubbish_after_the_end_is_an_error() {
        for packed in [gzip(&sample()), zstd(&sample())] {
            assert!(decode(&[packed, vec![1; 50]].concat(), "x").is_err());
        }
    }

    #[test]
    fn a_page_that_is_no_archive_is_told_from_one() {
        assert!(decode(b"<html>not here", "http://x/a.raw.gz").unwrap_err().contains("error page"));
        assert!(decode(b"\xfd7zXZ\0rest", "a.raw.xz").unwrap_err().contains("packed with xz"));
        assert!(decode(b"", "a.raw").unwrap_err().contains("empty"));
    }
}
