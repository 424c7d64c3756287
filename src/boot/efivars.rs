//! EFI variables through efivarfs, below any [`Root`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use efivar::efi::{Variable, VariableFlags};
use efivar::{VarEnumerator, VarManager, VarReader, VarWriter};

use super::loader_vars::{LOADER_GUID, encode_text};
use crate::root::Root;
use crate::sys;

/// Where efivarfs is mounted.
const DIR: &str = "/sys/firmware/efi/efivars";
/// The largest variable that is read; the loader's own are far smaller.
const MOST_BYTES: u64 = 1 << 20;
/// How often a read or write that was interrupted is tried again. The kernel answers
/// EINTR to readers that come too fast (rate limit of 100 a second for unprivileged ones).
const RETRIES: u32 = 8;

/// The variables of the firmware, or those of a tree.
///
/// The crate's own manager has its path fixed, truncates, and knows neither the
/// immutable flag nor EINTR; this one implements the same trait.
#[derive(Debug, Clone)]
pub struct EfiVars {
    dir: PathBuf,
}

impl EfiVars {
    /// The variables of `root`.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        Self { dir: root.path(DIR) }
    }

    /// A variable of the Boot Loader Interface; `None` if there is none of that name.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn read_loader(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.read_file(&format!("{name}-{LOADER_GUID}"))?.map(|(data, _)| data))
    }

    /// Writes a text variable of the Boot Loader Interface, non-volatile.
    /// Writes nothing if it already has that value.
    ///
    /// # Errors
    /// If the firmware refuses; no room ([`io::ErrorKind::StorageFull`]) is common.
    pub fn write_loader(&self, name: &str, text: &str) -> io::Result<()> {
        self.write_file(&format!("{name}-{LOADER_GUID}"), VariableFlags::default().bits(), &encode_text(text))
    }

    /// Deletes a variable of the Boot Loader Interface; it may be gone already.
    ///
    /// # Errors
    /// If the firmware refuses.
    pub fn delete_loader(&self, name: &str) -> io::Result<()> {
        self.delete_file(&format!("{name}-{LOADER_GUID}"))
    }

    /// Data and attributes of the file `NAME-GUID`; an empty file is as good as none.
    fn read_file(&self, file: &str) -> io::Result<Option<(Vec<u8>, u32)>> {
        let path = self.dir.join(file);
        let whole = match retry(|| read_whole(&path)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        Ok(whole.split_first_chunk::<4>().map(|(attr, data)| (data.to_vec(), u32::from_le_bytes(*attr))))
    }

    fn write_file(&self, file: &str, attributes: u32, data: &[u8]) -> io::Result<()> {
        if let Ok(Some((old, old_attributes))) = self.read_file(file)
            && old == data
            && old_attributes == attributes
        {
            return Ok(());
        }
        let path = self.dir.join(file);
        let whole: Vec<u8> = attributes.to_le_bytes().iter().chain(data).copied().collect();
        let thawed = Thawed::new(&path)?;
        let written = retry(|| {
            // Truncating would be a write of its own, which deletes the variable.
            let mut out = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
            let n = out.write(&whole)?;
            if n != whole.len() {
                return Err(io::Error::new(io::ErrorKind::WriteZero, "the variable was written in part"));
            }
            // A plain file below `--root` keeps what was behind; efivarfs sets the size itself.
            let longer = out.metadata()?.len() > whole.len() as u64;
            if longer && nix::sys::statfs::fstatfs(&out)?.filesystem_type() != EFIVARFS {
                out.set_len(whole.len() as u64)?;
            }
            Ok(())
        });
        thawed.freeze();
        written
    }

    fn delete_file(&self, file: &str) -> io::Result<()> {
        let path = self.dir.join(file);
        let thawed = Thawed::new(&path)?;
        match retry(|| fs::remove_file(&path)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => {
                thawed.freeze();
                Err(e)
            }
            Ok(()) => Ok(()),
        }
    }
}

/// `EFIVARFS_MAGIC` of `linux/magic.h`.
const EFIVARFS: nix::sys::statfs::FsType = nix::sys::statfs::FsType(0xde5e_81e4);

/// A variable whose immutable flag is off for as long as it is changed. The kernel
/// creates variables that it does not know with that flag.
struct Thawed(Option<File>);

impl Thawed {
    fn new(path: &std::path::Path) -> io::Result<Self> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self(None)),
            Err(e) => return Err(e),
        };
        Ok(Self(sys::set_immutable(&file, false)?.then_some(file)))
    }

    fn freeze(self) {
        if let Some(file) = self.0
            && let Err(e) = sys::set_immutable(&file, true)
        {
            log::debug!("an EFI variable stays mutable: {e}");
        }
    }
}

fn read_whole(path: &std::path::Path) -> io::Result<Vec<u8>> {
    let mut whole = Vec::new();
    File::open(path)?.take(MOST_BYTES).read_to_end(&mut whole)?;
    Ok(whole)
}

/// Tries again after EINTR and EAGAIN, each time after a longer pause: 1 ms to 128 ms.
fn retry<T>(mut what: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut pause = Duration::from_millis(1);
    for _ in 0..RETRIES {
        match what() {
            Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {
                thread::sleep(pause);
                pause *= 2;
            }
            other => return other,
        }
    }
    what()
}

impl VarEnumerator for EfiVars {
    fn get_all_vars<'a>(&'a self) -> efivar::Result<Box<dyn Iterator<Item = Variable> + 'a>> {
        let files = fs::read_dir(&self.dir).map_err(efivar::Error::UnknownIoError)?;
        let names = files.filter_map(Result::ok).filter_map(|e| e.file_name().into_string().ok());
        Ok(Box::new(names.filter_map(|name| Variable::from_str(&name).ok())))
    }
}

impl VarReader for EfiVars {
    fn read(&self, var: &Variable) -> efivar::Result<(Vec<u8>, VariableFlags)> {
        let found = self.read_file(&var.to_string()).map_err(|e| efivar::Error::for_variable(e, var))?;
        let (data, bits) = found.ok_or_else(|| efivar::Error::VarNotFound { var: var.clone() })?;
        Ok((data, VariableFlags::from_bits_truncate(bits)))
    }
}

impl VarWriter for EfiVars {
    fn write(&mut self, var: &Variable, attributes: VariableFlags, value: &[u8]) -> efivar::Result<()> {
        let written = self.write_file(&var.to_string(), attributes.bits(), value);
        written.map_err(|e| efivar::Error::for_variable(e, var))
    }

    fn delete(&mut self, var: &Variable) -> efivar::Result<()> {
        self.delete_file(&var.to_string()).map_err(|e| efivar::Error::for_variable(e, var))
    }
}

impl VarManager for EfiVars {}
