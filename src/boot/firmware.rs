//! The firmware's own boot options that lead to the boot loader.
//!
//! If systemd-boot before 258 cannot start an entry, it returns to the firmware, which starts its next
//! boot option. The machine recovers only if that option leads to systemd-boot again. So it needs one
//! option for each try, and one more for the boot after them.

use std::io;

use efivar::boot::{
    BootEntry, BootEntryAttributes, BootVarName, EFIHardDrive, EFIHardDriveType, FilePath, FilePathList,
};
use efivar::efi::Variable;
use efivar::{VarEnumerator, VarReader, VarWriter};

use abide_core::boot::efi::efivars::EfiVars;

/// The name of an added option; a number follows.
const NAME: &str = "Linux Boot Manager, try ";
/// `LOAD_OPTION_CATEGORY` of an option that boots (UEFI specification, 3.1.3).
const CATEGORY: u32 = 0x1f00;

/// The firmware's boot options, read once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BootOptions {
    /// `BootOrder`: the options in the order in which they are tried.
    pub order: Vec<u16>,
    /// Each `Boot####`, also if `BootOrder` does not list it; `None` if it cannot be parsed.
    pub options: Vec<(u16, Option<BootEntry>)>,
    /// `BootCurrent`: the option that this boot came from.
    pub current: Option<u16>,
}

/// How the loader is reached: from which partition, by which files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderPath {
    /// GUID of the ESP's partition, in lower case.
    pub partuuid: String,
    /// Paths on it, folded ([`fold`]); the first is the one that this boot took.
    pub files: Vec<String>,
}

/// The changes after which enough options lead to the loader.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AddedOptions {
    /// Options to create, before the order names them.
    pub create: Vec<(u16, BootEntry)>,
    /// The new `BootOrder`: the old one, with the new options right behind the one that this boot
    /// came from.
    pub order: Vec<u16>,
}

impl BootOptions {
    /// Reads the options; `None` if the firmware shows none.
    ///
    /// # Errors
    /// If `BootOrder` exists and cannot be read.
    pub fn read(vars: &EfiVars) -> io::Result<Option<Self>> {
        let Some(order) = numbers(vars, "BootOrder")? else { return Ok(None) };
        let mut ids: Vec<u16> =
            vars.get_all_vars().map_err(io::Error::other)?.filter_map(|v| number_of(&v)).collect();
        ids.sort_unstable();
        let options = ids.into_iter().map(|id| (id, option(vars, id))).collect();
        let current = numbers(vars, "BootCurrent").ok().flatten().and_then(|ids| ids.first().copied());
        Ok(Some(Self { order, options, current }))
    }

    /// The options in the order that lead to the loader.
    #[must_use]
    pub fn leading(&self, loader: &LoaderPath) -> Vec<u16> {
        let current = self.current.and_then(|id| self.path_on(id, loader));
        let mut found: Vec<u16> = vec![];
        for id in self.order.iter().copied().filter(|id| self.get(*id).is_some_and(boots)) {
            let path = self.path_on(id, loader);
            // This boot proves that its option leads to the loader, whatever file that names.
            let leads = Some(id) == self.current
                || path
                    .as_ref()
                    .is_some_and(|path| loader.files.contains(path) || current.as_ref() == Some(path));
            if leads && !found.contains(&id) {
                found.push(id);
            }
        }
        found
    }

    /// The changes after which `needed` options lead to the loader; `None` if they do already.
    /// `partition` is that of the ESP, in case no option names it yet.
    ///
    /// # Errors
    /// A sentence that says what is missing for a new option.
    pub fn plan(
        &self,
        loader: &LoaderPath,
        needed: usize,
        partition: Option<EFIHardDrive>,
    ) -> Result<Option<AddedOptions>, String> {
        let leading = self.leading(loader);
        let missing = needed.saturating_sub(leading.len());
        if missing == 0 {
            return Ok(None);
        }
        let known = self.current.iter().chain(&leading).find_map(|id| {
            let list = self.get(*id)?.file_path_list.clone()?;
            (on(&list, loader)).then_some(list)
        });
        let made_up = || {
            let file = loader.files.first()?.clone();
            Some(FilePathList { file_path: FilePath { path: file }, hard_drive: partition? })
        };
        let list = known
            .or_else(made_up)
            .ok_or("the position of the ESP on its disk or the file of the boot loader is unknown")?;
        let mut create = vec![];
        let mut new = vec![];
        for number in (leading.len() + 1..).take(missing) {
            let entry = BootEntry {
                attributes: BootEntryAttributes::LOAD_OPTION_ACTIVE,
                description: format!("{NAME}{number}"),
                file_path_list: Some(list.clone()),
                optional_data: vec![],
            };
            // One that an interrupted run has left behind.
            let left = self.options.iter().find(|(id, there)| {
                !self.order.contains(id) && !new.contains(id) && there.as_ref() == Some(&entry)
            });
            let id = match left {
                Some((id, _)) => *id,
                None => {
                    let id =
                        self.free(&new).ok_or("the firmware has no free number for another boot option")?;
                    create.push((id, entry));
                    id
                }
            };
            new.push(id);
        }
        let behind = self.current.filter(|id| leading.contains(id)).or_else(|| leading.last().copied());
        let at = behind
            .and_then(|id| self.order.iter().position(|o| *o == id))
            .map_or(self.order.len(), |at| at + 1);
        let (before, after) = self.order.split_at(at);
        Ok(Some(AddedOptions { create, order: [before, &new, after].concat() }))
    }

    fn get(&self, id: u16) -> Option<&BootEntry> {
        self.options.iter().find(|(known, _)| *known == id)?.1.as_ref()
    }

    /// The file on the loader's partition that an option starts.
    fn path_on(&self, id: u16, loader: &LoaderPath) -> Option<String> {
        let list = self.get(id)?.file_path_list.as_ref()?;
        on(list, loader).then(|| fold(&list.file_path.path))
    }

    fn free(&self, taken: &[u16]) -> Option<u16> {
        let is_free = |id: &u16| {
            !self.order.contains(id)
                && !taken.contains(id)
                && !self.options.iter().any(|(known, _)| known == id)
        };
        (0..=u16::MAX).find(is_free)
    }
}

fn boots(entry: &BootEntry) -> bool {
    entry.attributes.contains(BootEntryAttributes::LOAD_OPTION_ACTIVE)
        && entry.attributes.bits() & CATEGORY == 0
}

fn on(list: &FilePathList, loader: &LoaderPath) -> bool {
    let drive = &list.hard_drive;
    drive.sig_type == EFIHardDriveType::Gpt && drive.partition_sig.hyphenated().to_string() == loader.partuuid
}

/// A path as the firmware compares it: with `\`, in lower case, from the root.
#[must_use]
pub fn fold(path: &str) -> String {
    format!("\\{}", path.replace('/', "\\").trim_start_matches('\\').to_ascii_lowercase())
}

/// Carries out the plan: all of it, or nothing that the firmware uses.
///
/// # Errors
/// The first write that failed. Options created before it are deleted again; `BootOrder` is unchanged.
pub fn carry_out(vars: &mut impl VarWriter, plan: &AddedOptions) -> efivar::Result<()> {
    let flags = efivar::efi::VariableFlags::default();
    let mut created: Vec<Variable> = vec![];
    let mut written = Ok(());
    for (id, entry) in &plan.create {
        let variable = Variable::new(&id.boot_var_name());
        written = vars.write(&variable, flags, &entry.to_bytes());
        created.push(variable);
        if written.is_err() {
            break;
        }
    }
    if written.is_ok() {
        let bytes: Vec<u8> = plan.order.iter().flat_map(|id| id.to_le_bytes()).collect();
        written = vars.write(&Variable::new("BootOrder"), flags, &bytes);
    }
    if written.is_err() {
        for variable in &created {
            if let Err(e) = vars.delete(variable) {
                log::debug!("{variable}: cannot delete: {e}; BootOrder does not list it");
            }
        }
    }
    written
}

/// The 16-bit numbers in a variable. (The crate's own reader panics if their bytes are odd.)
fn numbers(vars: &EfiVars, name: &str) -> io::Result<Option<Vec<u16>>> {
    match vars.read(&Variable::new(name)) {
        Ok((bytes, _)) => {
            let words = bytes.chunks_exact(2).filter_map(|c| c.first_chunk::<2>());
            Ok(Some(words.map(|c| u16::from_le_bytes(*c)).collect()))
        }
        Err(efivar::Error::VarNotFound { .. }) => Ok(None),
        Err(e) => Err(io::Error::other(e)),
    }
}

/// The number of the option that a variable holds: `Boot` and four upper-case digits.
fn number_of(variable: &Variable) -> Option<u16> {
    let digits = variable.name().strip_prefix("Boot").filter(|d| d.len() == 4)?;
    let upper = digits.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
    let id = u16::from_str_radix(digits, 16).ok().filter(|_| upper)?;
    (*variable.vendor() == *Variable::new("BootOrder").vendor()).then_some(id)
}

fn option(vars: &EfiVars, id: u16) -> Option<BootEntry> {
    let name = id.boot_var_name();
    let (bytes, _) = vars.read(&Variable::new(&name)).map_err(|e| log::debug!("{name}: {e}")).ok()?;
    if !is_well_formed(&bytes) {
        log::debug!("{name}: damaged device path");
        return None;
    }
    BootEntry::parse(bytes).map_err(|e| log::debug!("{name}: {e}")).ok()
}

/// Whether the device path stays within its bounds: the crate's parser does not check its lengths.
fn is_well_formed(option: &[u8]) -> bool {
    let Some((head, rest)) = option.split_first_chunk::<6>() else { return false };
    let [.., low, high] = *head;
    let length = usize::from(u16::from_le_bytes([low, high]));
    let Some(end) = rest.chunks_exact(2).position(|unit| unit == [0, 0]) else { return false };
    let Some(mut path) = rest.get((end + 1) * 2..).and_then(|rest| rest.get(..length)) else { return false };
    while let Some((&[_, _, low, high], _)) = path.split_first_chunk::<4>() {
        let node = usize::from(u16::from_le_bytes([low, high]));
        match path.get(node..).filter(|_| node >= 4) {
            Some(rest) => path = rest,
            None => return false,
        }
    }
    path.is_empty()
}

#[cfg(test)]
mod tests;
