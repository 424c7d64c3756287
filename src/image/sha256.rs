//! SHA-256 of files and images.
//!
//! ring is linked for TLS anyway, and is twice as fast as sha2 on a processor without instructions for SHA.

use std::io::{self, Read, Write};

use ring::digest::{Context, SHA256};

use abide_core::hex;

/// A SHA-256 that is being computed.
#[derive(Clone)]
pub struct Sha256(Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Sha256 {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest in lower-case hexadecimal.
    #[must_use]
    pub fn finish(self) -> String {
        hex::encode(self.0.finish().as_ref())
    }
}

impl Write for Sha256 {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The digest of bytes, in lower-case hexadecimal.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> String {
    let mut sha256 = Sha256::default();
    sha256.update(bytes);
    sha256.finish()
}

/// A reader that hashes and counts what is read through it.
pub struct HashingReader<R> {
    reader: R,
    sha256: Sha256,
    len: u64,
}

impl<R: Read> HashingReader<R> {
    /// Starts to hash.
    pub fn new(reader: R) -> Self {
        Self { reader, sha256: Sha256::default(), len: 0 }
    }

    /// The digest and the number of the bytes that were read.
    #[must_use]
    pub fn finish(self) -> (String, u64) {
        (self.sha256.finish(), self.len)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(to)?;
        self.sha256.update(to.get(..count).unwrap_or_default());
        self.len += count as u64;
        Ok(count)
    }
}

/// The digest and the number of all bytes of `reader`.
///
/// # Errors
/// Those of `reader`.
pub fn of_reader(reader: impl Read) -> io::Result<(String, u64)> {
    let mut reader = io::BufReader::with_capacity(256 * 1024, HashingReader::new(reader));
    io::copy(&mut reader, &mut io::sink())?;
    Ok(reader.into_inner().finish())
}

/// A SHA-256 as users and lists write it, in lower case; `None` if it is not one.
#[must_use]
pub fn parse(text: &str) -> Option<String> {
    let is_digest = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_digest.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Of "abc" (FIPS 180-4, example).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_reader_is_hashed_and_counted_to_its_end() {
        assert_eq!(of_reader(b"abc".as_slice()).unwrap(), (ABC.to_owned(), 3));
        let long = vec![7; 1_000_000];
        let mut reader = HashingReader::new(long.as_slice());
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!(reader.finish(), of_reader(long.as_slice()).unwrap());
    }

    #[test]
    fn only_64_hexadecimal_digits_are_a_digest() {
        assert_eq!(parse(&ABC.to_uppercase()).as_deref(), Some(ABC));
        for wrong in ["", "abc", &"g".repeat(64), &"a".repeat(63), &"a".repeat(65)] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
