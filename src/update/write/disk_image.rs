//! The image of a whole disk, opened far enough to be judged.

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::path::PathBuf;

use crate::config::Download;
use crate::disk::gpt::NO_AUTO;
use crate::image::trust::Expected;
use crate::image::{Esp, HEAD, ImagePartition, Layout, PartitionType, Source, Spool, Stream};
use crate::update::write::opened::{Described, Part, sha256};
use abide_core::boot::model::uki;
use abide_core::disk::Role;
use abide_core::error::{Error, OrError, Result};
use abide_core::state;

/// An image whose partition table was read and whose ESP is kept aside.
pub struct DiskImage {
    name: String,
    layout: Layout,
    esp: ImagePartition,
    root: ImagePartition,
    stream: Stream,
    kept: Option<Esp>,
    spool_dirs: Vec<PathBuf>,
    sha256: Option<String>,
    /// What is beside the root, in the order in which it lies on the disk.
    beside: Vec<(Role, ImagePartition)>,
}

impl DiskImage {
    /// Reads up to the end of the ESP. Where the root comes first in an image, a plain
    /// file is read twice; anything else cannot be.
    pub fn open(
        image: &str,
        download: &Download,
        spool_dirs: &[PathBuf],
        expected: Expected,
    ) -> Result<Self> {
        let Expected { sha256, claim } = expected;
        let source = Source::open(image, download)?;
        let (name, repeatable) = (source.name.clone(), source.repeatable);
        let mut stream = Stream::open(source, claim.clone())?;
        let (layout, kept, twice) = match Self::look(&mut stream, repeatable, spool_dirs) {
            Ok(Some(found)) => found,
            Ok(None) => {
                return Err(Error::Image(format!(
                    "{name}: its root comes before its EFI system partition, so it cannot be written in one \
                     pass; download it and give the file, or put the EFI system partition first"
                )));
            }
            Err(e) => return Err(stream.or_changed(e, sha256.as_deref())),
        };
        let (esp, root) = (layout.esp(&name)?.clone(), layout.root(&name)?.clone());
        if twice {
            stream = Stream::open(Source::open(image, download)?, claim)?;
            if Layout::parse(stream.peek(HEAD)?, &name)? != layout {
                return Err(changed(&name));
            }
        }
        let mut beside = Vec::new();
        for (role, kind) in
            [(Role::Verity, PartitionType::Verity), (Role::VeritySig, PartitionType::VeritySig)]
        {
            beside.extend(layout.only(kind, &name)?.map(|partition| (role, partition.clone())));
        }
        let (kept, spool_dirs) = (Some(kept), spool_dirs.to_vec());
        Ok(Self { name, layout, esp, root, stream, kept, spool_dirs, sha256, beside })
    }

    /// The layout, the ESP, and whether the root lies before it; none if that would take a second reading
    /// that cannot be had.
    fn look(
        stream: &mut Stream,
        repeatable: bool,
        spool_dirs: &[PathBuf],
    ) -> Result<Option<(Layout, Esp, bool)>> {
        let name = stream.name().to_owned();
        let layout = Layout::parse(stream.peek(HEAD)?, &name)?;
        let (esp, root) = (layout.esp(&name)?.clone(), layout.root(&name)?);
        let twice = root.start < esp.start;
        let beside = |p: &&ImagePartition| matches!(p.kind, PartitionType::Verity | PartitionType::VeritySig);
        if layout.partitions.iter().filter(beside).any(|p| (p.start < esp.start) != twice) {
            return Err(Error::Image(format!(
                "{name}: its EFI system partition lies between the root and its hashes; put it first"
            )));
        }
        if twice && !repeatable {
            return Ok(None);
        }
        let kept = keep(stream, &esp, spool_dirs)?;
        Ok(Some((layout, kept, twice)))
    }

    /// What to call it in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn described(&self) -> Result<Described> {
        let esp = self.kept()?;
        let uki = uki::read(self.uki()?)
            .or_image(|| format!("{}: its UKI {} cannot be read", self.name, esp.uki_path()))?;
        let part = |role, partition: &ImagePartition| Part {
            role,
            len: Some(partition.len),
            no_auto: partition.flags & NO_AUTO != 0,
        };
        let beside = self.beside.iter().map(|(role, partition)| part(*role, partition));
        Ok(Described {
            parts: std::iter::once(part(Role::Root, &self.root)).chain(beside).collect(),
            root_arch: match self.root.kind {
                PartitionType::Root(arch) => Some(arch),
                _ => None,
            },
            uki,
            uki_size: esp.uki_size(),
        })
    }

    /// The UKI's bytes.
    pub fn uki(&self) -> Result<impl Read + Seek + '_> {
        self.kept()?.uki()
    }

    pub fn lens(&self) -> BTreeMap<Role, Option<u64>> {
        let root = std::iter::once((Role::Root, Some(self.root.len)));
        root.chain(self.beside.iter().map(|(role, partition)| (*role, Some(partition.len)))).collect()
    }

    /// The partitions, in the order in which they lie in the image.
    pub fn order(&self) -> Vec<Role> {
        let mut all: Vec<(u64, Role)> = self.beside.iter().map(|(role, p)| (p.start, *role)).collect();
        all.push((self.root.start, Role::Root));
        all.sort_unstable();
        all.into_iter().map(|(_, role)| role).collect()
    }

    fn kept(&self) -> Result<&Esp> {
        self.kept.as_ref().ok_or_else(|| Error::Failed("the image's UKI is gone already".into()))
    }

    /// Gives the memory back that the UKI takes.
    pub fn forget_uki(&mut self) {
        self.kept = None;
    }

    /// The bytes of a partition, as [`crate::disk::overwrite::overwrite`] wants them.
    pub fn read(&mut self, role: Role) -> Result<impl FnMut(&mut [u8]) -> Result<usize> + '_> {
        let beside = self.beside.iter().find(|(r, _)| *r == role).map(|(_, p)| p);
        let partition = beside.unwrap_or(&self.root);
        self.stream.skip_to(partition.start)?;
        let (stream, end) = (&mut self.stream, partition.end());
        Ok(move |to: &mut [u8]| {
            let left = usize::try_from(end.saturating_sub(stream.position())).unwrap_or(usize::MAX);
            let count = to.len().min(left);
            stream.fill_all(to.get_mut(..count).unwrap_or_default(), end)?;
            Ok(count)
        })
    }

    /// Reads to the end and gives the SHA-256 of the published bytes, which must be the expected one.
    /// What was staged must be the UKI that those bytes hold.
    pub fn finish(mut self, staged: &state::Uki) -> Result<String> {
        if let Err(e) = self.read_rest(staged) {
            return Err(self.stream.or_changed(e, self.sha256.as_deref()));
        }
        self.stream.verified(self.sha256.as_deref())
    }

    /// The error, unless the published bytes are not those that were expected: then that is the error.
    pub fn or_changed(self, error: Error) -> Error {
        self.stream.or_changed(error, self.sha256.as_deref())
    }

    fn read_rest(&mut self, staged: &state::Uki) -> Result<()> {
        if self.root.start < self.esp.start {
            let again = keep(&mut self.stream, &self.esp, &self.spool_dirs)?;
            if sha256(&mut again.uki()?).or_image(|| format!("{}: cannot read", self.name))? != *staged {
                return Err(changed(&self.name));
            }
        }
        // Without a digest, damage in the rest is noticed only by decoding it.
        if self.sha256.is_none() { self.stream.decode_rest(self.layout.disk_len) } else { Ok(()) }
    }
}

/// Keeps the ESP; `stream` must not be past its beginning.
fn keep(stream: &mut Stream, esp: &ImagePartition, spool_dirs: &[PathBuf]) -> Result<Esp> {
    stream.skip_to(esp.start)?;
    let mut spool = Spool::new(spool_dirs.to_vec());
    let end = esp.end();
    spool.keep_all(esp.len, |to| stream.fill_all(to, end))?;
    Esp::open(spool, stream.name())
}

fn changed(name: &str) -> Error {
    Error::Unverified(format!("{name}: changed while it was read"))
}
