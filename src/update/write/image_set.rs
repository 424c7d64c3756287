//! An image as separate files in a folder with `SHA256SUMS`: one for each partition, and the UKI.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::disk::role::Role;
use crate::feed::published::{ListedFile, digest};
use crate::image::names::{Content, Name};
use crate::image::{Folder, Spool, Stream};
use crate::update::write::delta::Delta;
use crate::update::write::open_image::{Fill, ImageSummary, OpenImage, PartitionSummary, ReadSeek, no_uki};
use crate::update::write::regions::RegionStream;
use crate::url::shown;
use abide_core::boot::model::uki;
use abide_core::error::{Error, OrError, Result};
use abide_core::state::Uki;

/// The upper bound of an unpacked UKI, in bytes.
pub const MAX_UKI: u64 = 1 << 30;

/// The files of one version, with the UKI verified and kept.
pub struct ImageSet {
    name: String,
    folder: Folder,
    files: BTreeMap<Content, ListedFile>,
    uki: Option<Spool>,
    digest: String,
    /// How its partitions can be had in parts.
    deltas: BTreeMap<Role, Delta>,
    /// The partition that is being read.
    current: Option<(Role, Current)>,
}

/// A partition that is being read.
enum Current {
    Stream(Box<Stream>),
    /// One that is made in parts, each region of it verified.
    Regions(RegionStream),
}

impl Current {
    fn fill(&mut self, to: &mut [u8]) -> Result<usize> {
        match self {
            Self::Stream(stream) => stream.fill(to),
            Self::Regions(regions) => regions.fill(to),
        }
    }
}

impl ImageSet {
    /// Fetches the UKI and verifies it before anything of it is parsed. `uki`: one that was made and verified already.
    pub fn open(
        folder: Folder,
        files: BTreeMap<Content, ListedFile>,
        deltas: BTreeMap<Role, Delta>,
        uki: Option<Spool>,
        spool_dirs: &[PathBuf],
    ) -> Result<Self> {
        let listed =
            files.get(&Content::Uki).ok_or_else(|| Error::Image(format!("{folder}: lists no UKI")))?;
        let spool = uki.map_or_else(|| fetch_uki(&folder, listed, spool_dirs), Ok)?;
        Ok(Self {
            name: shown(&folder.join(&listed.name)),
            digest: digest(&files),
            folder,
            files,
            uki: Some(spool),
            deltas,
            current: None,
        })
    }

    fn kept(&self) -> Result<&Spool> {
        self.uki.as_ref().ok_or_else(|| no_uki(&self.name))
    }

    fn roles(&self) -> impl Iterator<Item = Role> {
        self.files.keys().filter_map(|content| match content {
            Content::Part(role) => Some(*role),
            Content::Disk | Content::Uki => None,
        })
    }

    /// The size of a partition, if its file is local and not packed.
    fn len(&self, role: Role) -> Option<u64> {
        if let Some(delta) = self.deltas.get(&role) {
            return Some(delta.len());
        }
        let listed = self.files.get(&Content::Part(role))?;
        let is_plain =
            !self.folder.is_remote() && (listed.name.ends_with(".raw") || listed.name.ends_with(".img"));
        is_plain.then(|| fs::metadata(self.folder.join(&listed.name)).ok().map(|meta| meta.len())).flatten()
    }

    /// The partition, opened unless it is already.
    fn current(&mut self, role: Role) -> Result<&mut Current> {
        let current = match self.current.take() {
            Some(current) if current.0 == role => current,
            _ => (role, self.open_part(role)?),
        };
        Ok(&mut self.current.insert(current).1)
    }

    fn open_part(&mut self, role: Role) -> Result<Current> {
        let name = self.listed(role)?.name.clone();
        match self.deltas.remove(&role) {
            Some(delta) => Ok(Current::Regions(delta.start(self.folder.clone(), &name)?)),
            None => Ok(Current::Stream(Box::new(Stream::open(self.folder.open(&name)?, None)?))),
        }
    }

    fn listed(&self, role: Role) -> Result<&ListedFile> {
        self.files
            .get(&Content::Part(role))
            .ok_or_else(|| Error::Image(format!("{}: has no {role}", self.folder)))
    }
}

fn fetch_uki(folder: &Folder, listed: &ListedFile, spool_dirs: &[PathBuf]) -> Result<Spool> {
    let mut stream = Stream::open(folder.open(&listed.name)?, None)?;
    let mut spool = Spool::new(spool_dirs.to_vec());
    let kept = spool.keep_to_end(MAX_UKI, |to| stream.fill(to));
    if let Err(e) = kept {
        return Err(stream.or_changed(e, Some(&listed.sha256)));
    }
    stream.verified(Some(&listed.sha256))?;
    Ok(spool)
}

impl OpenImage for ImageSet {
    fn name(&self) -> &str {
        &self.name
    }

    fn summary(&self) -> Result<ImageSummary> {
        let kept = self.kept()?;
        let uki =
            uki::read(kept.reader(), true).or_image(|| format!("{}: cannot be read as a UKI", self.name))?;
        let root = self.files.get(&Content::Part(Role::Root));
        Ok(ImageSummary {
            partitions: self
                .roles()
                .map(|role| PartitionSummary { role, len: self.len(role), no_auto: false })
                .collect(),
            root_arch: root.and_then(|listed| Name::parse(&listed.name)?.arch),
            uki,
            uki_size: kept.size(),
        })
    }

    fn verify_ahead(&self) -> Result<()> {
        // A digest is given for one file only; each part of a set is verified when it has been read.
        Ok(())
    }

    fn refuse_lacking(&self) -> Result<()> {
        let root = self.files.get(&Content::Part(Role::Root));
        match (self.deltas.get(&Role::Root), root) {
            (Some(delta), Some(root)) => delta.refuse_lacking(&self.folder, &root.name),
            _ => Ok(()),
        }
    }

    fn uki(&self) -> Result<Box<dyn ReadSeek + '_>> {
        Ok(Box::new(self.kept()?.reader()))
    }

    fn drop_uki(&mut self) {
        self.uki = None;
    }

    fn peek(&mut self, role: Role, len: usize) -> Result<Vec<u8>> {
        match self.current(role)? {
            Current::Stream(stream) => stream.look_ahead(len),
            Current::Regions(regions) => regions.look_ahead(len),
        }
    }

    fn read(&mut self, role: Role) -> Result<Fill<'_>> {
        let current = self.current(role)?;
        Ok(Box::new(move |to: &mut [u8]| current.fill(to)))
    }

    /// The file must end here, and its digest must be the listed one.
    fn end_partition(&mut self) -> Result<()> {
        let Some((role, current)) = self.current.take() else { return Ok(()) };
        let Current::Stream(mut stream) = current else { return Ok(()) };
        let sha256 = self.listed(role)?.sha256.clone();
        match stream.fill(&mut [0]) {
            Ok(0) => stream.verified(Some(&sha256)).map(drop),
            Ok(_) => {
                Err(Error::Refused(format!("{}: does not fit into its partition of the slot", stream.name())))
            }
            Err(e) => Err(stream.or_changed(e, Some(&sha256))),
        }
    }

    fn finish(self: Box<Self>, _: &Uki) -> Result<String> {
        Ok(self.digest)
    }

    fn or_changed(mut self: Box<Self>, error: Error) -> Error {
        let Some((role, Current::Stream(stream))) = self.current.take() else { return error };
        let sha256 = self.listed(role).ok().map(|listed| listed.sha256.clone());
        stream.or_changed(error, sha256.as_deref())
    }
}
