//! The simulated disk as the product sees it, with the seeded bugs in between.

use std::cell::{Cell, RefCell};
use std::io::{self, Cursor, Read};
use std::rc::Rc;

use abide_core::boot::esp::volume::{Item, ReadSeek, Volume};
use abide_core::boot::model::entry::UKI_DIR;

use super::disk::{Content, Disk, XBOOTLDR};
use super::mutation::Mutation;

/// Where the state's generations are.
const STATE: &str = "EFI/abide/state.";
const HISTORY: &str = "EFI/abide/history.";

#[derive(Debug, Clone)]
enum Held {
    Save { path: String, bytes: Vec<u8> },
    Rename { from: String, to: String },
}

/// A handle on the disk; all handles see the same one.
#[derive(Debug, Clone)]
pub struct Fat {
    pub disk: Rc<RefCell<Disk>>,
    held: Rc<RefCell<Vec<Held>>>,
    mutation: Mutation,
    /// Whether the last thing that was asked of the disk, but for the file's own flush, was a rename.
    renamed: Rc<Cell<bool>>,
    /// The folder that stands for this file system: none for the ESP.
    at: &'static str,
}

impl Fat {
    pub fn new(disk: Disk, mutation: Mutation) -> Self {
        Self {
            disk: Rc::new(RefCell::new(disk)),
            held: Rc::default(),
            mutation,
            renamed: Rc::default(),
            at: "",
        }
    }

    /// The XBOOTLDR of the same machine, if it has one.
    pub fn xbootldr(&self) -> Option<Self> {
        let is_there = self.disk.borrow().view().names.contains_key(XBOOTLDR.trim_end_matches('/'));
        is_there.then(|| Self { at: XBOOTLDR, ..self.clone() })
    }

    /// Where the file is, or where the seeded bug has it instead.
    fn place(&self, path: &str) -> String {
        let path = match (self.mutation, path) {
            (Mutation::StagedElsewhere, abide_core::update::STAGED_UKI) => "EFI/abide/staged.uki",
            (Mutation::OneGeneration, "EFI/abide/state.1") => "EFI/abide/state.0",
            _ => path,
        };
        format!("{}{path}", self.at)
    }

    /// Does what a seeded bug put off.
    pub fn release(&self) {
        for held in self.held.take() {
            let mut disk = self.disk.borrow_mut();
            match held {
                Held::Save { path, bytes } => {
                    disk.overwrite(&path, 0, &bytes);
                    disk.sync_file(&path);
                }
                Held::Rename { from, to } => {
                    disk.rename(&from, &to);
                    disk.sync_file(&to);
                    disk.sync_dir("EFI/Linux");
                }
            }
        }
    }
}

fn missing(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{path}: not found"))
}

impl Volume for Fat {
    fn list(&self, dir: &str) -> io::Result<Vec<Item>> {
        let (disk, dir) = (self.disk.borrow(), self.place(dir));
        let items = disk.view().list(&dir).map(|(name, content)| Item {
            name: name.to_owned(),
            is_dir: *content == Content::Folder,
            len: match content {
                Content::Bytes(blob) => blob.bytes.len() as u64,
                _ => 0,
            },
            read_only: false,
        });
        Ok(items.collect())
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        match self.disk.borrow().view().content(&self.place(path)) {
            Some(Content::Bytes(blob)) => Ok(Box::new(Cursor::new(blob.bytes.clone()))),
            Some(Content::Garbage) => Ok(Box::new(Cursor::new(vec![0xf6; 600]))),
            Some(Content::Folder) | None => Err(missing(path)),
        }
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.borrow_mut().create_dir(&self.place(dir));
        Ok(())
    }

    fn write(&self, path: &str, data: &mut dyn Read) -> io::Result<u64> {
        if path.starts_with(HISTORY) && self.mutation != Mutation::None {
            // Nothing depends on it, and with flushes left out each of its writes doubles the disks.
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut bytes = vec![];
        let len = data.read_to_end(&mut bytes)?;
        self.renamed.set(false);
        self.disk.borrow_mut().write(&self.place(path), bytes);
        Ok(len as u64)
    }

    fn overwrite(&self, path: &str, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let path = &*self.place(path);
        match self.mutation {
            Mutation::SaveAfterRename if path.starts_with(STATE) => {
                self.held.borrow_mut().push(Held::Save { path: path.to_owned(), bytes: data.to_vec() });
                Ok(())
            }
            _ if self.disk.borrow_mut().overwrite(path, offset, data) => Ok(()),
            _ => Err(missing(path)),
        }
    }

    fn sync_file(&self, path: &str) -> io::Result<()> {
        let path = &*self.place(path);
        let is_state = path.starts_with(STATE);
        match self.mutation {
            Mutation::NoStateSync | Mutation::SaveAfterRename if is_state => {}
            Mutation::NoStagedSync if path == abide_core::update::STAGED_UKI => {}
            Mutation::NoRenamedSync if !is_state && path != abide_core::update::STAGED_UKI => {}
            _ => self.disk.borrow_mut().sync_file(path),
        }
        if self.mutation == Mutation::RenameAfterSave && is_state {
            self.release();
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (&*self.place(from), &*self.place(to));
        if self.disk.borrow().view().names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if self.mutation == Mutation::KeepOldEntry && to.ends_with(".tmp") {
            return Ok(());
        }
        if self.mutation == Mutation::FreeInSight && to.ends_with(".tmp") {
            // Removed under the name that the loader shows.
            self.disk.borrow_mut().remove(from);
            return Ok(());
        }
        if self.mutation == Mutation::RenameAfterSave {
            self.held.borrow_mut().push(Held::Rename { from: from.to_owned(), to: to.to_owned() });
            return Ok(());
        }
        if self.mutation == Mutation::UnlinkBeforeLink {
            let done = self.disk.borrow_mut().rename_backwards(from, to);
            return if done { Ok(()) } else { Err(missing(from)) };
        }
        self.renamed.set(true);
        if self.mutation == Mutation::SyncBeforeRename {
            self.disk.borrow_mut().sync_dir(UKI_DIR);
        }
        if self.disk.borrow_mut().rename(from, to) { Ok(()) } else { Err(missing(from)) }
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.renamed.set(false);
        let path = &*self.place(path);
        if self.disk.borrow_mut().remove(path) { Ok(()) } else { Err(missing(path)) }
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let dir = &*self.place(dir);
        match (self.mutation, self.renamed.take()) {
            (Mutation::NoFolderSync | Mutation::SyncBeforeRename, _) | (Mutation::NoRenameSync, true) => {}
            (Mutation::StagedElsewhere, _) => {
                self.disk.borrow_mut().sync_dir(dir);
                self.disk.borrow_mut().sync_dir("EFI/abide");
            }
            _ => self.disk.borrow_mut().sync_dir(dir),
        }
        if self.mutation == Mutation::SaveAfterRename {
            self.release();
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 30)
    }
}
