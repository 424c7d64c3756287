//! An image that is open and described, but not yet written.

use std::io::{Read, Seek};

use crate::disk::role::Role;
use abide_core::boot::model::uki;
use abide_core::error::{Error, Result};
use abide_core::state::Uki;

/// What is known of a partition of an image before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionSummary {
    /// What it holds.
    pub role: Role,
    /// Its size in bytes, if that is known before it is unpacked.
    pub len: Option<u64>,
    /// Whether it has the attribute that excludes it from automatic discovery.
    pub no_auto: bool,
}

/// What is known of an image before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    /// Its partitions, in the order in which they are to be read.
    pub partitions: Vec<PartitionSummary>,
    /// The architecture of its root, if it is given.
    pub root_arch: Option<&'static str>,
    /// The content of its UKI.
    pub uki: uki::Uki,
    /// The size of its UKI in bytes.
    pub uki_size: u64,
}

/// Bytes with random access.
pub trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

/// Fills a buffer with the next bytes of a partition; fewer mean its end.
pub type Fill<'a> = Box<dyn FnMut(&mut [u8]) -> Result<usize> + 'a>;

/// An image, in whatever form it is published.
pub trait OpenImage {
    /// Its name, for messages.
    fn name(&self) -> &str;

    /// Describes it. Fails after [`OpenImage::drop_uki`].
    fn summary(&self) -> Result<ImageSummary>;

    /// Reads a local file once more, if its digest is known: a wrong one must not cost the system in the slot. What is
    /// written is verified all the same.
    fn verify_ahead(&self) -> Result<()>;

    /// Fails if it is certain already that something of the image is missing: that must not cost the system in the slot either.
    fn refuse_lacking(&self) -> Result<()> {
        Ok(())
    }

    /// The UKI's bytes. Fails after [`OpenImage::drop_uki`].
    fn uki(&self) -> Result<Box<dyn ReadSeek + '_>>;

    /// Frees the memory of the UKI.
    fn drop_uki(&mut self);

    /// The first `len` bytes of a partition, or fewer of a shorter one, before it is read. They are not verified yet.
    fn peek(&mut self, role: Role, len: usize) -> Result<Vec<u8>>;

    /// The bytes of a partition. They must be read in the order of the summary.
    fn read(&mut self, role: Role) -> Result<Fill<'_>>;

    /// To be called after each partition was read as far as the slot's partition reaches.
    fn end_partition(&mut self) -> Result<()>;

    /// Reads to the end and returns the digest of the image. The published bytes must be the expected ones, and
    /// `staged` must be the UKI that they contain.
    fn finish(self: Box<Self>, staged: &Uki) -> Result<String>;

    /// The error to report after `error`: if the published bytes are not the expected ones, that is the cause.
    fn or_changed(self: Box<Self>, error: Error) -> Error;
}

/// The error after [`OpenImage::drop_uki`].
pub fn no_uki(image: &str) -> Error {
    Error::Failed(format!("{image}: its UKI was already dropped"))
}
