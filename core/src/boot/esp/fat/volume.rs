//! A FAT as a volume, straight from its block device.
//!
//! For the initramfs on a committed boot: no kernel module to load, nothing to mount, and nothing that
//! could be written. Only for a device that nobody has mounted: the kernel's vfat has unwritten changes
//! in its cache.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use crate::boot::esp::fat::names::Named;
use crate::boot::esp::fat::reader::Fat;
use crate::boot::esp::volume::{Item, ReadSeek, Volume};

/// The volume.
#[derive(Debug)]
pub struct FatVolume {
    fat: Fat<Rc<File>>,
}

impl FatVolume {
    /// Opens the file system on `device`.
    ///
    /// # Errors
    /// If it cannot be read or is not FAT.
    pub fn open(device: &Path) -> io::Result<Self> {
        Ok(Self { fat: Fat::open(Rc::new(File::open(device)?))? })
    }
}

impl Volume for FatVolume {
    fn list(&self, dir: &str) -> io::Result<Vec<Item>> {
        let item = |Named { name, is_dir, len, read_only, .. }| Item { name, is_dir, len, read_only };
        Ok(self.fat.list(dir)?.unwrap_or_default().into_iter().map(item).collect())
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(self.fat.file(path)?))
    }

    fn create_dir(&self, _: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn write(&self, _: &str, _: &mut dyn Read) -> io::Result<u64> {
        Err(read_only())
    }

    fn overwrite(&self, _: &str, _: u64, _: &[u8]) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_file(&self, _: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Err(read_only())
    }
}

fn read_only() -> io::Error {
    io::ErrorKind::ReadOnlyFilesystem.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Seek, SeekFrom, Write};

    use fatfs::{FileSystem, FormatVolumeOptions, FsOptions, format_volume};

    use super::*;

    fn image() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8 << 20).unwrap();
        format_volume(file.as_file(), FormatVolumeOptions::new()).unwrap();
        let fs = FileSystem::new(file.as_file(), FsOptions::new()).unwrap();
        let dir = fs.root_dir().create_dir("EFI").unwrap().create_dir("Linux").unwrap();
        let mut uki = dir.create_file("Edge_2.0+2-1.efi").unwrap();
        uki.write_all(&(0..=255).cycle().take(100_000).collect::<Vec<u8>>()).unwrap();
        drop((uki, dir));
        fs.unmount().unwrap();
        file
    }

    #[test]
    fn names_and_bytes_are_what_was_written() {
        let file = image();
        let volume = FatVolume::open(file.path()).unwrap();
        let items = volume.list("efi/LINUX").unwrap();
        assert_eq!(items.first().map(|i| (i.name.as_str(), i.len)), Some(("Edge_2.0+2-1.efi", 100_000)));
        let mut reader = volume.open("EFI/Linux/edge_2.0+2-1.efi").unwrap();
        let mut end = Vec::new();
        reader.seek(SeekFrom::End(-4)).unwrap();
        reader.read_to_end(&mut end).unwrap();
        assert_eq!(end, [156, 157, 158, 159]);
        assert_eq!(volume.list("EFI/abide").unwrap(), []);
    }

    #[test]
    fn nothing_can_be_written() {
        let file = image();
        let before = std::fs::read(file.path()).unwrap();
        let volume = FatVolume::open(file.path()).unwrap();
        assert!(volume.write("x", &mut &b"x"[..]).is_err());
        assert!(volume.remove("EFI/Linux/edge_2.0+2-1.efi").is_err());
        drop(volume);
        assert_eq!(std::fs::read(file.path()).unwrap(), before);
    }
}
