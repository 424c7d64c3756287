//! A FAT file system that can lose its power: the durable data, and the requests since.
//!
//! The unit of the directory is what the disk writes at once. With [`Geometry::OneSector`] all
//! names of a folder lie in one sector, so that a cut leaves some earlier version of the whole
//! folder; with [`Geometry::Scattered`] every name lies in a sector of its own, and any
//! combination of them may survive. Names in different folders are never written together. What
//! was not flushed survives or not, in any combination.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use super::generation;

/// A chain of clusters. Two names with the same one share their clusters.
pub type FileId = u32;

/// How much of a file identifies it: a UKI's headers and texts, all of a small state.
const TELLING: usize = 4096;

/// The size of the block that a disk writes all or not at all.
pub const SECTOR: usize = 512;

/// The folder that represents a second file system. A real one has its own clusters; here a file of one
/// may get those of the other, which is worse than any real disk.
pub const XBOOTLDR: &str = "xbootldr/";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Geometry {
    /// All names of a folder in one sector.
    OneSector,
    /// Every name in a sector of its own.
    Scattered,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Content {
    Bytes(Rc<Blob>),
    /// Clusters that never got their data, or hold another file's by now.
    Garbage,
    Folder,
}

/// The bytes of a file, with what tells them from others.
#[derive(Debug)]
pub struct Blob {
    pub bytes: Vec<u8>,
    /// Equal for equal bytes; of a generation of the state, its sequence number does not count.
    key: u64,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Rc<Self> {
        let mut hasher = DefaultHasher::new();
        bytes.len().hash(&mut hasher);
        match generation::parse(&bytes) {
            Some(generation) => generation.rest.hash(&mut hasher),
            // Nothing is decided by the history.
            None if is_history(&bytes) => {}
            None => bytes[..bytes.len().min(TELLING)].hash(&mut hasher),
        }
        Rc::new(Self { bytes, key: hasher.finish() })
    }
}

fn is_history(bytes: &[u8]) -> bool {
    bytes.starts_with(b"abide-event ") || bytes.iter().all(|byte| *byte == b'\n')
}

impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Blob {}

impl Hash for Blob {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

/// A file system at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    pub names: BTreeMap<String, FileId>,
    pub files: BTreeMap<FileId, Content>,
    /// Clusters that are free although a name may still lead to them.
    pub freed: BTreeSet<FileId>,
    /// The file that owns these clusters now; freeing them would take them from that file.
    pub heirs: BTreeMap<FileId, FileId>,
    pub next_id: FileId,
}

/// One change to the disk's sectors.
#[derive(Debug, Clone)]
enum Change {
    Link(String, FileId),
    Unlink(String),
    /// One sector write: two names of one folder.
    Rename(String, String, FileId),
    /// A name that has led to nothing since a rename gets the file's clusters and length.
    Attach(String, FileId, FileId),
    /// The clusters of a file are given back, on the ESP or the other file system.
    Free(FileId, bool),
    /// A whole new file; its clusters may be any that were free.
    Fill(FileId, Rc<Blob>, BTreeSet<FileId>),
    /// Part of a file, in place.
    Patch(FileId, usize, Rc<Vec<u8>>),
}

impl Image {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Link(name, id) => {
                self.names.insert(name.clone(), *id);
            }
            Change::Unlink(name) => {
                self.names.remove(name);
            }
            Change::Rename(from, to, id) => {
                self.names.remove(from);
                self.names.insert(to.clone(), *id);
            }
            Change::Attach(name, nothing, id) => {
                if self.names.get(name) == Some(nothing) {
                    self.names.insert(name.clone(), *id);
                }
            }
            Change::Free(id, _) => {
                let mut id = *id;
                self.freed.insert(id);
                while let Some(heir) = self.heirs.get(&id).copied() {
                    self.freed.insert(heir);
                    id = heir;
                }
            }
            Change::Fill(id, bytes, clobbered) => {
                for other in clobbered {
                    self.files.insert(*other, Content::Garbage);
                    self.heirs.insert(*other, *id);
                }
                self.files.insert(*id, Content::Bytes(Rc::clone(bytes)));
            }
            Change::Patch(id, at, bytes) => {
                if let Some(Content::Bytes(old)) = self.files.get(id) {
                    let mut new = old.bytes.clone();
                    new[*at..*at + bytes.len()].copy_from_slice(bytes);
                    self.files.insert(*id, Content::Bytes(Blob::new(new)));
                }
            }
        }
    }

    /// What lies under a name.
    pub fn content(&self, path: &str) -> Option<&Content> {
        self.names.get(path).and_then(|id| self.files.get(id))
    }

    /// Whether a file's clusters are its own.
    pub fn is_sound(&self, path: &str) -> bool {
        self.names.get(path).is_some_and(|id| !self.freed.contains(id) && !self.heirs.contains_key(id))
    }

    /// The file names in a folder.
    pub fn list<'a>(&'a self, dir: &'a str) -> impl Iterator<Item = (&'a str, &'a Content)> {
        self.names.iter().filter_map(move |(path, id)| {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            (parent == dir).then(|| (name, self.files.get(id).unwrap_or(&Content::Garbage)))
        })
    }

    /// Drops names whose folder is gone, and files without a name; the rest is numbered anew, so
    /// that equal disks are equal.
    fn tidy(mut self) -> Self {
        let folders: BTreeSet<String> = self
            .names
            .iter()
            .filter(|(_, id)| self.files.get(id) == Some(&Content::Folder))
            .map(|(name, _)| name.clone())
            .collect();
        self.names.retain(|path, _| path.rsplit_once('/').is_none_or(|(dir, _)| folders.contains(dir)));
        let mut tidy = Self::default();
        let mut known = BTreeMap::new();
        for (name, id) in &self.names {
            let new = *known.entry(*id).or_insert_with(|| {
                tidy.next_id += 1;
                tidy.files.insert(tidy.next_id, self.files.get(id).cloned().unwrap_or(Content::Garbage));
                if self.freed.contains(id) {
                    tidy.freed.insert(tidy.next_id);
                }
                tidy.next_id
            });
            tidy.names.insert(name.clone(), new);
        }
        for (stale, heir) in &self.heirs {
            if let (Some(stale), Some(heir)) = (known.get(stale), known.get(heir)) {
                tidy.heirs.insert(*stale, *heir);
            }
        }
        tidy
    }
}

#[derive(Debug)]
pub struct Disk {
    geometry: Geometry,
    /// The durable content.
    durable: Image,
    /// What the running system sees.
    view: Image,
    pending: Vec<Change>,
    /// Files that Linux has renamed and not written back since. vfat makes the new name with neither
    /// clusters nor length and fills them in when it writes the file's inode (`vfat_rename`,
    /// `fat_write_inode`): to flush the folder alone makes a durable name that leads to nothing. Left
    /// to itself, Linux writes inodes before it writes the sectors of folders.
    renamed: BTreeSet<FileId>,
    /// What a cut at any moment since the last call of [`Disk::cuts`] may have left.
    cuts: Vec<Image>,
    seen: HashSet<u64>,
    /// Changes and flushes since then; each is a point at which the power can go.
    points: usize,
}

/// What a cut may have left since the last time.
pub struct Cuts {
    /// Disks, each different from the others.
    pub images: Vec<Image>,
    /// Points at which the power could have gone.
    pub points: usize,
}

fn is_on_xbootldr(path: &str) -> bool {
    path.starts_with(XBOOTLDR)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl Disk {
    pub fn new(image: Image, geometry: Geometry) -> Self {
        let mut disk = Self {
            geometry,
            view: image.clone(),
            durable: image,
            pending: vec![],
            renamed: BTreeSet::new(),
            cuts: vec![],
            seen: HashSet::new(),
            points: 0,
        };
        disk.note_cuts();
        disk
    }

    pub fn view(&self) -> &Image {
        &self.view
    }

    /// All that a cut at some moment since the last call may have left.
    pub fn cuts(&mut self) -> Cuts {
        self.seen.clear();
        let cuts = Cuts { images: std::mem::take(&mut self.cuts), points: std::mem::take(&mut self.points) };
        self.note_cuts();
        cuts
    }

    /// An orderly shutdown: everything is written.
    pub fn shut_down(&self) -> Image {
        self.view.clone().tidy()
    }

    fn change(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.view.apply(&change);
            self.pending.push(change);
        }
        self.points += 1;
        self.note_cuts();
    }

    fn flush(&mut self, is_flushed: impl Fn(&Self, &Change) -> bool) {
        let flushed: Vec<bool> = self.pending.iter().map(|c| is_flushed(self, c)).collect();
        for (change, now) in std::mem::take(&mut self.pending).into_iter().zip(flushed) {
            if !now {
                self.pending.push(change);
                continue;
            }
            match change {
                Change::Rename(from, to, id) if self.renamed.contains(&id) => {
                    let nothing = self.nothing();
                    self.durable.apply(&Change::Rename(from, to.clone(), nothing));
                    self.pending.push(Change::Attach(to, nothing, id));
                }
                Change::Link(name, id) if self.renamed.contains(&id) => {
                    let nothing = self.nothing();
                    self.durable.apply(&Change::Link(name.clone(), nothing));
                    self.pending.push(Change::Attach(name, nothing, id));
                }
                change => self.durable.apply(&change),
            }
        }
        self.points += 1;
        self.note_cuts();
    }

    /// An empty file.
    fn nothing(&mut self) -> FileId {
        let id = self.new_id();
        self.durable.files.insert(id, Content::Bytes(Blob::new(vec![])));
        id
    }

    /// The sector that a name lies in.
    fn sector_of(&self, name: &str) -> String {
        match self.geometry {
            Geometry::OneSector => parent(name).to_owned(),
            Geometry::Scattered => name.to_owned(),
        }
    }

    /// The sector that a change of names goes to; none for data and the FAT.
    fn sector(&self, change: &Change) -> Option<String> {
        match change {
            Change::Link(name, _) | Change::Unlink(name) | Change::Rename(name, ..) => {
                Some(self.sector_of(name))
            }
            _ => None,
        }
    }

    /// Every subset of what is pending, as far as the sectors allow it: of one sector of names, some
    /// number of its first changes; of everything else, any. Of several patches of the same bytes only
    /// the last one that survives can be seen, so that their first ones are enough, too.
    fn note_cuts(&mut self) {
        let mut chains: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (n, change) in self.pending.iter().enumerate() {
            let key = self.sector(change).unwrap_or_else(|| match change {
                Change::Patch(id, at, bytes) => format!("\0{id} {at} {}", bytes.len()),
                _ => format!("\0{n}"),
            });
            chains.entry(key).or_default().push(n);
        }
        let chains: Vec<Vec<usize>> = chains.into_values().collect();
        let mut lengths = vec![0; chains.len()];
        loop {
            let mut kept: Vec<usize> =
                chains.iter().zip(&lengths).flat_map(|(chain, n)| chain[..*n].iter().copied()).collect();
            kept.sort_unstable();
            let mut image = self.durable.clone();
            for n in kept {
                image.apply(&self.pending[n]);
            }
            let image = image.tidy();
            if self.seen.insert(key_of(&image)) {
                self.cuts.push(image);
            }
            let Some(at) = lengths.iter().zip(&chains).position(|(n, chain)| *n < chain.len()) else { break };
            lengths[at] += 1;
            lengths[..at].fill(0);
        }
    }

    fn new_id(&mut self) -> FileId {
        self.view.next_id += 1;
        self.durable.next_id = self.view.next_id;
        self.view.next_id
    }

    pub fn create_dir(&mut self, dir: &str) {
        let mut path = String::new();
        for part in dir.split('/') {
            path = if path.is_empty() { part.to_owned() } else { format!("{path}/{part}") };
            if !self.view.names.contains_key(&path) {
                let id = self.new_id();
                self.durable.files.insert(id, Content::Folder);
                self.view.files.insert(id, Content::Folder);
                self.change(vec![Change::Link(path.clone(), id)]);
            }
        }
    }

    pub fn write(&mut self, path: &str, bytes: Vec<u8>) {
        let old = self.view.names.get(path).copied();
        let id = self.new_id();
        let mut changes = vec![];
        if let Some(old) = old {
            changes.push(Change::Free(old, is_on_xbootldr(path)));
        }
        changes.push(Change::Link(path.to_owned(), id));
        self.change(changes);
        let clobbered = self.view.freed.clone();
        self.change(vec![Change::Fill(id, Blob::new(bytes), clobbered)]);
    }

    pub fn overwrite(&mut self, path: &str, offset: usize, bytes: &[u8]) -> bool {
        let Some(id) = self.view.names.get(path).copied() else { return false };
        let (first, rest) = bytes.split_at(SECTOR.min(bytes.len()));
        let patches = [(offset, first), (offset + first.len(), rest)].into_iter();
        let patches = patches.filter(|(_, part)| !part.is_empty());
        self.change(patches.map(|(at, part)| Change::Patch(id, at, Rc::new(part.to_vec()))).collect());
        true
    }

    /// Linux renames.
    pub fn rename(&mut self, from: &str, to: &str) -> bool {
        let Some(id) = self.view.names.get(from).copied() else { return false };
        self.renamed.insert(id);
        self.rename_by_firmware(from, to)
    }

    /// The firmware renames: all of the entry at once.
    pub fn rename_by_firmware(&mut self, from: &str, to: &str) -> bool {
        let Some(id) = self.view.names.get(from).copied() else { return false };
        let one = self.geometry == Geometry::OneSector && parent(from) == parent(to);
        self.change(if one {
            vec![Change::Rename(from.to_owned(), to.to_owned(), id)]
        } else {
            vec![Change::Link(to.to_owned(), id), Change::Unlink(from.to_owned())]
        });
        true
    }

    /// As [`Disk::rename`], in two writes: the old name goes first, and is flushed.
    pub fn rename_backwards(&mut self, from: &str, to: &str) -> bool {
        let Some(id) = self.view.names.get(from).copied() else { return false };
        self.change(vec![Change::Unlink(from.to_owned())]);
        self.sync_dir(parent(from));
        self.change(vec![Change::Link(to.to_owned(), id)]);
        true
    }

    pub fn remove(&mut self, path: &str) -> bool {
        let Some(id) = self.view.names.get(path).copied() else { return false };
        self.change(vec![Change::Unlink(path.to_owned()), Change::Free(id, is_on_xbootldr(path))]);
        true
    }

    /// `fsync` of a file: its data, the sector of its own entry, the FAT.
    pub fn sync_file(&mut self, path: &str) {
        let Some(id) = self.view.names.get(path).copied() else { return };
        let sector = self.sector_of(path);
        self.renamed.remove(&id);
        self.flush(|disk, change| match change {
            Change::Fill(other, ..) | Change::Patch(other, ..) | Change::Attach(_, _, other) => *other == id,
            Change::Free(_, on) => *on == is_on_xbootldr(path),
            _ => disk.sector(change).as_deref() == Some(sector.as_str()),
        });
    }

    /// `fsync` of a folder: the names in it, the FAT.
    pub fn sync_dir(&mut self, dir: &str) {
        self.flush(|_, change| match change {
            Change::Link(name, _) | Change::Unlink(name) | Change::Rename(name, ..) => parent(name) == dir,
            Change::Free(_, on) => *on == is_on_xbootldr(dir),
            _ => false,
        });
    }
}

/// A number that equal disks share. The generations of the state count by their order, not by
/// their sequence numbers, which only grow.
pub fn key_of(image: &Image) -> u64 {
    let mut hasher = DefaultHasher::new();
    image.names.hash(&mut hasher);
    image.freed.hash(&mut hasher);
    image.heirs.hash(&mut hasher);
    image.files.hash(&mut hasher);
    generation::newest(image).hash(&mut hasher);
    hasher.finish()
}
