//! States of older and newer Abides.

use std::fs;

use abide_core::boot::DirVolume;
use abide_core::disk::SlotName;
use abide_core::state::{BootEnd, Phase, Stage, Store};
use abide_testing::entry::is_remembered;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{failed, release_1};

fn esp() -> (TempDir, DirVolume) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("EFI/abide")).unwrap();
    let esp = DirVolume::new(dir.path());
    (dir, esp)
}

fn put(dir: &TempDir, file: u8, bytes: &[u8]) {
    fs::write(dir.path().join(format!("EFI/abide/state.{file}")), bytes).unwrap();
}

/// The JSON of a generation.
fn json(dir: &TempDir, file: u8) -> serde_json::Value {
    let text = fs::read_to_string(dir.path().join(format!("EFI/abide/state.{file}"))).unwrap();
    serde_json::from_str(text.split_once('\n').unwrap().1).unwrap()
}

/// A whole generation with this body.
pub fn generation(format: u32, sequence: u64, body: &str) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(sequence.to_le_bytes());
    hash.update(body);
    let sum = abide_core::hex::encode(&hash.finalize());
    let mut bytes =
        format!("abide-state {format} {sequence:020} {:05} {sum}\n{body}", body.len()).into_bytes();
    bytes.resize(16 * 1024, b'\n');
    bytes
}

/// A state of the next Abide: it has fields and words of its own wherever it may have them.
const NEXT: &str = r#"{"update":{"image_id":"edge","version":"2.0","digest":"ab","slot":"b","stage":"testing",
    "root":"root=PARTUUID=0b","entry":"edge_2.0.efi","tries":3,"colour":"red",
    "previous":{"slot":"a","entry":"edge_1.0.efi","demoted":false,"colour":"red"},
    "boots":[{"boot_id":"x","attempt":1,"phase":"attestation","end":{"swallowed":{"by":"whale"}},"colour":"red"}]},
    "failures":[{"version":"0.9","digest":null,"attempts":3,"phase":"attestation","reason":"it never came up",
        "checks":[{"name":"app","reason":"dead","output":"","colour":"red"}],"time":"t","colour":"red"}],
    "a":{"version":"1.0","entry":"edge_1.0.efi","colour":"red"},
    "baseline":{"passed_checks":["app"],"colour":"red"},
    "unhealthy":[{"entry":"edge_1.0.efi","tried":"prayer","reason":"r","time":"t","colour":"red"}],
    "weather":{"today":["fine"]}}"#;

#[test]
fn what_a_newer_abide_has_added_survives_the_saves_of_an_older_one() {
    let (dir, esp) = esp();
    put(&dir, 0, &generation(1, 7, NEXT));
    let mut store = Store::open(&esp);
    let mut state = store.state();
    assert_eq!(store.foreign(), None);
    let update = state.update.as_mut().unwrap();
    update.entry = "edge_2.0.efi".into();
    update.boots[0].attempt = 2;
    update.boots.push(update.boots[0].clone());
    update.boots[1].boot_id = "y".into();
    update.previous.as_mut().unwrap().demoted = true;
    state.remember(failed("3.0").failures.remove(0));
    store.save(&esp, &state).unwrap();
    let mut wanted: serde_json::Value = serde_json::from_str(NEXT).unwrap();
    wanted["update"]["boots"][0]["attempt"] = 2.into();
    let second = serde_json::json!({"boot_id":"y","attempt":2,"phase":"userspace"});
    wanted["update"]["boots"].as_array_mut().unwrap().push(second);
    wanted["update"]["previous"]["demoted"] = true.into();
    let third = serde_json::to_value(&failed("3.0").failures[0]).unwrap();
    wanted["failures"].as_array_mut().unwrap().push(third);
    assert_eq!(json(&dir, 1), wanted);
    // And once more, by a process that has read it from the disk.
    let mut store = Store::open(&esp);
    let mut state = store.state();
    state.failures.remove(1);
    store.save(&esp, &state).unwrap();
    wanted["failures"].as_array_mut().unwrap().remove(1);
    assert_eq!(json(&dir, 0), wanted);
}

#[test]
fn what_was_added_to_one_update_is_not_carried_to_the_next() {
    let (dir, esp) = esp();
    put(&dir, 0, &generation(1, 7, NEXT));
    let mut store = Store::open(&esp);
    let mut state = store.state();
    state.update.as_mut().unwrap().version = "4.0".into();
    store.save(&esp, &state).unwrap();
    let saved = json(&dir, 1);
    assert_eq!((saved["update"].get("colour"), &saved["failures"][0]["colour"]), (None, &"red".into()));
}

#[test]
fn what_was_added_to_a_failed_update_is_not_carried_to_its_next_attempt() {
    let (dir, esp) = esp();
    put(&dir, 0, &generation(1, 7, &NEXT.replace("testing", "failed")));
    let mut store = Store::open(&esp);
    let mut state = store.state();
    let update = state.update.as_mut().unwrap();
    update.stage = Stage::Writing;
    update.boots.clear();
    store.save(&esp, &state).unwrap();
    let saved = json(&dir, 1);
    assert_eq!((saved["update"].get("colour"), &saved["weather"]["today"][0]), (None, &"fine".into()));
}

#[test]
fn a_state_that_is_whole_and_not_understood_is_never_written_over() {
    let unknown_word = NEXT.replace("testing", "hovering");
    let unknown_slot = NEXT.replace(r#""slot":"b""#, r#""slot":"c""#);
    for (format, body) in [(2, "{}"), (2, "not even JSON"), (1, &unknown_word), (1, &unknown_slot)] {
        let (dir, esp) = esp();
        Store::open(&esp).save(&esp, &failed("1.0")).unwrap();
        put(&dir, 1, &generation(format, 99, body));
        let before = fs::read(dir.path().join("EFI/abide/state.1")).unwrap();
        let mut store = Store::open(&esp);
        assert!(store.foreign().unwrap().contains("newer Abide"), "{:?}", store.foreign());
        assert_eq!(store.save(&esp, &failed("2.0")).unwrap_err().exit_code(), 6);
        assert_eq!(fs::read(dir.path().join("EFI/abide/state.1")).unwrap(), before);
        // An older one of them does no harm.
        put(&dir, 1, &generation(format, 0, body));
        assert_eq!(Store::open(&esp).state(), failed("1.0"));
        // And a torn one is none.
        let mut torn = generation(format, 99, body);
        torn[98] ^= 1;
        put(&dir, 1, &torn);
        assert_eq!(Store::open(&esp).state(), failed("1.0"));
    }
}

fn of_release_1() -> release_1::State {
    serde_json::from_str(FORMAT_1).unwrap()
}

#[test]
fn this_abide_understands_what_release_1_has_written() {
    let (dir, esp) = esp();
    put(&dir, 0, &release_1::write(&of_release_1(), 5));
    let state = Store::open(&esp).state();
    assert_eq!(serde_json::to_value(&state).unwrap(), serde_json::to_value(of_release_1()).unwrap());
}

#[test]
fn release_1_understands_what_this_abide_has_written_and_the_reverse() {
    let (dir, esp) = esp();
    put(&dir, 0, &release_1::write(&of_release_1(), 5));
    let mut store = Store::open(&esp);
    let mut state = store.state();
    state.remember(failed("4.0").failures.remove(0));
    store.save(&esp, &state).unwrap();
    let bytes = fs::read(dir.path().join("EFI/abide/state.1")).unwrap();
    let (sequence, old) = release_1::read(&bytes).unwrap();
    assert_eq!((sequence, old.failures.last().unwrap().version.as_str()), (6, "4.0"));
    assert_eq!(old.update, of_release_1().update);
    assert_eq!(serde_json::to_value(&old).unwrap(), serde_json::to_value(&state).unwrap());
    // It writes, and this Abide reads it again.
    let mut next = old.clone();
    next.failures.remove(0);
    put(&dir, 0, &release_1::write(&next, 7));
    assert_eq!(Store::open(&esp).state().failures, failed("4.0").failures);
}

#[test]
fn release_1_reads_what_release_1_has_written() {
    assert_eq!(release_1::read(&release_1::write(&of_release_1(), 5)), Some((5, of_release_1())));
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
    put(&dir, 1, &generation(1, 3, FORMAT_1));
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
