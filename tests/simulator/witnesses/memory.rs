//! An ESP in memory: no crash, no sector, only names and bytes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::rc::Rc;

use abide_core::boot::Volume;
use abide_core::boot::esp::volume::{Item, ReadSeek};

type Files = BTreeMap<String, Rc<Vec<u8>>>;

/// Shared by all that look at it.
#[derive(Debug, Clone, Default)]
pub struct Memory(Rc<RefCell<Files>>);

impl Memory {
    /// One of its own with the same files.
    pub fn copy(&self) -> Self {
        Self(Rc::new(RefCell::new(self.0.borrow().clone())))
    }

    pub fn put(&self, path: &str, bytes: Rc<Vec<u8>>) {
        self.0.borrow_mut().insert(path.to_owned(), bytes);
    }

    pub fn get(&self, path: &str) -> Option<Rc<Vec<u8>>> {
        self.0.borrow().get(path).cloned()
    }

    pub fn drop_file(&self, path: &str) {
        self.0.borrow_mut().remove(path);
    }

    pub fn rename_file(&self, from: &str, to: &str) {
        let mut files = self.0.borrow_mut();
        if let Some(bytes) = files.remove(from) {
            files.insert(to.to_owned(), bytes);
        }
    }

    /// The names in a folder.
    pub fn names(&self, dir: &str) -> Vec<String> {
        let files = self.0.borrow();
        let inside = files.keys().filter_map(|path| path.strip_prefix(dir)?.strip_prefix('/'));
        inside.map(str::to_owned).collect()
    }
}

/// Bytes that are not copied to be read.
struct Shared(Rc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Volume for Memory {
    fn list(&self, dir: &str) -> io::Result<Vec<Item>> {
        let len = |name: &str| self.get(&format!("{dir}/{name}")).map_or(0, |bytes| bytes.len() as u64);
        let item = |name: String| Item { len: len(&name), name, is_dir: false, read_only: false };
        Ok(self.names(dir).into_iter().map(item).collect())
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        let bytes = self.get(path).ok_or_else(missing)?;
        Ok(Box::new(Cursor::new(Shared(bytes))))
    }

    fn create_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, path: &str, data: &mut dyn Read) -> io::Result<u64> {
        let mut bytes = vec![];
        let len = data.read_to_end(&mut bytes)?;
        self.put(path, Rc::new(bytes));
        Ok(len as u64)
    }

    fn overwrite(&self, path: &str, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.get(path).ok_or_else(missing)?.to_vec();
        let at = usize::try_from(offset).unwrap();
        bytes[at..at + data.len()].copy_from_slice(data);
        self.put(path, Rc::new(bytes));
        Ok(())
    }

    fn sync_file(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if self.get(to).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.get(from).ok_or_else(missing)?;
        self.rename_file(from, to);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.0.borrow_mut().remove(path).map(drop).ok_or_else(missing)
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 30)
    }
}
