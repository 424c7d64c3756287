//! Unpacks an image. The format is detected from its magic bytes, not from its name.

use std::io::{self, BufRead, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;

use crate::image::chunks::Chunks;
use abide_core::error::{Error, OrError, Result};

/// The largest window that a zstd frame may ask for, as a power of two: 64 MiB.
/// `zstd -19` needs 8 MiB; only `--ultra -22` and `--long=27` ask for more.
const MAX_ZSTD_WINDOW_LOG: u32 = 26;

/// The memory limit for unpacking xz: enough for `xz -9`, whose window is 64 MiB.
const MAX_XZ_MEMORY: u64 = 68 << 20;

/// `LZMA_CONCATENATED` of `lzma/container.h`: one stream may follow another.
const XZ_SEVERAL_STREAMS: u32 = 0x08;

/// An unpacked source.
pub enum Decoder {
    /// Not packed.
    Plain(Chunks),
    /// gzip (RFC 1952), one or several members.
    Gzip(Box<MultiGzDecoder<Chunks>>),
    /// Zstandard (RFC 8878), one or several frames.
    Zstd(Box<zstd::stream::read::Decoder<'static, Chunks>>),
    /// xz, one or several streams.
    Xz(Box<XzDecoder<Chunks>>),
    /// bzip2, one or several streams.
    Bzip2(Box<MultiBzDecoder<Chunks>>),
}

impl Decoder {
    /// Detects the format and starts to decode.
    ///
    /// # Errors
    /// [`Error::Image`] if the source cannot be read, is empty, or is packed in a format that is not supported.
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
            Magic::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(MAX_XZ_MEMORY, XZ_SEVERAL_STREAMS)
                    .or_image(|| format!("{name}: cannot decode"))?;
                Ok(Self::Xz(Box::new(XzDecoder::new_stream(packed, stream))))
            }
            Magic::Bzip2 => Ok(Self::Bzip2(Box::new(MultiBzDecoder::new(packed)))),
            Magic::Zip => Err(Error::Image(format!(
                "{name}: is compressed with zip, which is not supported; compress the image with zstd, xz, gzip or bzip2"
            ))),
            Magic::None => {
                let lower = name.to_ascii_lowercase();
                if [".gz", ".zst", ".xz", ".bz2"].iter().any(|end| lower.ends_with(end)) {
                    return Err(Error::Image(format!(
                        "{name}: its content does not match its suffix; it may be an HTML error page"
                    )));
                }
                Ok(Self::Plain(packed))
            }
        }
    }

    /// The source.
    pub fn source(&self) -> &Chunks {
        match self {
            Self::Plain(chunks) => chunks,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref(),
            Self::Xz(decoder) => decoder.get_ref(),
            Self::Bzip2(decoder) => decoder.get_ref(),
        }
    }

    /// The source, with the bytes that were not decoded yet.
    pub fn into_inner(self) -> Chunks {
        match self {
            Self::Plain(chunks) => chunks,
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.finish(),
            Self::Xz(decoder) => decoder.into_inner(),
            Self::Bzip2(decoder) => decoder.into_inner(),
        }
    }
}

impl Read for Decoder {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(decoder) => decoder.read(to),
            Self::Gzip(decoder) => decoder.read(to),
            Self::Zstd(decoder) => decoder.read(to),
            Self::Xz(decoder) => decoder.read(to),
            Self::Bzip2(decoder) => decoder.read(to),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Magic {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
    Zip,
    None,
}

impl Magic {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame, as `pzstd` puts first.
            [first, 0x2a, 0x4d, 0x18, ..] if first & 0xf0 == 0x50 => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', ..] | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, ..] => {
                Self::Bzip2
            }
            [b'P', b'K', 3, 4, ..] => Self::Zip,
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
        let (chunks, _) = chunks::start(Box::new(io::Cursor::new(bytes.to_vec())), None).unwrap();
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

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    type Pack = fn(&[u8]) -> Vec<u8>;

    const PACKERS: [Pack; 4] = [gzip, zstd, xz, bzip2];

    fn sample() -> Vec<u8> {
        (0..300_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect()
    }

    #[test]
    fn the_codec_follows_from_the_bytes_and_not_from_the_name() {
        let bytes = sample();
        for pack in PACKERS {
            assert!(decode(&pack(&bytes), "x.raw").unwrap() == bytes);
            assert!(decode(&pack(&bytes), "x.gz").unwrap() == bytes);
        }
        assert!(decode(&bytes, "x.raw").unwrap() == bytes);
    }

    #[test]
    fn several_members_are_one_image() {
        let bytes = sample();
        let twice = [bytes.clone(), bytes.clone()].concat();
        for pack in PACKERS {
            assert!(decode(&[pack(&bytes), pack(&bytes)].concat(), "x").unwrap() == twice);
        }
    }

    #[test]
    fn truncated_input_is_an_error() {
        for packed in PACKERS.map(|pack| pack(&sample())) {
            for cut in [1, 5, 100, packed.len() / 2] {
                let (short, _) = packed.split_at(packed.len() - cut);
                assert!(decode(short, "x").is_err(), "{cut} bytes short");
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_an_error() {
        for mut packed in PACKERS.map(|pack| pack(&sample())) {
            let middle = packed.len() / 2;
            *packed.get_mut(middle).unwrap() ^= 4;
            assert!(decode(&packed, "x").is_err());
        }
    }

    #[test]
    fn undefined_data_after_the_end_is_an_error() {
        for packed in PACKERS.map(|pack| pack(&sample())) {
            for trailer in [vec![1; 50], vec![0; 7]] {
                assert!(decode(&[packed.clone(), trailer].concat(), "x").is_err());
            }
        }
    }

    #[test]
    fn a_window_that_is_too_large_is_an_error() {
        let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
        options.dict_size(128 << 20);
        let mut filters = liblzma::stream::Filters::new();
        filters.lzma2(&options);
        let stream =
            liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc64).unwrap();
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(&sample()).unwrap();
        assert!(decode(&encoder.finish().unwrap(), "x").unwrap_err().contains("memory"));
        let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(&sample()).unwrap();
        assert!(decode(&encoder.finish().unwrap(), "x").is_err());
    }

    #[test]
    fn a_file_that_is_not_packed_as_its_name_says_is_an_error() {
        assert!(decode(b"<html>not here", "http://x/a.raw.gz").unwrap_err().contains("HTML error page"));
        assert!(decode(b"PK\x03\x04rest", "a.raw.xz").unwrap_err().contains("compressed with zip"));
        assert!(decode(b"", "a.raw").unwrap_err().contains("empty"));
    }
}
