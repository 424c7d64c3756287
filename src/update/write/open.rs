//! Opens the image to write, after it is clear what its bytes must be.

use std::path::PathBuf;

use crate::config::{Config, Download};
use crate::feed::published;
use crate::feed::published::ReleaseFiles;
use crate::image::names::Content;
use crate::image::trust::{Expected, Verifier};
use crate::image::{Folder, addons};
use crate::update::refusal::refuse_failed;
use crate::update::write::disk_image::DiskImage;
use crate::update::write::image_set::ImageSet;
use crate::update::write::open_image::OpenImage;
use abide_core::arch::NATIVE;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::state::State;

/// Folders for a temporary file, for an image's ESP that is too large to be kept in memory.
const SPOOL_DIRS: [&str; 2] = ["/var/lib/abide", "/run/abide"];

/// The image that was asked for, and what decides whether it may be written.
pub struct Opening<'a> {
    /// A path, a URL, `-`, or a folder with `SHA256SUMS`.
    pub image: &'a str,
    /// SHA-256 that the user gave, in lower case.
    pub sha256: Option<&'a str>,
    /// The version to take from a folder.
    pub version: Option<&'a str>,
    /// The only accepted image, by `IMAGE_ID` or `ID`; `None`: any.
    pub image_id: Option<&'a str>,
    /// What is remembered, for the images that failed before.
    pub state: &'a State,
}

/// An open image, and the digest by which it is remembered, if that is known already.
pub struct Opened {
    /// The image.
    pub image: Box<dyn OpenImage>,
    /// Its digest.
    pub digest: Option<String>,
}

impl Opening<'_> {
    /// Opens the image.
    ///
    /// # Errors
    /// [`Error::Refused`] if it failed before or brings files beside its UKI, [`Error::Unverified`] if it is not verified as the
    /// configuration requires, [`Error::Image`] if it cannot be read.
    pub fn open(&self, root: &Root, config: &Config) -> Result<Opened> {
        let spool_dirs = SPOOL_DIRS.map(|dir| root.path(dir)).to_vec();
        let verifier = Verifier::new(root, &config.trust)?;
        let download = &config.download;
        if let Some(folder) = Folder::at(self.image, download) {
            return self.open_folder(folder, &verifier, download, &spool_dirs);
        }
        let expected = match Folder::of(self.image, download) {
            Some((folder, name)) => verifier.expected(&name, Some(&folder), self.sha256)?,
            None => verifier.expected("standard input", None, self.sha256)?,
        };
        self.open_disk(self.image, expected, download, &spool_dirs)
    }

    fn open_folder(
        &self,
        folder: Folder,
        verifier: &Verifier,
        download: &Download,
        spool_dirs: &[PathBuf],
    ) -> Result<Opened> {
        if self.sha256.is_some() {
            return Err(Error::Usage(format!("{folder}: is a folder; its SHA256SUMS has the digests")));
        }
        let sums = verifier.sums(&folder)?;
        let (version, choice) =
            published::choose(&sums, &folder.to_string(), self.image_id, NATIVE.name, self.version)?;
        refuse_failed(self.state, Some(&version), None)?;
        match choice {
            ReleaseFiles::Disk(file) => {
                folder.must_have(&file.name)?;
                let expected = Expected { sha256: Some(file.sha256), claim: None };
                self.open_disk(&folder.join(&file.name), expected, download, spool_dirs)
            }
            ReleaseFiles::Set(files) => {
                let digest = published::digest(&files);
                refuse_failed(self.state, None, Some(&digest))?;
                let is_addon = |name: &&str| {
                    files.get(&Content::Uki).is_some_and(|uki| addons::is_beside(&uki.name, name))
                };
                if let Some(addon) = sums.names().find(is_addon) {
                    return Err(addons::refusal(&folder.to_string(), addon));
                }
                let image = ImageSet::open(folder, files, spool_dirs)?;
                if image.version()? != version {
                    return Err(Error::Refused(format!(
                        "{}: the version in its os-release is not the one in its name, {version}",
                        image.name()
                    )));
                }
                Ok(Opened { image: Box::new(image), digest: Some(digest) })
            }
        }
    }

    fn open_disk(
        &self,
        image: &str,
        expected: Expected,
        download: &Download,
        spool_dirs: &[PathBuf],
    ) -> Result<Opened> {
        let digest = expected.sha256.clone();
        refuse_failed(self.state, None, digest.as_deref())?;
        let image = DiskImage::open(image, download, spool_dirs, expected)?;
        Ok(Opened { image: Box::new(image), digest })
    }
}
