//! Unpacks an image. The format is detected from its magic bytes, not from its name.

use std::io::{self, BufRead, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;

use crate::image::chunks::Chunks;
use crate::image::window;
use crate::web_page::is_page;
use abide_core::error::{Error, OrError, Result};
use abide_core::root::Root;

/// What the xz decoder needs beside its window (liblzma, `lzma_decoder_memusage`).
const XZ_SPARE: u64 = 4 << 20;

/// `LZMA_CONCATENATED` of `lzma/container.h`: one stream may follow another.
const XZ_SEVERAL_STREAMS: u32 = 0x08;

/// An unpacked source.
pub struct Decoder {
    codec: Codec,
    /// The largest window that is allowed.
    limit: u64,
    /// The window of the first frame, if known.
    wanted: Option<u64>,
}

enum Codec {
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
    /// [`Error::Image`] if the source cannot be read, is empty, is packed in a format that is not supported, or with a
    /// window that is too large.
    pub fn open(packed: Chunks, name: &str) -> Result<Self> {
        Self::within(packed, name, window::limit(&Root::live()))
    }

    /// As [`Decoder::open`]; `limit`: the largest window.
    fn within(mut packed: Chunks, name: &str, limit: u64) -> Result<Self> {
        let head = packed.fill_buf().or_image(|| format!("{name}: cannot read"))?;
        if head.is_empty() {
            return Err(Error::Image(format!("{name}: is empty")));
        }
        if is_page(head) {
            return Err(Error::Image(format!(
                "{name}: is a web page, not an image: saved from a login page?"
            )));
        }
        let magic = Magic::of(head);
        let (format, wanted) = match magic {
            Magic::Zstd => ("zstd", window::of_zstd(head)),
            Magic::Xz => ("xz", window::of_xz(head)),
            _ => ("", None),
        };
        if wanted.is_some_and(|wanted| wanted > limit) {
            return Err(Error::Image(format!("{name}: {}", window::told(format, wanted, limit))));
        }
        Ok(Self { codec: Codec::open(packed, &magic, name, limit)?, limit, wanted })
    }

    /// The source.
    pub fn source(&self) -> &Chunks {
        match &self.codec {
            Codec::Plain(chunks) => chunks,
            Codec::Gzip(decoder) => decoder.get_ref(),
            Codec::Zstd(decoder) => decoder.get_ref(),
            Codec::Xz(decoder) => decoder.get_ref(),
            Codec::Bzip2(decoder) => decoder.get_ref(),
        }
    }

    /// The source, with the bytes that were not decoded yet.
    pub fn into_inner(self) -> Chunks {
        match self.codec {
            Codec::Plain(chunks) => chunks,
            Codec::Gzip(decoder) => decoder.into_inner(),
            Codec::Zstd(decoder) => decoder.finish(),
            Codec::Xz(decoder) => decoder.into_inner(),
            Codec::Bzip2(decoder) => decoder.into_inner(),
        }
    }

    /// The error of a frame after the first one that wants too large a window, in other words.
    fn explained(&self, error: io::Error) -> io::Error {
        let (format, is_window) = match &self.codec {
            // `ZSTD_getErrorName(ZSTD_error_frameParameter_windowTooLarge)`.
            Codec::Zstd(_) => ("zstd", error.to_string().contains("too much memory")),
            Codec::Xz(_) => {
                let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
                ("xz", cause == Some(&liblzma::stream::Error::MemLimit))
            }
            _ => ("", false),
        };
        let wanted = self.wanted.filter(|wanted| *wanted > self.limit);
        let told = || window::told(format, wanted, self.limit);
        if is_window { io::Error::new(io::ErrorKind::Unsupported, told()) } else { error }
    }
}

impl Codec {
    fn open(packed: Chunks, magic: &Magic, name: &str, limit: u64) -> Result<Self> {
        let cannot = || format!("{name}: cannot decode");
        match magic {
            Magic::Gzip => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(packed)))),
            Magic::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).or_image(cannot)?;
                decoder.window_log_max(limit.ilog2()).or_image(cannot)?;
                Ok(Self::Zstd(Box::new(decoder)))
            }
            Magic::Xz => {
                let memory = limit + XZ_SPARE;
                let stream = liblzma::stream::Stream::new_stream_decoder(memory, XZ_SEVERAL_STREAMS)
                    .or_image(cannot)?;
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
                        "{name}: its content does not match its suffix; it is not compressed, or damaged"
                    )));
                }
                Ok(Self::Plain(packed))
            }
        }
    }
}

impl Read for Decoder {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.codec {
            Codec::Plain(decoder) => decoder.read(to),
            Codec::Gzip(decoder) => decoder.read(to),
            Codec::Zstd(decoder) => decoder.read(to),
            Codec::Xz(decoder) => decoder.read(to),
            Codec::Bzip2(decoder) => decoder.read(to),
        };
        read.map_err(|e| self.explained(e))
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

    fn within(bytes: &[u8], limit: u64) -> std::result::Result<usize, String> {
        let (chunks, _) = chunks::start(Box::new(io::Cursor::new(bytes.to_vec())), None).unwrap();
        let mut decoder = Decoder::within(chunks, "x", limit).map_err(|e| e.to_string())?;
        let mut all = Vec::new();
        decoder.read_to_end(&mut all).map_err(|e| e.to_string())
    }

    fn zstd_with_window(log: u32) -> Vec<u8> {
        let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.write_all(&sample()).unwrap();
        encoder.finish().unwrap()
    }

    fn xz_with_window(size: u32) -> Vec<u8> {
        let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
        options.dict_size(size);
        let mut filters = liblzma::stream::Filters::new();
        filters.lzma2(&options);
        let stream =
            liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc64).unwrap();
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(&sample()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_window_that_is_too_large_is_an_error_that_names_a_smaller_one() {
        let len = sample().len();
        for (packed, remedy) in [(zstd_with_window(27), "`zstd -19`"), (xz_with_window(128 << 20), "`xz -9`")]
        {
            assert_eq!(within(&packed, 128 << 20), Ok(len));
            let error = within(&packed, 64 << 20).unwrap_err();
            assert!(error.contains("128 MiB") && error.contains(remedy), "{error}");
        }
        // In a frame that is not the first.
        let later = [zstd(&[1]), zstd_with_window(27)].concat();
        let error = within(&later, 64 << 20).unwrap_err();
        assert!(error.contains("a larger window") && error.contains("`zstd -19`"), "{error}");
        let later = [xz(&[1]), xz_with_window(128 << 20)].concat();
        let error = within(&later, 64 << 20).unwrap_err();
        assert!(error.contains("a larger window") && error.contains("`xz -9`"), "{error}");
        assert!(within(&zstd_with_window(28), 128 << 20).unwrap_err().contains("256 MiB"));
    }

    #[test]
    fn a_file_that_is_not_packed_as_its_name_says_is_an_error() {
        assert!(decode(b"<html>not here", "http://x/a.raw").unwrap_err().contains("is a web page"));
        assert!(
            decode(b"not packed", "http://x/a.raw.gz").unwrap_err().contains("does not match its suffix")
        );
        assert!(decode(b"PK\x03\x04rest", "a.raw.xz").unwrap_err().contains("compressed with zip"));
        assert!(decode(b"", "a.raw").unwrap_err().contains("empty"));
    }
}
