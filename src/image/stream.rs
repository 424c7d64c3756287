//! An image as it is read: decoded, hashed and counted in one pass.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::Source;
use super::chunks::{self, Hashed};
use super::codec::Decoder;
use crate::error::{OrError, Result};

/// The decoded bytes of a source; reading them hashes the published ones.
pub struct Stream {
    name: String,
    packed_len: Option<u64>,
    decoder: Decoder,
    hashed: Hashed,
    position: u64,
}

impl Stream {
    /// Starts reading.
    ///
    /// # Errors
    /// [`crate::error::Error::Image`] if the source cannot be read or decoded.
    pub fn open(source: Source) -> Result<Self> {
        let Source { name, len, reader, .. } = source;
        let (packed, hashed) = chunks::start(reader).or_image(|| format!("{name}: cannot read"))?;
        let decoder = Decoder::open(packed, &name)?;
        Ok(Self { name, packed_len: len, decoder, hashed, position: 0 })
    }

    /// What the user calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many decoded bytes were read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many published bytes there are, where that is known.
    #[must_use]
    pub fn packed_len(&self) -> Option<u64> {
        self.packed_len
    }

    /// How many published bytes were read; shared, for showing progress.
    #[must_use]
    pub fn packed_position(&self) -> Arc<AtomicU64> {
        self.hashed.counter()
    }

    /// Fills `to` as far as the image reaches.
    ///
    /// # Errors
    /// [`crate::error::Error::Image`] if the source cannot be read or is damaged.
    pub fn fill(&mut self, to: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.decoder.read(rest) {
                Ok(0) => break,
                Ok(count) => {
                    done += count;
                    self.position += count as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    return Err(e).or_image(|| format!("{}: damaged at byte {}", self.name, self.position));
                }
            }
        }
        Ok(done)
    }

    /// Reads on to decoded byte `position`, which must not lie behind.
    ///
    /// # Errors
    /// [`crate::error::Error::Image`] as [`Stream::fill`], and if the image ends before.
    pub fn skip_to(&mut self, position: u64) -> Result<()> {
        let mut scratch = vec![0; 64 * 1024];
        while self.position < position {
            let want = usize::try_from(position - self.position).unwrap_or(usize::MAX).min(scratch.len());
            let part = scratch.get_mut(..want).unwrap_or_default();
            if self.fill(part)? < want {
                return Err(self.ends_early(position));
            }
        }
        Ok(())
    }

    /// The error for an image that is shorter than its partition table says.
    #[must_use]
    pub fn ends_early(&self, wanted: u64) -> crate::error::Error {
        crate::error::Error::Image(format!(
            "{}: ends at byte {}, but its partition table speaks of {wanted}; it is truncated",
            self.name, self.position
        ))
    }

    /// Reads the rest and gives the SHA-256 of all published bytes. With `decode` the rest is
    /// unpacked too, so that damage in it is noticed even where no digest is known.
    ///
    /// # Errors
    /// [`crate::error::Error::Image`] as [`Stream::fill`].
    pub fn finish(mut self, decode: bool) -> Result<[u8; 32]> {
        let mut scratch = vec![0; 256 * 1024];
        if decode {
            while self.fill(&mut scratch)? > 0 {}
        }
        let mut rest = self.decoder.into_inner();
        let cannot = || format!("{}: cannot read", self.name);
        io::copy(&mut rest, &mut io::sink()).or_image(cannot)?;
        drop(rest);
        let digest = self.hashed.digest().or_image(cannot)?;
        Ok(digest)
    }
}
