//! The state on an ESP that is damaged, full or read-only; in less room than it wants; of an older or newer Abide.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod commands;
mod formats;
mod release_1;
mod room;

use std::cell::Cell;
use std::fs;
use std::io::{self, Read};
use std::rc::Rc;

use abide_core::boot::esp::volume::{Item, ReadSeek};
use abide_core::boot::{DirVolume, Volume};
use abide_core::state::{Failure, Phase, State, Store};

/// An ESP that no longer accepts writes.
#[derive(Debug, Clone)]
struct Sick {
    esp: Rc<DirVolume>,
    /// The result of every change from now on.
    answer: Rc<Cell<Option<io::ErrorKind>>>,
    /// How often the next readings of a generation come in the middle of a save.
    torn: Rc<Cell<u32>>,
}

impl Sick {
    fn new(esp: DirVolume) -> Self {
        Self { esp: Rc::new(esp), answer: Rc::default(), torn: Rc::default() }
    }

    fn falls_ill(&self, answer: io::ErrorKind) {
        self.answer.set(Some(answer));
    }

    fn ask(&self) -> io::Result<()> {
        self.answer.get().map_or(Ok(()), |kind| Err(kind.into()))
    }
}

impl Volume for Sick {
    fn list(&self, dir: &str) -> io::Result<Vec<Item>> {
        self.esp.list(dir)
    }
    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        let mut file = self.esp.open(path)?;
        match self.torn.get() {
            0 => Ok(file),
            left => {
                self.torn.set(left - 1);
                let mut bytes = vec![];
                file.read_to_end(&mut bytes)?;
                // The first page is the new one already, the second is not.
                bytes[90..].fill(b'x');
                Ok(Box::new(io::Cursor::new(bytes)))
            }
        }
    }
    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.ask().and_then(|()| self.esp.create_dir(dir))
    }
    fn write(&self, path: &str, data: &mut dyn Read) -> io::Result<u64> {
        self.ask().and_then(|()| self.esp.write(path, data))
    }
    fn overwrite(&self, path: &str, offset: u64, data: &[u8]) -> io::Result<()> {
        // A full file system still accepts data that is overwritten in place.
        match self.ask() {
            Err(e) if e.kind() == io::ErrorKind::StorageFull => {}
            other => other?,
        }
        self.esp.overwrite(path, offset, data)
    }
    fn sync_file(&self, path: &str) -> io::Result<()> {
        self.esp.sync_file(path)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.ask().and_then(|()| self.esp.rename(from, to))
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.ask().and_then(|()| self.esp.remove(path))
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.esp.sync_dir(dir)
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.esp.free_bytes()
    }
    fn is_shared(&self) -> bool {
        true
    }
}

fn esp() -> (tempfile::TempDir, Sick) {
    let dir = tempfile::tempdir().unwrap();
    let esp = Sick::new(DirVolume::new(dir.path()));
    (dir, esp)
}

/// A state with a failure record of this version.
fn failed(version: &str) -> State {
    let mut state = State::default();
    state.remember(Failure {
        version: version.into(),
        digest: None,
        attempts: 3,
        phase: Phase::Loader,
        reason: "it never came up".into(),
        checks: vec![],
        time: "2026-01-02T03:04:05Z".into(),
        times: 1,
        forgiven: false,
        unversioned: false,
        entry: None,
    });
    state
}

#[test]
fn a_failure_is_recorded_on_an_esp_that_has_become_full() {
    let (_dir, esp) = esp();
    Store::open(&esp).save(&esp, &State::default()).unwrap();
    Store::open(&esp).save(&esp, &failed("1.0")).unwrap();
    esp.falls_ill(io::ErrorKind::StorageFull);
    let mut store = Store::open(&esp);
    store.save(&esp, &failed("2.0")).unwrap();
    store.save(&esp, &failed("3.0")).unwrap();
    assert_eq!(Store::open(&esp).state(), failed("3.0"));
}

#[test]
fn an_esp_that_was_always_full_is_an_error_that_says_so() {
    let (_dir, esp) = esp();
    esp.falls_ill(io::ErrorKind::StorageFull);
    let error = Store::open(&esp).save(&esp, &failed("2.0")).unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert_eq!(Store::open(&esp).state(), State::default());
}

#[test]
fn a_read_only_esp_keeps_what_was_saved_before() {
    let (_dir, esp) = esp();
    let mut store = Store::open(&esp);
    store.save(&esp, &failed("1.0")).unwrap();
    esp.falls_ill(io::ErrorKind::ReadOnlyFilesystem);
    let error = store.save(&esp, &failed("2.0")).unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert_eq!(store.state(), failed("1.0"));
    assert_eq!(Store::open(&esp).state(), failed("1.0"));
}

#[test]
fn an_esp_that_has_vanished_means_that_nothing_is_remembered() {
    let (dir, esp) = esp();
    Store::open(&esp).save(&esp, &failed("1.0")).unwrap();
    drop(dir);
    let mut store = Store::open(&esp);
    assert_eq!(store.state(), State::default());
    esp.falls_ill(io::ErrorKind::NotFound);
    assert_eq!(store.save(&esp, &failed("2.0")).unwrap_err().exit_code(), 4);
}

#[test]
fn the_newest_generation_is_kept_until_another_one_is_durable() {
    let (dir, esp) = esp();
    Store::open(&esp).save(&esp, &failed("1.0")).unwrap();
    let newest = dir.path().join("EFI/abide/state.0");
    let whole = fs::read(&newest).unwrap();
    fs::write(&newest, &whole[..4096]).unwrap();
    Store::open(&esp).save(&esp, &failed("2.0")).unwrap();
    assert_eq!(fs::read(&newest).unwrap(), whole[..4096]);
    let mut store = Store::open(&esp);
    assert_eq!(store.state(), failed("2.0"));
    store.save(&esp, &failed("3.0")).unwrap();
    assert_eq!(fs::read(&newest).unwrap().len(), whole.len());
    assert_eq!(Store::open(&esp).state(), failed("3.0"));
}

#[test]
fn a_reader_that_came_in_the_middle_of_a_save_reads_again() {
    let (_dir, esp) = esp();
    Store::open(&esp).save(&esp, &failed("1.0")).unwrap();
    for times in [1, 2] {
        esp.torn.set(times);
        assert_eq!(Store::open(&esp).state(), failed("1.0"), "torn {times} times");
    }
    // If it stays damaged, reading does not wait.
    esp.torn.set(u32::MAX);
    assert_eq!(Store::open(&esp).state(), State::default());
}
