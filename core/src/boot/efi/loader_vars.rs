//! The EFI variables through which systemd-boot reports and is configured.

use log::warn;

use crate::boot::efi::efivars::{EfiVars, decode_text, units};
use crate::boot::model::choice::Settings;
use crate::boot::model::loader_conf::LoaderConf;
use crate::boot::model::quirks::Quirks;

/// The loader's variables, read once. What is absent or unreadable is `None`; the latter is logged.
/// Nothing that decides which system boots may depend on these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoaderVars {
    /// `LoaderInfo`, such as `systemd-boot 257.13-1~deb13u1`.
    pub info: Option<String>,
    /// `LoaderFeatures`
    pub features: Option<u64>,
    /// `LoaderEntrySelected`: the id of the entry that was booted. Fold before comparing
    /// ([`crate::boot::model::name::fold_id`]).
    pub selected: Option<String>,
    /// `LoaderEntries`: the ids in the loader's order.
    pub entries: Vec<String>,
    /// `LoaderBootCountPath`, with `/` instead of `\` and without the leading one:
    /// `EFI/Linux/x+2-1.efi`. May be left over from an attempt before the one that runs.
    pub boot_count_path: Option<String>,
    /// `LoaderDevicePartUUID` in lower case, as in `/dev/disk/by-partuuid`.
    pub device_partuuid: Option<String>,
    /// `LoaderImageIdentifier`: the loader's own file on that partition, as the firmware writes it.
    pub image: Option<String>,
    /// `LoaderEntryOneShot`
    pub oneshot: Option<String>,
    /// `LoaderEntryPreferred`
    pub preferred: Option<String>,
    /// `LoaderEntryDefault`
    pub default: Option<String>,
    /// `LoaderEntryLastBooted`
    pub last_booted: Option<String>,
    /// At least one variable is there but could not be read.
    pub unreadable: bool,
}

/// Bit of `LoaderFeatures`: the loader counts boots.
const BOOT_COUNTING: u64 = 1 << 4;

impl LoaderVars {
    /// Whether the loader counts boots; `None` if it does not say.
    #[must_use]
    pub fn boot_counting(&self) -> Option<bool> {
        self.features.map(|features| features & BOOT_COUNTING != 0)
    }

    /// Reads them all.
    #[must_use]
    pub fn read(vars: &EfiVars) -> Self {
        let mut unreadable = false;
        let mut bytes = |name: &str| match vars.read_loader(name) {
            Ok(found) => found,
            Err(e) => {
                warn!("{name}: cannot read EFI variable: {e}");
                unreadable = true;
                None
            }
        };
        let mut text = |name: &str| bytes(name).map(|b| decode_text(&b)).filter(|t| !t.is_empty());
        let info = text("LoaderInfo");
        let selected = text("LoaderEntrySelected");
        let path = text("LoaderBootCountPath");
        let partuuid = text("LoaderDevicePartUUID");
        let image = text("LoaderImageIdentifier");
        let oneshot = text("LoaderEntryOneShot");
        let preferred = text("LoaderEntryPreferred");
        let default = text("LoaderEntryDefault");
        let last_booted = text("LoaderEntryLastBooted");
        let features =
            bytes("LoaderFeatures").and_then(|b| b.first_chunk::<8>().map(|c| u64::from_le_bytes(*c)));
        let entries = bytes("LoaderEntries").map(|b| decode_list(&b)).unwrap_or_default();
        Self {
            info,
            features,
            selected,
            entries,
            boot_count_path: path.map(|p| p.replace('\\', "/").trim_start_matches('/').to_owned()),
            device_partuuid: partuuid.map(|u| u.to_ascii_lowercase()),
            image,
            oneshot,
            preferred,
            default,
            last_booted,
            unreadable,
        }
    }

    /// Reads only which ESP the loader came from: each variable is a call into the firmware.
    #[must_use]
    pub fn read_device(vars: &EfiVars) -> Self {
        let device_partuuid = match vars.read_loader("LoaderDevicePartUUID") {
            Ok(found) => found.map(|b| decode_text(&b).to_ascii_lowercase()).filter(|t| !t.is_empty()),
            Err(e) => {
                warn!("LoaderDevicePartUUID: cannot read EFI variable: {e}");
                None
            }
        };
        Self { device_partuuid, ..Self::default() }
    }

    /// The settings that determine the loader's next choice.
    #[must_use]
    pub fn settings(&self, conf: LoaderConf) -> Settings {
        Settings {
            conf,
            oneshot: self.oneshot.clone(),
            preferred: self.preferred.clone(),
            default: self.default.clone(),
            last_booted: self.last_booted.clone(),
        }
    }

    /// The differences of the loader that is installed, or of the newest one known.
    #[must_use]
    pub fn quirks(&self) -> Quirks {
        Quirks::of(self.info.as_deref())
    }
}

fn decode_list(bytes: &[u8]) -> Vec<String> {
    let units: Vec<u16> = units(bytes).collect();
    units.split(|u| *u == 0).filter(|part| !part.is_empty()).map(String::from_utf16_lossy).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::path::PathBuf;

    use abide_testing::utf16;

    use super::*;
    use crate::root::Root;

    fn tree() -> (tempfile::TempDir, EfiVars) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("sys/firmware/efi/efivars")).unwrap();
        let vars = EfiVars::new(&Root::at(dir.path()));
        (dir, vars)
    }

    fn file(dir: &tempfile::TempDir, name: &str) -> PathBuf {
        let guid = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
        dir.path().join(format!("sys/firmware/efi/efivars/{name}-{guid}"))
    }

    fn set(dir: &tempfile::TempDir, name: &str, data: &[u8]) {
        fs::write(file(dir, name), [&[6, 0, 0, 0], data].concat()).unwrap();
    }

    #[test]
    fn a_loader_that_says_nothing_is_told_from_one_that_does_not_count() {
        let counts = |features| LoaderVars { features, ..LoaderVars::default() }.boot_counting();
        assert_eq!([counts(Some(0x10)), counts(Some(0xef)), counts(None)], [Some(true), Some(false), None]);
    }

    #[test]
    fn the_loaders_variables_are_read_in_their_encodings() {
        let (dir, vars) = tree();
        let set = |name: &str, data: &[u8]| set(&dir, name, data);
        set("LoaderInfo", &utf16("systemd-boot 257.13-1~deb13u1"));
        set("LoaderFeatures", &0x10_u64.to_le_bytes());
        set("LoaderEntrySelected", &utf16("edge_2.0.efi"));
        set("LoaderBootCountPath", &utf16("\\EFI\\Linux\\edge_2.0+2-1.efi"));
        set("LoaderDevicePartUUID", &utf16("AAAAAAAA-0000-4000-8000-00000000000B"));
        set("LoaderEntries", &[utf16("edge_2.0.efi"), utf16("auto-reboot")].concat());
        let it = LoaderVars::read(&vars);
        assert_eq!(it.features, Some(0x10));
        assert_eq!(it.boot_count_path.as_deref(), Some("EFI/Linux/edge_2.0+2-1.efi"));
        assert_eq!(it.device_partuuid.as_deref(), Some("aaaaaaaa-0000-4000-8000-00000000000b"));
        assert_eq!(it.entries, ["edge_2.0.efi", "auto-reboot"]);
        assert_eq!(it.selected.as_deref(), Some("edge_2.0.efi"));
        assert_eq!((it.oneshot, it.unreadable), (None, false));
    }

    #[test]
    fn an_unreadable_variable_is_none_and_the_others_are_read() {
        let (dir, vars) = tree();
        fs::create_dir(file(&dir, "LoaderInfo")).unwrap();
        set(&dir, "LoaderEntryOneShot", &utf16("x"));
        let it = LoaderVars::read(&vars);
        assert!(it.unreadable && it.info.is_none());
        assert_eq!(it.oneshot.as_deref(), Some("x"));
    }

    #[test]
    fn without_efi_there_are_no_variables_and_that_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let it = LoaderVars::read(&EfiVars::new(&Root::at(dir.path())));
        assert_eq!(it, LoaderVars::default());
    }
}
