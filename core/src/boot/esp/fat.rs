//! A FAT file system read straight from its block device.
//!
//! For the initramfs on a committed boot: no kernel module to load, nothing to mount, and nothing that
//! could be written. Only for a device that nobody has mounted: the kernel's vfat has unwritten changes
//! in its cache.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::rc::Rc;

use fatfs::{FileAttributes, FileSystem, FsOptions};

use crate::boot::esp::volume::{Item, ReadSeek, Volume};

/// The volume.
pub struct FatVolume {
    fs: Rc<FileSystem<ReadOnly>>,
}

impl FatVolume {
    /// Opens the file system on `device`.
    ///
    /// # Errors
    /// If it cannot be read or is not FAT.
    pub fn open(device: &Path) -> io::Result<Self> {
        let disk = ReadOnly(File::open(device)?);
        Ok(Self { fs: Rc::new(FileSystem::new(disk, FsOptions::new())?) })
    }
}

impl std::fmt::Debug for FatVolume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FatVolume")
    }
}

impl Volume for FatVolume {
    fn list(&self, dir: &str) -> io::Result<Vec<Item>> {
        let root = self.fs.root_dir();
        let dir = match if dir.is_empty() { Ok(root) } else { root.open_dir(dir) } {
            Ok(dir) => dir,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let item = |entry: fatfs::DirEntry<'_, ReadOnly>| Item {
            name: entry.file_name(),
            is_dir: entry.is_dir(),
            len: if entry.is_dir() { 0 } else { entry.len() },
            read_only: entry.attributes().contains(FileAttributes::READ_ONLY),
        };
        let own = |name: &str| name != "." && name != "..";
        let items: io::Result<Vec<Item>> = dir.iter().map(|entry| entry.map(item)).collect();
        Ok(items?.into_iter().filter(|i| own(&i.name)).collect())
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        // Asking the file would walk its whole chain of clusters.
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let items = self.list(dir)?;
        let item = items.iter().find(|i| i.name.eq_ignore_ascii_case(name) && !i.is_dir);
        let len = item.ok_or(io::ErrorKind::NotFound)?.len;
        Ok(Box::new(Reader { fs: Rc::clone(&self.fs), path: path.to_owned(), at: 0, len }))
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

/// The crate's files borrow their file system; this one looks its file up at each read.
struct Reader {
    fs: Rc<FileSystem<ReadOnly>>,
    path: String,
    at: u64,
    len: u64,
}

impl Read for Reader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.len {
            return Ok(0);
        }
        let mut file = self.fs.root_dir().open_file(&self.path)?;
        file.seek(SeekFrom::Start(self.at))?;
        let n = file.read(bytes)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// The crate requires a disk that can be written; this one refuses writes.
struct ReadOnly(File);

impl Read for ReadOnly {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Seek for ReadOnly {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl Write for ReadOnly {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(read_only())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use fatfs::{FormatVolumeOptions, format_volume};

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
