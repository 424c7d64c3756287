//! Reads an image in one pass: decodes it and hashes its published bytes.

use std::io::{self, Read};

use crate::image::chunks;
use crate::image::chunks::Hashed;
use crate::image::codec::Decoder;
use crate::image::source::Source;
use crate::image::trust::minisign::Claim;
use abide_core::error::{Error, OrError, Result};

/// The decoded bytes of a source; reading them hashes the published ones.
pub struct Stream {
    name: String,
    decoder: Decoder,
    hashed: Hashed,
    /// Whether a signature is checked along the way.
    claimed: bool,
    position: u64,
    /// The bytes of the last [`Stream::peek`], and how many of them were read since.
    peeked: Vec<u8>,
    peeked_read: usize,
}

impl Stream {
    /// Starts to read; checks the signature `claim` along the way.
    ///
    /// # Errors
    /// [`Error::Image`] if the source cannot be read or decoded.
    pub fn open(source: Source, claim: Option<Claim>) -> Result<Self> {
        let Source { name, reader, .. } = source;
        let claimed = claim.is_some();
        let (packed, hashed) = chunks::start(reader, claim).or_image(|| format!("{name}: cannot read"))?;
        let decoder = Decoder::open(packed, &name)?;
        Ok(Self { name, decoder, hashed, claimed, position: 0, peeked: Vec::new(), peeked_read: 0 })
    }

    /// The image's name, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many decoded bytes were read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Fills `to`; fewer bytes mean the end of the image.
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
                    let is_damaged = e.kind() != io::ErrorKind::Unsupported;
                    let what = if is_damaged { "damaged" } else { "cannot decode" };
                    return Err(e).or_image(|| format!("{}: {what} at byte {}", self.name, self.position));
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

    /// The first `len` bytes, or fewer in a shorter image; they can be read again.
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

    /// The next `len` bytes, or fewer at the end of the image; they can be read again.
    ///
    /// # Errors
    /// As [`Stream::fill`].
    pub fn look_ahead(&mut self, len: usize) -> Result<Vec<u8>> {
        let mut next = vec![0; len];
        let count = self.fill(&mut next)?;
        next.truncate(count);
        let rest = self.peeked.get(self.peeked_read..).unwrap_or_default();
        self.peeked = [next.as_slice(), rest].concat();
        self.peeked_read = 0;
        self.position -= count as u64;
        Ok(next)
    }

    /// Fills all of `to`. `wanted` is the decoded byte that the image must reach, for the error.
    ///
    /// # Errors
    /// As [`Stream::fill`], and if the image ends before it.
    pub fn fill_all(&mut self, to: &mut [u8], wanted: u64) -> Result<()> {
        if self.fill(to)? < to.len() { Err(self.ends_early(wanted)) } else { Ok(()) }
    }

    /// Skips to decoded byte `position`; does nothing if that was read already.
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
            "{}: is truncated: it ends at byte {}, its partition table needs {wanted}",
            self.name, self.position
        ))
    }

    /// Decodes the rest, which detects damage in it without a digest. The image must end at decoded byte
    /// `end`, if that is given.
    ///
    /// # Errors
    /// [`Error::Image`] as [`Stream::fill`], and if it does not.
    pub fn decode_rest(&mut self, end: Option<u64>) -> Result<()> {
        let mut scratch = vec![0; 256 * 1024];
        while self.fill(&mut scratch)? > 0 {
            if let Some(end) = end.filter(|end| self.position > *end) {
                return Err(Error::Image(format!(
                    "{}: continues after byte {end}, where it should end according to its partition table",
                    self.name
                )));
            }
        }
        match end {
            Some(end) if self.position < end => Err(self.ends_early(end)),
            _ => Ok(()),
        }
    }

    /// Reads the rest without decoding it and returns the SHA-256 of all published bytes, which must be
    /// `wanted`.
    ///
    /// # Errors
    /// [`Error::Image`] if the source cannot be read, [`Error::Unverified`] if the digest or the
    /// signature does not match.
    pub fn verified(self, wanted: Option<&str>) -> Result<String> {
        let cannot = || format!("{}: cannot read", self.name);
        let mut rest = self.decoder.into_inner();
        io::copy(&mut rest, &mut io::sink()).or_image(cannot)?;
        drop(rest);
        let stream = self.hashed.finish().or_image(cannot)?;
        let digest = stream.sha256;
        match wanted {
            Some(wanted) if digest != wanted => Err(wrong_digest(&self.name, &digest, wanted)),
            _ if stream.signed == Some(false) => Err(Error::Unverified(format!(
                "{}: its signature does not match: the image or the signature was changed",
                self.name
            ))),
            _ => Ok(digest),
        }
    }

    /// The error to report for an image that cannot be parsed: if its digest or signature is wrong, that is
    /// the cause and replaces `error`.
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

/// The error for an image with another digest than the expected one.
#[must_use]
pub fn wrong_digest(name: &str, digest: &str, wanted: &str) -> Error {
    Error::Unverified(format!("{name}: its SHA-256 is {digest}, not {wanted}; it is damaged or was replaced"))
}
