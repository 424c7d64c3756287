//! The state on the ESP when the ESP is not what it should be.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::cell::Cell;
use std::fs;
use std::io::{self, Read};
use std::rc::Rc;

use abide::boot::volume::{Item, ReadSeek};
use abide::boot::{Folder, Volume};
use abide::state::{Failure, Phase, State, Store};
use sha2::{Digest, Sha256};

/// An ESP that stops taking what is written.
#[derive(Debug, Clone)]
struct Sick {
    esp: Rc<Folder>,
    /// What every change answers from now on.
    answer: Rc<Cell<Option<io::ErrorKind>>>,
}

impl Sick {
    fn new(esp: Folder) -> Self {
        Self { esp: Rc::new(esp), answer: Rc::default() }
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
        self.esp.open(path)
    }
    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.ask().and_then(|()| self.esp.create_dir(dir))
    }
    fn write(&self, path: &str, data: &mut dyn Read) -> io::Result<u64> {
        self.ask().and_then(|()| self.esp.write(path, data))
    }
    fn overwrite(&self, path: &str, offset: u64, data: &[u8]) -> io::Result<()> {
        // A full file system still takes what is overwritten in place.
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
}

fn esp() -> (tempfile::TempDir, Sick) {
    let dir = tempfile::tempdir().unwrap();
    let esp = Sick::new(Folder::new(dir.path()));
    (dir, esp)
}

/// A state that remembers the failure of this version.
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
    });
    state
}

fn generation(format: u32, sequence: u64, body: &str) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(sequence.to_le_bytes());
    hash.update(body);
    let sum = abide::hex::encode(&hash.finalize());
    let mut bytes =
        format!("abide-state {format} {sequence:020} {:05} {sum}\n{body}", body.len()).into_bytes();
    bytes.resize(16 * 1024, b'\n');
    bytes
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
fn a_state_of_an_abide_that_knew_less_or_more_is_understood() {
    let (dir, esp) = esp();
    fs::create_dir_all(dir.path().join("EFI/abide")).unwrap();
    let body = r#"{"failures":[{"version":"1.0","attempts":3,"phase":"loader","reason":"it never came up",
        "time":"2026-01-02T03:04:05Z","colour":"red"}],"weather":"fine"}"#;
    fs::write(dir.path().join("EFI/abide/state.0"), generation(1, 7, body)).unwrap();
    let mut store = Store::open(&esp);
    assert_eq!(store.state(), failed("1.0"));
    store.save(&esp, &failed("2.0")).unwrap();
    assert_eq!(Store::open(&esp).state(), failed("2.0"));
}

#[test]
fn a_generation_in_a_format_of_the_future_leaves_the_other() {
    let (dir, esp) = esp();
    Store::open(&esp).save(&esp, &failed("1.0")).unwrap();
    fs::write(dir.path().join("EFI/abide/state.1"), generation(2, 99, "{}")).unwrap();
    assert_eq!(Store::open(&esp).state(), failed("1.0"));
}

#[test]
fn the_newest_generation_is_kept_until_another_is_durable_even_if_its_size_is_odd() {
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
