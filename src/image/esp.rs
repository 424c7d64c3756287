//! The ESP of an image, and the UKI in it.

use std::io::{Read, Seek};

use crate::image::addons::refusal;
use crate::image::spool::Spool;
use abide_core::boot::esp::addons;
use abide_core::boot::esp::fat::reader::Fat;
use abide_core::boot::model::entry::UKI_DIR;
use abide_core::boot::model::name::ends_with_no_case;
use abide_core::error::{Error, OrError, Result};

/// An image's ESP with one UKI.
pub struct Esp {
    spool: Spool,
    path: String,
    size: u64,
}

impl Esp {
    /// Finds the UKI.
    ///
    /// # Errors
    /// [`Error::Image`] if the file system cannot be read, or does not hold exactly one UKI; [`Error::Refused`] if it
    /// holds files for a UKI beside it.
    pub fn open(spool: Spool, name: &str) -> Result<Self> {
        let damaged = || format!("{name}: cannot read its EFI system partition");
        let fat = Fat::open(&spool).or_image(damaged)?;
        let mut ukis = fat.list(UKI_DIR).or_image(damaged)?.unwrap_or_default();
        for dir in ukis.iter().filter(|named| named.is_dir && addons::entry_of(&named.name).is_some()) {
            let path = format!("{UKI_DIR}/{}", dir.name);
            let inside = fat.list(&path).or_image(damaged)?.unwrap_or_default();
            if let Some(addon) = inside.first() {
                return Err(refusal(name, &format!("{path}/{}", addon.name)));
            }
        }
        ukis.retain(|named| !named.is_dir && ends_with_no_case(&named.name, ".efi"));
        let (path, size) = match ukis.as_slice() {
            [uki] => (format!("{UKI_DIR}/{}", uki.name), uki.len),
            [] => {
                return Err(Error::Image(format!(
                    "{name}: there is no UKI in {UKI_DIR} of its EFI system partition"
                )));
            }
            all => {
                return Err(Error::Image(format!(
                    "{name}: there is more than one UKI in {UKI_DIR} of its EFI system partition: {}",
                    all.iter().map(|uki| uki.name.as_str()).collect::<Vec<_>>().join(", ")
                )));
            }
        };
        Ok(Self { spool, path, size })
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
        let file = Fat::open(&self.spool).and_then(|fat| fat.file(&self.path));
        file.or_image(|| format!("{} of the image: cannot open", self.path))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use abide_testing::image::Image;

    use super::*;

    fn spool(bytes: &[u8]) -> Spool {
        let (mut spool, mut from) = (Spool::new(vec![]), bytes);
        spool.keep_all(bytes.len() as u64, |to| from.read_exact(to).or_image(|| "test")).unwrap();
        spool
    }

    #[test]
    fn the_uki_of_an_image_is_found_and_read() {
        let image = Image::new("2.0", "b");
        let esp = Esp::open(spool(&image.esp()), "image").unwrap();
        let (mut bytes, uki) = (vec![], image.uki.unwrap());
        esp.uki().unwrap().read_to_end(&mut bytes).unwrap();
        assert!(esp.uki_size() == uki.len() as u64 && bytes == uki);
    }

    #[test]
    fn a_folder_in_a_circle_is_damage_and_ends() {
        let mut bytes = Image::new("2.0", "b").esp();
        let names = Fat::open(&spool(&bytes)).unwrap().list("EFI").unwrap().unwrap();
        let first = names[0].first;
        // FAT12: an entry of the table is one and a half bytes.
        let table = usize::from(u16::from_le_bytes([bytes[14], bytes[15]])) * 512;
        let at = table + usize::try_from(first + first / 2).unwrap();
        let old = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let first = u16::try_from(first).unwrap();
        let new = if first % 2 == 0 { old & 0xf000 | first } else { old & 0xf | first << 4 };
        bytes[at..at + 2].copy_from_slice(&new.to_le_bytes());
        let error = Esp::open(spool(&bytes), "image").err().unwrap().to_string();
        assert!(error.contains("directory length"), "{error}");
    }
}
