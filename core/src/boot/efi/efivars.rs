//! EFI variables through efivarfs, below any [`Root`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use efivar::efi::{Variable, VariableFlags};
use efivar::{VarEnumerator, VarManager, VarReader, VarWriter};

use crate::root::Root;
use crate::sys;

/// The vendor GUID of the Boot Loader Interface.
const LOADER_GUID: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Where efivarfs is mounted.
const DIR: &str = "/sys/firmware/efi/efivars";
/// The largest variable that is read; the loader's own are far smaller.
const MOST_BYTES: u64 = 1 << 20;
/// How often a read or write that was interrupted is tried again. The kernel returns EINTR to a process
/// that reads too fast (rate limit of 100 a second for unprivileged ones).
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

    /// Deletes a variable of the Boot Loader Interface, if it exists.
    ///
    /// # Errors
    /// If the firmware refuses.
    pub fn delete_loader(&self, name: &str) -> io::Result<()> {
        self.delete_file(&format!("{name}-{LOADER_GUID}"))
    }

    /// Data and attributes of the file `NAME-GUID`; an empty file counts as a missing one.
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
                return Err(io::Error::new(
                    io::ErrorKind::WriteZero,
                    "only a part of the variable was written",
                ));
            }
            // A plain file below `--root` keeps the old bytes behind the new ones; efivarfs sets the
            // size itself.
            let longer = out.metadata()?.len() > whole.len() as u64;
            if longer && !sys::is_on(&out, sys::EFIVARFS)? {
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
            log::debug!("cannot make an EFI variable immutable again: {e}");
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

/// UTF-16LE up to the first NUL; invalid text becomes U+FFFD.
#[must_use]
pub fn decode_text(bytes: &[u8]) -> String {
    let units: Vec<u16> = units(bytes).take_while(|u| *u != 0).collect();
    String::from_utf16_lossy(&units)
}

pub(super) fn units(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes.chunks_exact(2).filter_map(|c| c.first_chunk::<2>().map(|c| u16::from_le_bytes(*c)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use abide_testing::utf16;
    use efivar::boot::{BootVarReader, BootVarWriter};

    use super::*;

    fn tree() -> (tempfile::TempDir, EfiVars) {
        let dir = tempfile::tempdir().unwrap();
        let vars = EfiVars::new(&Root::at(dir.path()));
        fs::create_dir_all(&vars.dir).unwrap();
        (dir, vars)
    }

    fn file(vars: &EfiVars, name: &str) -> PathBuf {
        vars.dir.join(format!("{name}-{LOADER_GUID}"))
    }

    fn write(vars: &EfiVars, name: &str, text: &str) {
        vars.write_file(&format!("{name}-{LOADER_GUID}"), 7, &utf16(text)).unwrap();
    }

    #[test]
    fn what_is_written_is_read_back_with_its_attributes_in_front() {
        let (_dir, vars) = tree();
        write(&vars, "LoaderEntryDefault", "edge_ä.efi");
        let bytes = fs::read(file(&vars, "LoaderEntryDefault")).unwrap();
        assert_eq!(bytes[..4], [7, 0, 0, 0]);
        assert_eq!(bytes[bytes.len() - 2..], [0, 0]);
        let read = vars.read_loader("LoaderEntryDefault").unwrap().unwrap();
        assert_eq!(decode_text(&read), "edge_ä.efi");
    }

    #[test]
    fn a_shorter_value_leaves_nothing_of_the_longer_one() {
        let (_dir, vars) = tree();
        write(&vars, "X", "longer than that");
        write(&vars, "X", "short");
        assert_eq!(decode_text(&vars.read_loader("X").unwrap().unwrap()), "short");
        assert_eq!(fs::read(file(&vars, "X")).unwrap().len(), 4 + 12);
    }

    #[test]
    fn an_unchanged_value_is_not_written_again() {
        let (_dir, vars) = tree();
        write(&vars, "X", "same");
        let before = fs::metadata(file(&vars, "X")).unwrap().modified().unwrap();
        let past = before - Duration::from_secs(100);
        File::options().write(true).open(file(&vars, "X")).unwrap().set_modified(past).unwrap();
        write(&vars, "X", "same");
        assert_eq!(fs::metadata(file(&vars, "X")).unwrap().modified().unwrap(), past);
    }

    #[test]
    fn a_missing_or_empty_variable_is_none_and_deleting_it_no_error() {
        let (_dir, vars) = tree();
        assert_eq!(vars.read_loader("X").unwrap(), None);
        fs::write(file(&vars, "X"), "").unwrap();
        assert_eq!(vars.read_loader("X").unwrap(), None);
        vars.delete_loader("X").unwrap();
        vars.delete_loader("X").unwrap();
        assert!(!file(&vars, "X").exists());
    }

    #[test]
    fn an_interrupted_call_is_tried_again_and_given_up_in_the_end() {
        let mut calls = 0;
        let result = retry(|| {
            calls += 1;
            if calls < 3 { Err(io::ErrorKind::Interrupted.into()) } else { Ok(calls) }
        });
        assert_eq!(result.unwrap(), 3);
        let error = retry(|| Err::<(), _>(io::ErrorKind::Interrupted.into())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn the_firmwares_boot_order_can_be_changed_through_the_crates_trait() {
        let (_dir, mut vars) = tree();
        vars.set_boot_order(vec![1, 0x2001]).unwrap();
        assert_eq!(vars.get_boot_order().unwrap(), [1, 0x2001]);
        let names: Vec<String> = vars.get_all_vars().unwrap().map(|v| v.name().to_owned()).collect();
        assert_eq!(names, ["BootOrder"]);
        vars.delete(&Variable::new("BootOrder")).unwrap();
        assert!(vars.read(&Variable::new("BootOrder")).is_err());
    }
}
