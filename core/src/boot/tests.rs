//! What the tests of this floor are made from.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::rc::Rc;

use crate::boot::esp::volume::{Item, ReadSeek, Volume};
use crate::boot::model::entry::{BootPartition, Entry, EntryKind, Starts};
use crate::boot::model::name::EntryName;

/// A UKI of the image `edge`.
pub(crate) fn uki(file: &str, version: &str) -> Entry {
    Entry {
        name: EntryName::parse(file).unwrap(),
        partition: BootPartition::Esp,
        kind: EntryKind::Uki,
        title: Some(format!("Edge {version}")),
        sort_key: Some("edge".into()),
        machine_id: None,
        version: Some(version.into()),
        options: None,
        profile: 0,
        profile_id: None,
        image_version: None,
        unversioned: false,
        starts: None,
        read_only: false,
    }
}

/// A Type #1 entry that says nothing but what to start.
pub(super) fn conf(file: &str, starts: Starts) -> Entry {
    let name = EntryName::parse(file).unwrap();
    Entry {
        name,
        kind: EntryKind::Conf(starts),
        title: None,
        sort_key: None,
        version: None,
        ..uki("x.efi", "0")
    }
}

/// The smallest PE files that have a UKI's sections.
pub(super) use abide_testing::uki as fixture;

/// A volume in memory that notes every effect, and fails from the `fails_at`th on.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    pub(super) files: RefCell<BTreeMap<String, Vec<u8>>>,
    pub(super) effects: RefCell<Vec<String>>,
    pub(super) fails_at: Option<usize>,
    /// A file that cannot be read.
    pub(super) unreadable: Option<&'static str>,
    pub(super) free: u64,
}

impl Recorder {
    pub(super) fn with(files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(name, data)| ((*name).to_owned(), data.to_vec())).collect();
        Self { files: RefCell::new(files), free: 1 << 20, ..Self::default() }
    }

    fn note(&self, effect: String) -> io::Result<()> {
        self.effects.borrow_mut().push(effect);
        if self.fails_at.is_some_and(|n| self.effects.borrow().len() > n) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

/// Shared, so that a test can look at it after handing it over.
impl Volume for Rc<Recorder> {
    fn list(&self, dir: &str) -> io::Result<Vec<Item>> {
        let prefix = format!("{dir}/");
        let files = self.files.borrow();
        let inside = files.iter().filter_map(|(path, data)| Some((path.strip_prefix(&prefix)?, data.len())));
        let item = |(name, len): (&str, usize)| match name.split_once('/') {
            Some((dir, _)) => Item { name: dir.into(), is_dir: true, len: 0, read_only: false },
            None => Item { name: name.into(), is_dir: false, len: len as u64, read_only: false },
        };
        let mut items: Vec<Item> = inside.map(item).collect();
        items.dedup();
        Ok(items)
    }
    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        if self.unreadable == Some(path) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let data = self.files.borrow().get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(io::Cursor::new(data)))
    }
    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.note(format!("mkdir {dir}"))
    }
    fn write(&self, path: &str, data: &mut dyn Read) -> io::Result<u64> {
        self.note(format!("write {path}"))?;
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes)?;
        let len = bytes.len() as u64;
        self.files.borrow_mut().insert(path.into(), bytes);
        Ok(len)
    }
    fn overwrite(&self, path: &str, _offset: u64, _data: &[u8]) -> io::Result<()> {
        self.note(format!("overwrite {path}"))
    }
    fn sync_file(&self, path: &str) -> io::Result<()> {
        self.note(format!("sync {path}"))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.note(format!("rename {from} {to}"))?;
        let mut files = self.files.borrow_mut();
        if files.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let data = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.into(), data);
        Ok(())
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.note(format!("remove {path}"))?;
        self.files.borrow_mut().remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        self.note(format!("rmdir {dir}"))
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.note(format!("syncdir {dir}"))
    }
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.free)
    }
}
