//! Which parts of a partition need not be fetched: its map, and the patch for the running version.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::{info, warn};

use crate::delta::{Map, file_names};
use crate::disk::role::Role;
use crate::feed::cache::FRAMES;
use crate::feed::frames::Frames;
use crate::feed::published::ListedFile;
use crate::feed::request::Request;
use crate::files;
use crate::image::trust::Sums;
use crate::image::{Folder, sha256};
use crate::update::WholeMachine;
use crate::update::write::lacking::Lacking;
use crate::update::write::regions::{Cached, Holders, OpenPatch, RegionStream, Regions, holder};
use abide_core::disk::Slot;
use abide_core::error::Result;
use abide_core::update::machine::Machine;

/// What this machine has of older roots, or of another partition of the slots.
#[derive(Debug, Clone, Default)]
pub struct OldRoots {
    /// Version and device of the running system.
    running: Option<(String, PathBuf)>,
    /// The device of the slot that is to be written.
    target: Option<PathBuf>,
}

impl OldRoots {
    /// Those of the machine, as far as it is known what runs. `role`: what the partitions hold.
    #[must_use]
    pub fn of(machine: &Machine, role: Role) -> Self {
        let (Ok(slots), Ok(name), Ok(entry)) =
            (machine.slots(), machine.running_slot(), machine.running_entry())
        else {
            return Self::default();
        };
        let device = |slot: &Slot| role.area(slot).map(|area| area.device);
        Self { running: entry.version.zip(device(slots.get(name))), target: device(slots.get(name.other())) }
    }

    /// The devices, opened.
    fn holders(&self) -> Holders {
        Holders {
            running: self.running.as_ref().and_then(|(_, device)| holder(device)),
            target: self.target.as_deref().and_then(holder),
        }
    }
}

/// A partition that can be had in parts.
pub struct Delta {
    map: Map,
    old: OldRoots,
    /// The name of the patch for the running version, if one is listed. It is requested when the partition is made: a server
    /// may close a connection that waits while another partition is written.
    patch: Option<String>,
    /// Where the full file is not in the folder: what is there instead.
    cached: Option<Cached>,
}

impl Delta {
    /// Reads the map that the list has beside the root. None if it has no map, or one that cannot be used, which is logged: then the
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
            .filter(|name| sums.get(name).is_some());
        Some(Self { map, old, patch, cached: None })
    }

    /// Opens what the cache has of the root. None if it has the full file.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Image`] if it has neither that nor a map; `lacking` then has a request for the full file.
    pub fn open_cached(
        folder: &Folder,
        root: &ListedFile,
        sums: &Sums,
        old: OldRoots,
        lacking: &Lacking,
    ) -> Result<Option<Self>> {
        if files::open(Path::new(&folder.join(&root.name))).is_ok_and(|file| file.is_some()) {
            return Ok(None);
        }
        let delta = Self::open(folder, root, sums, old);
        let delta = delta.ok_or_else(|| lacking.note(&root.name, &root.sha256, Request::whole()))?;
        let frames = files::open(Path::new(&folder.join(&format!("{}.{FRAMES}", root.sha256))));
        let frames = frames.ok().flatten().and_then(|file| Frames::find(file, &delta.map).ok().map(Arc::new));
        let cached = Cached { frames, full: root.sha256.clone(), lacking: lacking.clone() };
        Ok(Some(Self { cached: Some(cached), ..delta }))
    }

    /// Fails if a region of the root is not there, as far as that can be known before the slot is written: without a patch.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Image`]
    pub fn refuse_lacking(&self, folder: &Folder, name: &str) -> Result<()> {
        if self.patch.is_some() || self.cached.is_none() {
            return Ok(());
        }
        let (map, cached) = (self.map.clone(), self.cached.clone());
        Regions::new(map, self.old.holders(), None, folder.clone(), name, cached).refuse_lacking(vec![])
    }

    /// The size of the root in bytes.
    pub fn len(&self) -> u64 {
        self.map.len
    }

    /// Requests the patch, if it is smaller than the full file, and starts to make the root. `name`: the full file.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if no thread can be started.
    pub fn start(self, folder: Folder, name: &str) -> Result<RegionStream> {
        let holders = self.old.holders();
        let patch = self.patch.and_then(|patch| open_patch(&folder, &patch, &self.map));
        RegionStream::start(Regions::new(self.map, holders, patch, folder, name, self.cached))
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
