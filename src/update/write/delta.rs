//! Which parts of a root need not be fetched: its map, and the patch for the running version.

use std::path::PathBuf;

use log::{info, warn};

use crate::delta::{Map, file_names};
use crate::feed::published::ListedFile;
use crate::image::trust::Sums;
use crate::image::{Folder, sha256};
use crate::update::WholeMachine;
use crate::update::write::regions::{Holders, OpenPatch, RegionStream, Regions, holder};
use abide_core::disk::Slot;
use abide_core::error::Result;
use abide_core::update::machine::Machine;

/// What this machine has of older roots.
#[derive(Debug, Clone, Default)]
pub struct OldRoots {
    /// Version and device of the running system.
    running: Option<(String, PathBuf)>,
    /// The device of the slot that is to be written.
    target: Option<PathBuf>,
}

impl OldRoots {
    /// Those of the machine, as far as it is known what runs.
    #[must_use]
    pub fn of(machine: &Machine) -> Self {
        let (Ok(slots), Ok(name), Ok(entry)) =
            (machine.slots(), machine.running_slot(), machine.running_entry())
        else {
            return Self::default();
        };
        let device = |slot: &Slot| slot.device.clone();
        Self {
            running: entry.version.map(|version| (version, device(slots.get(name)))),
            target: Some(device(slots.get(name.other()))),
        }
    }
}

/// A root that can be had in parts.
pub struct Delta {
    map: Map,
    old: OldRoots,
    /// The patch for the running version, if it is smaller than the full file.
    patch: Option<OpenPatch>,
}

impl Delta {
    /// Opens what the list has beside the root. None if it has no map, or one that cannot be used, which is logged: then the
    /// full file is read.
    pub fn open(folder: &Folder, root: &ListedFile, sums: &Sums, old: OldRoots) -> Option<Self> {
        let unpacked = file_names::unpacked(&root.name)?;
        let name = file_names::map(unpacked);
        let map = read_map(folder, &name, sums.get(&name)?)
            .map_err(|why| warn!("{folder}: {name}: {why}; using the full file"))
            .ok()?;
        let version = old.running.as_ref().map(|(version, _)| version.as_str());
        let patch = version
            .map(|version| file_names::patch(unpacked, version))
            .filter(|name| sums.get(name).is_some())
            .and_then(|name| open_patch(folder, &name, &map));
        Some(Self { map, old, patch })
    }

    /// The size of the root in bytes.
    pub fn len(&self) -> u64 {
        self.map.len
    }

    /// Starts to make the root. `name`: the full file.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if no thread can be started.
    pub fn start(self, folder: Folder, name: &str) -> Result<RegionStream> {
        let holders = Holders {
            running: self.old.running.as_ref().and_then(|(_, device)| holder(device)),
            target: self.old.target.as_deref().and_then(holder),
        };
        RegionStream::start(Regions::new(self.map, holders, self.patch, folder, name))
    }
}

/// The map of this digest.
fn read_map(folder: &Folder, name: &str, sha256: &str) -> std::result::Result<Map, String> {
    let bytes = folder.read(name, Map::MAX).map_err(|e| e.to_string())?;
    let bytes = bytes.ok_or("is listed, but not there")?;
    if sha256::of_bytes(&bytes) != sha256 {
        return Err("is not the listed one".into());
    }
    Map::parse(&bytes)
}

fn open_patch(folder: &Folder, name: &str, map: &Map) -> Option<OpenPatch> {
    let source = folder.open(name).map_err(|e| warn!("{e}; using the full file")).ok()?;
    match source.len {
        Some(len) if len >= map.full_len => {
            info!("{name}: is not smaller than the full file, which is used instead");
            None
        }
        _ => OpenPatch::open(source, map),
    }
}
