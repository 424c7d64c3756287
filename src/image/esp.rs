//! The ESP of an image, and the UKI in it.

use std::io::{Read, Seek};

use fatfs::{FileSystem, FsOptions};

use crate::image::spool::Spool;
use abide_core::error::{Error, OrError, Result};

/// Where a Type #2 boot entry lies (Boot Loader Specification).
const DIR: &str = "EFI/Linux";

/// Entries of the folder that are read; a damaged folder may be endless.
const MAX_ENTRIES: usize = 1024;

/// An image's ESP with one UKI.
pub struct Esp {
    fs: FileSystem<Spool>,
    path: String,
    size: u64,
}

impl Esp {
    /// Finds the UKI.
    ///
    /// # Errors
    /// [`Error::Image`] if the file system cannot be read, or does not hold exactly one UKI.
    pub fn open(spool: Spool, name: &str) -> Result<Self> {
        let damaged = || format!("{name}: cannot read its EFI system partition");
        let fs = FileSystem::new(spool, FsOptions::new().update_accessed_date(false)).or_image(damaged)?;
        let mut ukis = Vec::new();
        match fs.root_dir().open_dir(DIR) {
            Ok(dir) => {
                for entry in dir.iter().take(MAX_ENTRIES) {
                    let entry = entry.or_image(damaged)?;
                    let file_name = entry.file_name();
                    if entry.is_file() && file_name.to_ascii_lowercase().ends_with(".efi") {
                        ukis.push((file_name, entry.len()));
                    }
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).or_image(damaged),
        }
        let (file_name, size) = match ukis.as_slice() {
            [uki] => uki.clone(),
            [] => {
                return Err(Error::Image(format!(
                    "{name}: there is no UKI in {DIR} of its EFI system partition"
                )));
            }
            all => {
                return Err(Error::Image(format!(
                    "{name}: there is more than one UKI in {DIR} of its EFI system partition: {}",
                    all.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", ")
                )));
            }
        };
        Ok(Self { path: format!("{DIR}/{file_name}"), size, fs })
    }

    /// The UKI's path on the ESP.
    #[must_use]
    pub fn uki_path(&self) -> &str {
        &self.path
    }

    /// The UKI's size in bytes.
    #[must_use]
    pub fn uki_size(&self) -> u64 {
        self.size
    }

    /// The UKI's bytes.
    ///
    /// # Errors
    /// [`Error::Image`] if the file system is damaged.
    pub fn uki(&self) -> Result<impl Read + Seek + '_> {
        self.fs
            .root_dir()
            .open_file(&self.path)
            .or_image(|| format!("{} of the image: cannot open", self.path))
    }
}
