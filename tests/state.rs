//! The state on an ESP that is damaged, full or read-only.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use abide_testing::entry::is_remembered;
use std::cell::Cell;
use std::fs;
use std::io::{self, Read};
use std::rc::Rc;

use abide_core::boot::esp::volume::{Item, ReadSeek};
use abide_core::boot::{DirVolume, Volume};
use abide_core::disk::SlotName;
use abide_core::state::{BootEnd, Failure, Phase, Stage, State, Store};
use sha2::{Digest, Sha256};

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
    });
    state
}

fn generation(format: u32, sequence: u64, body: &str) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(sequence.to_le_bytes());
    hash.update(body);
    let sum = abide_core::hex::encode(&hash.finalize());
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

/// A state of format 1 as it was written when that format was new: an update that fell back, a downgrade
/// in reserve. It must stay readable as long as there are machines that have it.
const FORMAT_1: &str = r#"{"update":{"image_id":"edge","version":"3.0","digest":"ab","slot":"b","stage":"failed",
    "uki":{"sha256":"cd","size":42},"root":"root=PARTUUID=0b","entry":"edge_3.0.efi","tries":3,
    "previous":{"slot":"a","entry":"edge_2.0.efi","version":"2.0","demoted":true},
    "boots":[{"boot_id":"x","attempt":1,"phase":"switch-root"},
             {"boot_id":"y","attempt":2,"phase":"checks","end":"orderly"}],
    "verdict":{"phase":"checks","reason":"it is sick","checks":[{"name":"app","reason":"dead"}]},
    "ended":"2026-01-02T03:04:05Z"},
    "failures":[{"version":"3.0","digest":"ab","attempts":2,"phase":"checks","reason":"it is sick",
                 "checks":[{"name":"app","reason":"dead"}],"time":"2026-01-02T03:04:05Z"}],
    "a":{"version":"2.0","digest":"ef","entry":"edge_2.0.efi"},
    "baseline":{"passed_checks":["app"],"failed_units":["old.service"]}}"#;

#[test]
fn every_field_of_format_1_is_still_understood() {
    let (dir, esp) = esp();
    fs::create_dir_all(dir.path().join("EFI/abide")).unwrap();
    fs::write(dir.path().join("EFI/abide/state.1"), generation(1, 3, FORMAT_1)).unwrap();
    let state = Store::open(&esp).state();
    let update = state.update.clone().unwrap();
    let previous = update.previous.unwrap();
    assert_eq!((update.stage, update.slot, update.tries), (Stage::Failed, SlotName::B, 3));
    assert_eq!(update.uki.unwrap().size, 42);
    assert_eq!((previous.entry.as_str(), previous.demoted), ("edge_2.0.efi", true));
    assert_eq!(update.boots[0].phase, Phase::SwitchRoot);
    assert_eq!(update.boots[1].end, Some(BootEnd::Orderly));
    assert_eq!(update.verdict.unwrap().checks[0].name, "app");
    assert_eq!(state.failures[0].digest.as_deref(), Some("ab"));
    assert!(is_remembered(&state, "edge_2.0.efi"));
    assert_eq!(state.baseline.failed_units, ["old.service"]);
    // And what is saved next comes after it.
    Store::open(&esp).save(&esp, &failed("4.0")).unwrap();
    assert_eq!(Store::open(&esp).state(), failed("4.0"));
}
