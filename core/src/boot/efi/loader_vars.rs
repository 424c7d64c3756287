//! What systemd-boot says and is told through EFI variables.

use log::warn;

use crate::boot::efi::efivars::EfiVars;
use crate::boot::model::quirks::Quirks;

/// The vendor GUID of the Boot Loader Interface.
pub const LOADER_GUID: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Bit of `LoaderFeatures`: the loader counts boots.
const FEATURE_BOOT_COUNTING: u64 = 1 << 4;

/// The loader's variables, read once. What is absent or unreadable is `None`; the
/// latter is logged. Nothing that decides which system boots may hang on these.
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

impl LoaderVars {
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

    /// Whether the loader counts boots; `None` if it does not say.
    #[must_use]
    pub fn boot_counting(&self) -> Option<bool> {
        self.features.map(|f| f & FEATURE_BOOT_COUNTING != 0)
    }

    /// The differences of the loader that is installed, or of the newest one known.
    #[must_use]
    pub fn quirks(&self) -> Quirks {
        Quirks::of(self.info.as_deref())
    }
}

/// UTF-16LE up to the first NUL; what is no text becomes U+FFFD.
#[must_use]
pub fn decode_text(bytes: &[u8]) -> String {
    let units: Vec<u16> = units(bytes).take_while(|u| *u != 0).collect();
    String::from_utf16_lossy(&units)
}

/// UTF-16LE with the NUL at its end, as the loader writes and wants its texts.
#[must_use]
pub fn encode_text(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

fn decode_list(bytes: &[u8]) -> Vec<String> {
    let units: Vec<u16> = units(bytes).collect();
    units.split(|u| *u == 0).filter(|part| !part.is_empty()).map(String::from_utf16_lossy).collect()
}

fn units(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes.chunks_exact(2).filter_map(|c| c.first_chunk::<2>().map(|c| u16::from_le_bytes(*c)))
}
