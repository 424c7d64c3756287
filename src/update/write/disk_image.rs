//! The image of a whole disk.

use std::io::{self, Read};
use std::path::PathBuf;

use crate::config::Download;
use crate::disk::gpt::NO_AUTO;
use crate::disk::role::Role;
use crate::image::transfer::Known;
use crate::image::trust::Expected;
use crate::image::{
    Esp, HEAD, ImagePartition, Layout, PartitionType, Source, Spool, Stream, sha256, wrong_digest,
};
use crate::update::write::open_image::{Fill, ImageSummary, OpenImage, PartitionSummary, ReadSeek, no_uki};
use crate::update::write::staged_uki;
use abide_core::boot::model::uki;
use abide_core::error::{Error, OrError, Result};
use abide_core::state::Uki;

/// The largest ESP of an image that is read.
const MAX_ESP: u64 = 16 << 30;

/// An image whose partition table was read and whose ESP is kept.
pub struct DiskImage {
    name: String,
    layout: Layout,
    esp: ImagePartition,
    root: ImagePartition,
    stream: Stream,
    kept: Option<Esp>,
    spool_dirs: Vec<PathBuf>,
    sha256: Option<String>,
    /// The length of the signature in front of it.
    skip: u64,
    /// Whether it can be read twice.
    repeatable: bool,
    /// The partitions to write, in the order of their position.
    partitions: Vec<(Role, ImagePartition)>,
}

/// The result of reading an image up to the end of its ESP.
struct FirstReading {
    layout: Layout,
    kept: Esp,
    /// Whether the root comes before the ESP, so that the image must be read a second time.
    is_past_root: bool,
}

impl DiskImage {
    /// Reads up to the end of the ESP. If the root comes before it, a plain file is read twice; anything
    /// else is refused. `source`: the image, if it is open already, at its first byte.
    pub fn open(
        image: &str,
        source: Option<Source>,
        download: &Download,
        spool_dirs: &[PathBuf],
        expected: Expected,
    ) -> Result<Self> {
        let Expected { sha256, claim, skip, .. } = expected;
        let has_digest = sha256.is_some() || claim.is_some();
        let open = || open_behind(image, skip, download, Known { has_digest, ..Known::default() });
        let source = source.map_or_else(open, Ok)?;
        let (name, repeatable) = (source.name.clone(), source.repeatable);
        let mut stream = Stream::open(source, claim.clone())?;
        let first = match FirstReading::of(&mut stream, repeatable, spool_dirs) {
            Ok(first) => first.ok_or_else(|| root_first(&name))?,
            Err(e) => return Err(stream.or_changed(e, sha256.as_deref())),
        };
        let FirstReading { layout, kept, is_past_root } = first;
        let (esp, root) = (layout.esp(&name)?.clone(), layout.root(&name)?.clone());
        if is_past_root {
            stream = Stream::open(open()?, claim)?;
            if Layout::parse(stream.peek(HEAD)?, &name)? != layout {
                return Err(changed(&name));
            }
        }
        let partitions = layout.slot(&name)?;
        let (kept, spool_dirs) = (Some(kept), spool_dirs.to_vec());
        Ok(Self { name, layout, esp, root, stream, kept, spool_dirs, sha256, skip, repeatable, partitions })
    }

    fn kept(&self) -> Result<&Esp> {
        self.kept.as_ref().ok_or_else(|| no_uki(&self.name))
    }

    fn partition(&self, role: Role) -> &ImagePartition {
        let found = self.partitions.iter().find(|(its, _)| *its == role);
        found.map_or(&self.root, |(_, partition)| partition)
    }

    fn read_rest(&mut self, staged: &Uki) -> Result<()> {
        if self.root.start < self.esp.start {
            let again = keep(&mut self.stream, &self.esp, &self.spool_dirs)?;
            let uki = staged_uki::measure(again.uki()?).or_image(|| format!("{}: cannot read", self.name))?;
            if uki != *staged {
                return Err(changed(&self.name));
            }
        }
        // Without a digest, only decoding the rest detects damage in it. With one, the checksum of the codec is at the
        // end: the digest may have been made of a damaged file.
        self.stream.decode_rest(if self.sha256.is_none() { Some(self.layout.disk_len) } else { None })
    }
}

impl FirstReading {
    /// `None` if a second reading would be needed and is impossible.
    fn of(stream: &mut Stream, repeatable: bool, spool_dirs: &[PathBuf]) -> Result<Option<Self>> {
        let name = stream.name().to_owned();
        let layout = Layout::parse(stream.peek(HEAD)?, &name)?;
        let (esp, root) = (layout.esp(&name)?.clone(), layout.root(&name)?);
        let is_past_root = root.start < esp.start;
        let is_hashes =
            |p: &&ImagePartition| matches!(p.kind, PartitionType::Verity | PartitionType::VeritySig);
        if layout.partitions.iter().filter(is_hashes).any(|p| (p.start < esp.start) != is_past_root) {
            return Err(Error::Image(format!(
                "{name}: its EFI system partition lies between the root and its hashes; put it first"
            )));
        }
        if is_past_root && !repeatable {
            return Ok(None);
        }
        let kept = keep(stream, &esp, spool_dirs)?;
        Ok(Some(Self { layout, kept, is_past_root }))
    }
}

impl OpenImage for DiskImage {
    fn name(&self) -> &str {
        &self.name
    }

    fn summary(&self) -> Result<ImageSummary> {
        let esp = self.kept()?;
        let uki = uki::read(esp.uki()?, true)
            .or_image(|| format!("{}: its UKI {} cannot be read", self.name, esp.uki_path()))?;
        let partition = |(role, partition): &(Role, ImagePartition)| PartitionSummary {
            role: *role,
            len: Some(partition.len),
            no_auto: partition.flags & NO_AUTO != 0,
        };
        Ok(ImageSummary {
            partitions: self.partitions.iter().map(partition).collect(),
            root_arch: match self.root.kind {
                PartitionType::Root(arch) => Some(arch),
                _ => None,
            },
            uki,
            uki_size: esp.uki_size(),
        })
    }

    fn verify_ahead(&self) -> Result<()> {
        let Some(wanted) = self.sha256.as_deref().filter(|_| self.repeatable) else { return Ok(()) };
        let cannot = || format!("{}: cannot read", self.name);
        let Some(mut source) = Source::file(&self.name)? else { return Err(changed(&self.name)) };
        io::copy(&mut source.reader.by_ref().take(self.skip), &mut io::sink()).or_image(cannot)?;
        match sha256::of_reader(source.reader).or_image(cannot)? {
            (digest, _) if digest != wanted => Err(wrong_digest(&self.name, &digest, wanted)),
            _ => Ok(()),
        }
    }

    fn uki(&self) -> Result<Box<dyn ReadSeek + '_>> {
        Ok(Box::new(self.kept()?.uki()?))
    }

    fn drop_uki(&mut self) {
        self.kept = None;
    }

    fn peek(&mut self, role: Role, len: usize) -> Result<Vec<u8>> {
        let start = self.partition(role).start;
        self.stream.skip_to(start)?;
        self.stream.look_ahead(len)
    }

    fn read(&mut self, role: Role) -> Result<Fill<'_>> {
        let partition = self.partition(role).clone();
        self.stream.skip_to(partition.start)?;
        let (stream, end) = (&mut self.stream, partition.end());
        Ok(Box::new(move |to: &mut [u8]| {
            let left = usize::try_from(end.saturating_sub(stream.position())).unwrap_or(usize::MAX);
            let count = to.len().min(left);
            stream.fill_all(to.get_mut(..count).unwrap_or_default(), end)?;
            Ok(count)
        }))
    }

    fn end_partition(&mut self) -> Result<()> {
        Ok(())
    }

    fn finish(mut self: Box<Self>, staged: &Uki) -> Result<String> {
        if let Err(e) = self.read_rest(staged) {
            return Err(self.or_changed(e));
        }
        self.stream.verified(self.sha256.as_deref())
    }

    fn or_changed(self: Box<Self>, error: Error) -> Error {
        self.stream.or_changed(error, self.sha256.as_deref())
    }
}

/// Opens the image behind a signature of `skip` bytes.
fn open_behind(image: &str, skip: u64, download: &Download, known: Known) -> Result<Source> {
    let mut source = Source::open_known(image, download, known)?;
    let skipped = io::copy(&mut source.reader.by_ref().take(skip), &mut io::sink());
    skipped.or_image(|| format!("{}: cannot read", source.name))?;
    Ok(source)
}

/// Keeps the ESP; `stream` must not be past its first byte.
fn keep(stream: &mut Stream, esp: &ImagePartition, spool_dirs: &[PathBuf]) -> Result<Esp> {
    if esp.len > MAX_ESP {
        let (name, len, most) = (stream.name(), esp.len >> 30, MAX_ESP >> 30);
        return Err(Error::Image(format!(
            "{name}: its EFI system partition has {len} GiB; more than {most} GiB are not read"
        )));
    }
    stream.skip_to(esp.start)?;
    let mut spool = Spool::new(spool_dirs.to_vec());
    let end = esp.end();
    spool.keep_all(esp.len, |to| stream.fill_all(to, end))?;
    Esp::open(spool, stream.name())
}

fn root_first(name: &str) -> Error {
    Error::Image(format!(
        "{name}: its root comes before its EFI system partition, so it cannot be written in one pass; \
         download it and give the file, or put the EFI system partition first"
    ))
}

fn changed(name: &str) -> Error {
    Error::Unverified(format!("{name}: changed while it was read"))
}
