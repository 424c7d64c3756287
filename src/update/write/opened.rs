//! An image that was opened far enough to be judged.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use sha2::{Digest, Sha256};

use crate::update::write::disk_image::DiskImage;
use crate::update::write::set::SetImage;
use abide_core::boot::model::uki;
use abide_core::disk::Role;
use abide_core::error::{Error, Result};
use abide_core::hex;
use abide_core::state;

/// One partition of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// What it holds.
    pub role: Role,
    /// Bytes, where that is known before it is unpacked.
    pub len: Option<u64>,
    /// Whether it is not to be discovered by itself.
    pub no_auto: bool,
}

/// What there is to know about an image before any of it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The root, and what is beside it.
    pub parts: Vec<Part>,
    /// The architecture that its root is said to be for.
    pub root_arch: Option<&'static str>,
    /// What its UKI says.
    pub uki: uki::Uki,
    /// Bytes of its UKI.
    pub uki_size: u64,
}

/// Bytes that can be read in any order.
pub trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

/// Gives the bytes of a partition; fewer than asked for at its end.
pub type Fill<'a> = Box<dyn FnMut(&mut [u8]) -> Result<usize> + 'a>;

/// An image of either kind.
pub enum Opened {
    /// One file: a whole disk.
    Disk(Box<DiskImage>),
    /// One file for each partition, and one for the UKI.
    Set(Box<SetImage>),
}

impl Opened {
    /// What to call it in messages.
    pub fn name(&self) -> &str {
        match self {
            Self::Disk(image) => image.name(),
            Self::Set(image) => image.name(),
        }
    }

    pub fn described(&self) -> Result<Described> {
        match self {
            Self::Disk(image) => image.described(),
            Self::Set(image) => image.described(),
        }
    }

    /// The UKI's bytes.
    pub fn uki(&self) -> Result<Box<dyn ReadSeek + '_>> {
        Ok(match self {
            Self::Disk(image) => Box::new(image.uki()?),
            Self::Set(image) => Box::new(image.uki()?),
        })
    }

    /// Gives the memory back that the UKI takes.
    pub fn forget_uki(&mut self) {
        match self {
            Self::Disk(image) => image.forget_uki(),
            Self::Set(image) => image.forget_uki(),
        }
    }

    /// How many bytes each of its partitions has, where that is known.
    pub fn lens(&self) -> BTreeMap<Role, Option<u64>> {
        match self {
            Self::Disk(image) => image.lens(),
            Self::Set(image) => image.lens(),
        }
    }

    /// Its partitions, in the order in which they are to be read.
    pub fn order(&self) -> Vec<Role> {
        match self {
            Self::Disk(image) => image.order(),
            Self::Set(image) => image.order(),
        }
    }

    /// The bytes of a partition.
    pub fn read(&mut self, role: Role) -> Result<Fill<'_>> {
        Ok(match self {
            Self::Disk(image) => Box::new(image.read(role)?),
            Self::Set(image) => Box::new(image.read(role)?),
        })
    }

    /// To be called when the slot's partition has all that it takes of the one that was read.
    pub fn end_part(&mut self) -> Result<()> {
        match self {
            Self::Disk(_) => Ok(()),
            Self::Set(image) => image.end_part(),
        }
    }

    /// Reads to the end and gives the digest by which the image is remembered. The published bytes must be
    /// the expected ones, and what was staged must be the UKI that they hold.
    pub fn finish(self, staged: &state::Uki) -> Result<String> {
        match self {
            Self::Disk(image) => image.finish(staged),
            Self::Set(image) => Ok(image.digest().to_owned()),
        }
    }

    /// The error, unless the published bytes are not those that were expected: then that is the error.
    pub fn or_changed(self, error: Error) -> Error {
        match self {
            Self::Disk(image) => image.or_changed(error),
            Self::Set(image) => image.or_changed(error),
        }
    }
}

/// Size and SHA-256 of what a reader gives.
pub fn sha256(reader: &mut impl Read) -> std::io::Result<state::Uki> {
    let mut hash = Sha256::new();
    let mut size = 0_u64;
    let mut block = vec![0; 256 * 1024];
    loop {
        let count = reader.read(&mut block)?;
        let Some(part) = block.get(..count).filter(|part| !part.is_empty()) else { break };
        hash.update(part);
        size += count as u64;
    }
    Ok(state::Uki { sha256: hex::encode(&hash.finalize()), size })
}
