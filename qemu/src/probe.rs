//! The probe: the firmware's shell packed as a UKI, which shows in a few seconds what a loader decides.
//!
//! The shell records at each boot (names on the ESP, the loader's variables) and restarts the machine,
//! as often as it was told, then switches it off. The host reads the notes from the ESP.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::esp::Esp;
use crate::machine::Machine;
use crate::pe::append_sections;
use crate::timeline::Event;
use crate::tiny::Parts;
use crate::{Error, Result};

/// The longest that one boot of a probe may take, on a busy host.
const BOOT: Duration = Duration::from_secs(120);

/// Where the probe keeps its notes.
const NOTES: &str = "probe";

/// The vendor of the loader's variables, as the specification of the Boot Loader Interface says.
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// What the loader had decided when a probe was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// The loader's variables as raw bytes.
    pub variables: BTreeMap<String, Vec<u8>>,
    /// The names in `EFI/Linux`, sorted.
    pub entries: Vec<String>,
}

impl Decision {
    /// The text of a variable, empty when it is not set.
    pub fn variable(&self, name: &str) -> String {
        let bytes = self.variables.get(name).map_or(&[][..], Vec::as_slice);
        let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
        let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
        String::from_utf16_lossy(&units)
    }

    /// The id of the entry that was started.
    pub fn selected(&self) -> String {
        self.variable("LoaderEntrySelected")
    }
}

impl Parts {
    /// A UKI that calls itself `image_id` and `version`, whose kernel is the probe.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub fn probe(&self, image_id: &str, version: &str) -> Result<Vec<u8>> {
        let release = format!(
            "ID=tiny\nIMAGE_ID={image_id}\nIMAGE_VERSION={version}\nPRETTY_NAME=\"{image_id} {version}\"\n"
        );
        // The shell's headers have room for one section, and the loaders want no more.
        append_sections(&self.shell()?, &[(".osrel", release.as_bytes())])
    }
}

/// Prepares the ESP for `boots` boots of the probe.
///
/// # Errors
/// When the ESP has no room.
pub fn prepare(esp: &Esp, boots: usize) -> Result<()> {
    let script = format!(
        "@echo -off\n\
         fs0:\n\
         for %i run (1 {boots})\n\
         if not exist \\{NOTES}\\%i.variables then\n\
         ls -sfo \\EFI\\Linux >a \\{NOTES}\\%i.names\n\
         dmpstore -guid {LOADER} -s \\{NOTES}\\%i.variables\n\
         if %i == {boots} then\n\
         reset -s\n\
         endif\n\
         reset -c\n\
         endif\n\
         endfor\n"
    );
    esp.write(&format!("{NOTES}/readme"), b"what was found at each boot\n")?;
    esp.write("startup.nsh", script.replace('\n', "\r\n").as_bytes())
}

/// Boots a machine with a prepared ESP until it is off; returns it and what each boot found.
///
/// # Errors
/// When a boot takes too long: most likely the loader could not start what it chose.
pub fn run(machine: Machine, boots: usize) -> Result<(Machine, Vec<Decision>)> {
    let mut vm = machine.start()?;
    for boot in 1..=boots {
        // The shell offers to skip its script for five seconds, unless a key is pressed.
        vm.wait_for_line("Mapping table", BOOT)?;
        vm.type_text(" ")?;
        // The last one ends with QEMU, which may be gone before it has said so.
        if boot < boots {
            vm.wait_for("the end of a boot", BOOT, |event| {
                matches!(event, Event::Reset(true)).then_some(())
            })?;
        }
    }
    let machine = vm.wait_for_power_off(BOOT)?;
    let esp = machine.esp()?;
    let mut decisions = Vec::new();
    for boot in 1..=boots {
        let note = |kind: &str| esp.read(&format!("{NOTES}/{boot}.{kind}"));
        decisions
            .push(Decision { variables: variables(&note("variables")?)?, entries: names(&note("names")?) });
    }
    drop(esp);
    Ok((machine, decisions))
}

/// The names in the shell's comma-separated listing: the second field of each `FileInfo` line.
fn names(listing: &[u8]) -> Vec<String> {
    let listing = String::from_utf8_lossy(listing);
    let mut names: Vec<String> = listing
        .lines()
        .filter_map(|line| line.trim().strip_prefix("FileInfo,\"")?.split('"').next())
        .filter_map(|path| path.rsplit('\\').next())
        .filter(|name| !matches!(*name, "." | ".." | ""))
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

/// The variables in a file of the shell's `dmpstore`: for each one the sizes of name and data, the
/// name, the vendor, the attributes, the data and a checksum.
fn variables(mut bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
    let short =
        || Error::Disk { disk: "the probe's notes".into(), cause: "the list of variables is cut off".into() };
    let mut variables = BTreeMap::new();
    let mut take = |count: usize| -> Result<&[u8]> {
        let (head, tail) = bytes.split_at_checked(count).ok_or_else(short)?;
        bytes = tail;
        Ok(head)
    };
    while let Ok(size) = take(4) {
        let number = |bytes: &[u8]| bytes.try_into().map(u32::from_le_bytes).unwrap_or(0) as usize;
        let name_size = number(size);
        let data_size = number(take(4)?);
        let name = take(name_size)?.to_vec();
        take(16 + 4)?;
        let data = take(data_size)?.to_vec();
        take(4)?;
        let name = Decision { variables: [(String::new(), name)].into(), ..Decision::default() }.variable("");
        variables.insert(name, data);
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_read_from_the_shells_listing() {
        let listing = b"\r\nShellCommand,\"ls\"\r\nVolumeInfo,\"\",\"1\",\"FALSE\",\"2\",\"512\"\r\n\
            FileInfo,\"fs0:\\EFI\\Linux\\.\",\"512\",\"512\",\"d\",\"03:04:06 02.01.2026\"\r\n\
            FileInfo,\"fs0:\\EFI\\Linux\\edge_1.0+2-1.efi\",\"9\",\"512\",\"a\",\"03:04:06 02.01.2026\"\r\n";
        assert_eq!(names(listing), ["edge_1.0+2-1.efi"]);
    }

    #[test]
    fn variables_are_read_from_the_shells_dump() {
        let mut dump = Vec::new();
        dump.extend(4_u32.to_le_bytes());
        dump.extend(6_u32.to_le_bytes());
        dump.extend(b"L\0\0\0");
        dump.extend([0; 20]);
        dump.extend(b"a\0b\0\0\0");
        dump.extend([0; 4]);
        let decision = Decision { variables: variables(&dump).unwrap(), entries: vec![] };
        assert_eq!(decision.variable("L"), "ab");
        dump.truncate(20);
        assert!(variables(&dump).is_err());
    }
}
