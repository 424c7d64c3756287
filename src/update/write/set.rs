//! An image as separate files beside `SHA256SUMS`: one for each partition, and the UKI.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek};
use std::path::PathBuf;

use crate::config::Download;
use crate::feed::published::{ListedFile, digest};
use crate::image::names::{Content, Name};
use crate::image::{Folder, Source, Spool, Stream};
use crate::update::write::opened::{Described, Part};
use abide_core::boot::model::uki;
use abide_core::disk::Role;
use abide_core::error::{Error, OrError, Result};

/// The largest UKI that is read, once it is unpacked.
const MOST_UKI: u64 = 1 << 30;

/// The files of one version, the UKI verified and kept.
pub struct SetImage {
    name: String,
    folder: Folder,
    download: Download,
    files: BTreeMap<Content, ListedFile>,
    uki: Option<Spool>,
    digest: String,
    /// The partition that is being read.
    current: Option<(Role, Stream)>,
}

impl SetImage {
    /// Fetches and verifies the UKI; only then is it looked into.
    pub fn open(
        folder: Folder,
        download: &Download,
        files: BTreeMap<Content, ListedFile>,
        spool_dirs: &[PathBuf],
    ) -> Result<Self> {
        let listed =
            files.get(&Content::Uki).ok_or_else(|| Error::Image(format!("{folder}: lists no UKI")))?;
        let mut stream = Stream::open(Source::open(&folder.join(&listed.name), download)?, None)?;
        let mut spool = Spool::new(spool_dirs.to_vec());
        let kept = spool.keep_to_end(MOST_UKI, |to| stream.fill(to));
        if let Err(e) = kept {
            return Err(stream.or_changed(e, Some(&listed.sha256)));
        }
        stream.verified(Some(&listed.sha256))?;
        Ok(Self {
            name: folder.join(&listed.name),
            digest: digest(&files),
            download: download.clone(),
            folder,
            files,
            uki: Some(spool),
            current: None,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub fn described(&self) -> Result<Described> {
        let uki = uki::read(self.uki()?).or_image(|| format!("{}: cannot be read as a UKI", self.name))?;
        let part = |role| Part { role, len: self.len(role), no_auto: false };
        let root =
            self.files.get(&Content::Part(Role::Root)).and_then(|listed| Name::parse(&listed.name)?.arch);
        Ok(Described {
            parts: self.order().into_iter().map(part).collect(),
            root_arch: root,
            uki,
            uki_size: self.uki.as_ref().map_or(0, Spool::size),
        })
    }

    /// What the UKI says.
    pub fn version(&self) -> Result<String> {
        let described = self.described()?;
        let osrel = described.uki.main.osrel.unwrap_or_default();
        Ok(osrel.image_version().unwrap_or_default().to_owned())
    }

    pub fn lens(&self) -> BTreeMap<Role, Option<u64>> {
        self.order().into_iter().map(|role| (role, self.len(role))).collect()
    }

    /// Of a file on this machine that is not packed.
    fn len(&self, role: Role) -> Option<u64> {
        let listed = self.files.get(&Content::Part(role))?;
        let plain = !self.folder.is_remote() && listed.name.ends_with(".raw");
        plain.then(|| fs::metadata(self.folder.join(&listed.name)).ok().map(|meta| meta.len())).flatten()
    }

    pub fn uki(&self) -> Result<impl Read + Seek + '_> {
        let spool = self.uki.as_ref();
        spool.map(Spool::reader).ok_or_else(|| Error::Failed("the image's UKI is gone already".into()))
    }

    pub fn forget_uki(&mut self) {
        self.uki = None;
    }

    pub fn order(&self) -> Vec<Role> {
        let role = |content: &Content| match content {
            Content::Part(role) => Some(*role),
            Content::Disk | Content::Uki => None,
        };
        self.files.keys().filter_map(role).collect()
    }

    pub fn read(&mut self, role: Role) -> Result<impl FnMut(&mut [u8]) -> Result<usize> + '_> {
        let listed = self.listed(role)?;
        let source = Source::open(&self.folder.join(&listed.name), &self.download)?;
        let (_, stream) = self.current.insert((role, Stream::open(source, None)?));
        Ok(move |to: &mut [u8]| stream.fill(to))
    }

    fn listed(&self, role: Role) -> Result<&ListedFile> {
        self.files
            .get(&Content::Part(role))
            .ok_or_else(|| Error::Image(format!("{}: has no {role}", self.folder)))
    }

    /// The file must end here, and be what the list says.
    pub fn end_part(&mut self) -> Result<()> {
        let Some((role, mut stream)) = self.current.take() else { return Ok(()) };
        let sha256 = self.listed(role)?.sha256.clone();
        match stream.fill(&mut [0]) {
            Ok(0) => stream.verified(Some(&sha256)).map(drop),
            Ok(_) => {
                Err(Error::Refused(format!("{}: does not fit into its partition of the slot", stream.name())))
            }
            Err(e) => Err(stream.or_changed(e, Some(&sha256))),
        }
    }

    pub fn or_changed(mut self, error: Error) -> Error {
        match self.current.take() {
            Some((role, stream)) => {
                let sha256 = self.listed(role).ok().map(|listed| listed.sha256.clone());
                stream.or_changed(error, sha256.as_deref())
            }
            None => error,
        }
    }
}
