//! An image as it is read: decoded, hashed and counted in one pass.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::image::Source;
use crate::image::chunks;
use crate::image::chunks::Hashed;
use crate::image::codec::Decoder;
use crate::image::trust::Claim;
use abide_core::error::{Error, OrError, Result};
use abide_core::hex;

/// The decoded bytes of a source; reading them hashes the published ones.
pub struct Stream {
    name: String,
    packed_len: Option<u64>,
    decoder: Decoder,
    hashed: Hashed,
    /// Whether a signature is checked along the way.
    claimed: bool,
    position: u64,
    /// Bytes that were looked at and not yet read, and how many of them have been since.
    peeked: Vec<u8>,
    peeked_read: usize,
}

impl Stream {
    /// Starts reading; a `claim` is checked along the way.
    ///
    /// # Errors
    /// [`Error::Image`] if the source cannot be read or decoded.
    pub fn open(source: Source, claim: Option<Claim>) -> Result<Self> {
        let Source { name, len, reader, .. } = source;
        let claimed = claim.is_some();
        let (packed, hashed) = chunks::start(reader, claim).or_image(|| format!("{name}: cannot read"))?;
        let decoder = Decoder::open(packed, &name)?;
        Ok(Self {
            name,
            packed_len: len,
            decoder,
            hashed,
            claimed,
            position: 0,
            peeked: Vec::new(),
            peeked_read: 0,
        })
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
    /// [`Error::Image`] if the source cannot be read or is damaged.
    pub fn fill(&mut self, to: &mut [u8]) -> Result<usize> {
        let mut done = self.fill_from_peeked(to);
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

    fn fill_from_peeked(&mut self, to: &mut [u8]) -> usize {
        let peeked = self.peeked.get(self.peeked_read..).unwrap_or_default();
        let count = peeked.len().min(to.len());
        to.split_at_mut(count).0.copy_from_slice(peeked.split_at(count).0);
        self.peeked_read += count;
        self.position += count as u64;
        count
    }

    /// Looks at the first `len` bytes, or as many as there are, without reading them.
    ///
    /// # Errors
    /// As [`Stream::fill`].
    pub fn peek(&mut self, len: usize) -> Result<&[u8]> {
        if self.position == 0 && self.peeked.is_empty() {
            let mut head = vec![0; len];
            let count = self.fill(&mut head)?;
            head.truncate(count);
            self.peeked = head;
            self.position = 0;
        }
        Ok(&self.peeked)
    }

    /// Fills all of `to`; the image is expected to reach to decoded byte `wanted` at least.
    ///
    /// # Errors
    /// As [`Stream::fill`], and if the image ends before.
    pub fn fill_all(&mut self, to: &mut [u8], wanted: u64) -> Result<()> {
        if self.fill(to)? < to.len() { Err(self.ends_early(wanted)) } else { Ok(()) }
    }

    /// Reads on to decoded byte `position`, which must not lie behind.
    ///
    /// # Errors
    /// [`Error::Image`] as [`Stream::fill`], and if the image ends before.
    pub fn skip_to(&mut self, position: u64) -> Result<()> {
        let mut scratch = vec![0; 64 * 1024];
        while self.position < position {
            let want = usize::try_from(position - self.position).unwrap_or(usize::MAX).min(scratch.len());
            let part = scratch.get_mut(..want).unwrap_or_default();
            self.fill_all(part, position)?;
        }
        Ok(())
    }

    /// The error for an image that is shorter than its partition table says.
    #[must_use]
    pub fn ends_early(&self, wanted: u64) -> Error {
        Error::Image(format!(
            "{}: ends at byte {}, but its partition table speaks of {wanted}; it is truncated",
            self.name, self.position
        ))
    }

    /// Decodes the rest, so that damage in it is noticed even where no digest is known. The image
    /// must end at decoded byte `end`.
    ///
    /// # Errors
    /// [`Error::Image`] as [`Stream::fill`], and if it does not.
    pub fn decode_rest(&mut self, end: u64) -> Result<()> {
        let mut scratch = vec![0; 256 * 1024];
        while self.fill(&mut scratch)? > 0 {
            if self.position > end {
                return Err(Error::Image(format!(
                    "{}: goes on after byte {end}, where its partition table says it ends",
                    self.name
                )));
            }
        }
        if self.position < end { Err(self.ends_early(end)) } else { Ok(()) }
    }

    /// Reads what is left, without decoding it, and gives the SHA-256 of all published bytes, which
    /// must be `wanted`.
    ///
    /// # Errors
    /// [`Error::Image`] if the source cannot be read, [`Error::Unverified`] if its bytes are not
    /// what was wanted or signed.
    pub fn verified(self, wanted: Option<&str>) -> Result<String> {
        let cannot = || format!("{}: cannot read", self.name);
        let mut rest = self.decoder.into_inner();
        io::copy(&mut rest, &mut io::sink()).or_image(cannot)?;
        drop(rest);
        let outcome = self.hashed.outcome().or_image(cannot)?;
        let digest = hex::encode(&outcome.sha256);
        match wanted {
            Some(wanted) if digest != wanted => Err(Error::Unverified(format!(
                "{}: its SHA-256 is {digest}, not {wanted}; it was damaged or exchanged",
                self.name
            ))),
            _ if outcome.signed == Some(false) => Err(Error::Unverified(format!(
                "{}: its signature does not fit: the image or the signature was changed",
                self.name
            ))),
            _ => Ok(digest),
        }
    }

    /// What to say of an image that makes no sense: if its bytes are not those that are expected, that
    /// is the reason.
    #[must_use]
    pub fn or_changed(self, error: Error, wanted: Option<&str>) -> Error {
        let known = (wanted.is_some() || self.claimed) && !self.decoder.source().has_failed();
        match error {
            Error::Image(_) if known => match self.verified(wanted) {
                Err(unverified @ Error::Unverified(_)) => unverified,
                _ => error,
            },
            error => error,
        }
    }
}
