//! Opens the image to write, after it is clear what its bytes must be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::{Config, Download};
use crate::disk::role::Role;
use crate::feed::freshness::{Acceptance, with_list};
use crate::feed::poll::{self, Listing};
use crate::feed::published;
use crate::feed::published::{FilesByContent, ListedFile, ReleaseFiles};
use crate::image::names::Content;
use crate::image::transfer::Known;
use crate::image::trust::{Expected, Installer, Proof, Sums, Verifier};
use crate::image::{Folder, Source, addons};
use crate::update::refusal::refuse_failed;
use crate::update::write::delta::{Delta, OldRoots};
use crate::update::write::disk_image::DiskImage;
use crate::update::write::image_set::ImageSet;
use crate::update::write::named_image::NamedImage;
use crate::update::write::open_image::OpenImage;
use crate::update::write::uki_patch;
use crate::update::write::wanted::Wanted;
use abide_core::arch::NATIVE;
use abide_core::error::{Error, Result};
use abide_core::state::{SeenList, State};
use abide_core::update::machine::Machine;

/// Folders for a temporary file, for an image's ESP that is too large to be kept in memory.
const SPOOL_DIRS: [&str; 2] = ["/var/lib/abide", "/run/abide"];

/// The image that was asked for, and what decides whether it may be written.
pub struct Opening<'a> {
    /// What was asked for.
    pub wanted: &'a Wanted<'a>,
    /// SHA-256 that the user gave, in lower case.
    pub sha256: Option<&'a str>,
    /// The only accepted image, by `IMAGE_ID` or `ID`; `None`: any.
    pub image_id: Option<&'a str>,
    /// What is remembered, for the images that failed before and the lists that were seen.
    pub state: &'a State,
}

/// An open image.
pub struct Opened {
    /// The image.
    pub image: Box<dyn OpenImage>,
    /// The digest by which it is remembered, if that is known already.
    pub digest: Option<String>,
    /// What its file name says it is.
    pub named: Option<NamedImage>,
    /// What vouches for it, once its bytes are as expected.
    pub proof: Proof,
    /// The lists to remember once it is written, if it came from one that was not seen before.
    pub lists: Option<Vec<SeenList>>,
}

impl Opening<'_> {
    /// Opens the image.
    ///
    /// # Errors
    /// [`Error::Refused`] if it failed before or brings files beside its UKI, [`Error::Unverified`] if it is not verified as the
    /// configuration requires, or its list is older than one that was seen; [`Error::Image`] if it cannot be read.
    pub fn open(&self, machine: &Machine, config: &Config) -> Result<Opened> {
        let root = &machine.root;
        let spool_dirs = SPOOL_DIRS.map(|dir| root.path(dir)).to_vec();
        let verifier = Verifier::new(root, &config.trust, self.wanted.installer)?;
        let (image, download) = (self.wanted.image, &config.download);
        if let Some(folder) = Folder::at(image, download) {
            let folder = folder.with_own_list(self.image_id, self.wanted.version)?;
            return self.open_folder(folder, machine, &verifier, config, &spool_dirs);
        }
        let Some((folder, name)) = Folder::of(image, download) else {
            return match verifier.expected("standard input", None, self.sha256) {
                Ok(expected) => self.open_disk(image, None, expected, download, &spool_dirs),
                Err(e) => self.open_signed(image, e, &verifier, download, &spool_dirs),
            };
        };
        let mut expected = match verifier.expected(&name, Some(&folder), self.sha256) {
            Ok(expected) => expected,
            Err(e) => return self.open_signed(image, e, &verifier, download, &spool_dirs),
        };
        let listing = expected.list.take().map(|list| poll::listing(&folder, list)).transpose()?;
        let lists = listing.map(|listing| self.accept(&folder, &listing, config)).transpose()?.flatten();
        let named = NamedImage::given(&name);
        Ok(Opened { named, lists, ..self.open_disk(image, None, expected, download, &spool_dirs)? })
    }

    fn open_folder(
        &self,
        folder: Folder,
        machine: &Machine,
        verifier: &Verifier,
        config: &Config,
        spool_dirs: &[PathBuf],
    ) -> Result<Opened> {
        if self.sha256.is_some() {
            return Err(Error::Usage(format!(
                "{folder}: is a folder; its {} has the digests",
                folder.list()
            )));
        }
        let listing = poll::read(&folder, verifier)?;
        let lists = self.accept(&folder, &listing, config)?;
        let (sums, proof) = (&listing.list.sums, listing.list.proof());
        let wanted = self.wanted.version;
        let (version, choice) =
            published::choose(sums, &folder.to_string(), self.image_id, NATIVE.name, wanted)?;
        refuse_failed(self.state, Some(&version), None)?;
        match choice {
            ReleaseFiles::Disk(file) => {
                folder.must_have(&file.name)?;
                let named = Some(NamedImage::listed(&file.name, &version));
                let skip = carried_len(&folder, &file)?;
                let expected = Expected { sha256: Some(file.sha256), proof, skip, ..Expected::default() };
                let opened =
                    self.open_disk(&folder.join(&file.name), None, expected, &config.download, spool_dirs)?;
                Ok(Opened { named, lists, ..opened })
            }
            ReleaseFiles::Set(files) => {
                let digest = published::digest(&files);
                refuse_failed(self.state, None, Some(&digest))?;
                let uki = files.get(&Content::Uki).map(|uki| uki.name.clone()).unwrap_or_default();
                if let Some(addon) = sums.names().find(|name| addons::is_beside(&uki, name)) {
                    return Err(addons::refusal(&folder.to_string(), addon));
                }
                let named = Some(NamedImage::listed(&uki, &version));
                let deltas = self.deltas(machine, &folder, &files, sums)?;
                let uki = files.get(&Content::Uki).filter(|_| self.wanted.lacking.is_none());
                let made = uki.and_then(|uki| uki_patch::make(machine, &folder, uki, sums, spool_dirs));
                let image = ImageSet::open(folder, files, deltas, made, spool_dirs)?;
                Ok(Opened { image: Box::new(image), digest: Some(digest), named, proof, lists })
            }
        }
    }

    /// Which partitions can be had in parts. What the agent has put into its cache has the parts of the root only.
    fn deltas(
        &self,
        machine: &Machine,
        folder: &Folder,
        files: &FilesByContent,
        sums: &Sums,
    ) -> Result<BTreeMap<Role, Delta>> {
        let mut deltas = BTreeMap::new();
        for (content, listed) in files {
            let Content::Part(role) = *content else { continue };
            let old = OldRoots::of(machine, role);
            let delta = match self.wanted.lacking {
                None => Delta::open(folder, listed, sums, old),
                Some(lacking) if role == Role::Root => {
                    Delta::open_cached(folder, listed, sums, old, lacking)?
                }
                Some(_) => None,
            };
            deltas.extend(delta.map(|delta| (role, delta)));
        }
        Ok(deltas)
    }

    /// Checks that the list is not older than one that was seen. Returns the lists to remember.
    fn accept(&self, folder: &Folder, listing: &Listing, config: &Config) -> Result<Option<Vec<SeenList>>> {
        // A channel and a feed are what the agent follows.
        let is_agent = self.wanted.installer == Installer::Agent;
        let source = match (self.wanted.list_name, is_agent) {
            (Some(name), _) => name.to_owned(),
            (None, false) => folder.identity(),
            // Its source decides what is newer.
            (None, true) => return Ok(None),
        };
        let (header, signed) = (&listing.catalog.header, listing.list.signed_at());
        let acceptance = Acceptance {
            source: &source,
            feed: config.update.feed_name.as_deref().filter(|_| is_agent),
            channel: Some(config.update.channel.as_str()).filter(|_| is_agent),
            seen: &self.state.lists,
            today: Timestamp::now().to_zoned(TimeZone::UTC).date(),
        };
        if self.wanted.allow_downgrade {
            acceptance.check_header(header)?;
            return Ok(None);
        }
        acceptance.check(header, signed)?;
        Ok(with_list(&self.state.lists, &source, header, signed, is_agent))
    }

    /// Opens an image that nothing beside it vouches for, by `error`: the signature that it carries may.
    fn open_signed(
        &self,
        image: &str,
        error: Error,
        verifier: &Verifier,
        download: &Download,
        spool_dirs: &[PathBuf],
    ) -> Result<Opened> {
        if !matches!(error, Error::Unverified(_)) || !verifier.needs_signature() {
            return Err(error);
        }
        let mut source = Source::open_known(image, download, Known::by_digest())?;
        let Some(carried) = source.take_carried()? else { return Err(error) };
        let (expected, file) = verifier.carried(&source.name, &carried, self.sha256)?;
        let named = NamedImage::given(&file);
        if let (Some(signed), Some((_, name))) = (&named, Folder::of(image, download)) {
            signed.refuse_name(&name)?;
        }
        refuse_failed(self.state, named.as_ref().map(NamedImage::version), None)?;
        let named = named.map(NamedImage::strictly);
        Ok(Opened { named, ..self.open_disk(image, Some(source), expected, download, spool_dirs)? })
    }

    fn open_disk(
        &self,
        image: &str,
        source: Option<Source>,
        expected: Expected,
        download: &Download,
        spool_dirs: &[PathBuf],
    ) -> Result<Opened> {
        let (digest, proof) = (expected.sha256.clone(), expected.proof.clone());
        refuse_failed(self.state, None, digest.as_deref())?;
        let image = DiskImage::open(image, source, download, spool_dirs, expected)?;
        Ok(Opened { image: Box::new(image), digest, named: None, proof, lists: None })
    }
}

/// The length of the signature in front of a file of a folder, if the listed digest is that of the image behind it, as in the
/// list that it carries. A file on a server is not opened twice for that: its list is beside it.
fn carried_len(folder: &Folder, file: &ListedFile) -> Result<u64> {
    if folder.is_remote() {
        return Ok(0);
    }
    let carried = folder.open(&file.name)?.take_carried()?;
    Ok(carried.filter(|carried| carried.lists(&file.sha256)).map_or(0, |carried| carried.len))
}
