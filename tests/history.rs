//! What happened on the machine, as it is remembered on the ESP.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::io::{self, Read};

use abide_core::boot::esp::volume::{Item, ReadSeek};
use abide_core::boot::{BootDirs, DirVolume, EfiVars, LoaderVars, Volume};
use abide_core::state::history::{EVENTS, Event, FILES, Happened, History};
use abide_core::update::step::{Effects, Step};
use abide_core::update::{Machine, Sources};
use abide_testing::tree::{Tree, digest};

/// The events of a tree, each as its word and, for a boot, the number of the try.
fn told(tree: &Tree) -> Vec<String> {
    let events = tree.abide(&["history", "--json"]).ok().json()["events"].take();
    let word = |event: &serde_json::Value| {
        let attempt = event["attempt"].as_u64().map(|n| format!(" {n}")).unwrap_or_default();
        format!("{} {}{attempt}", event["version"].as_str().unwrap(), event["event"].as_str().unwrap())
    };
    events.as_array().unwrap().iter().map(word).collect()
}

/// 2.0 is committed; the kernel of 3.0 never reports, and 2.0 runs again.
fn two_stories() -> Tree {
    let mut tree = Tree::running("1.0");
    tree.update("2.0", "b");
    tree.stage("3.0", "a");
    tree.abide(&["apply"]).ok();
    for _ in 0..3 {
        tree.boot();
    }
    tree.boot_with_initrd("2.0");
    tree
}

#[test]
fn both_stories_are_told_and_fit_on_one_screen() {
    let tree = two_stories();
    let text = tree.abide(&["history"]).ok().stdout;
    let lines: Vec<&str> = text.lines().collect();
    let rows: usize = lines.iter().map(|line| line.chars().count().max(1).div_ceil(80)).sum();
    assert!(rows <= 24, "{rows} rows:\n{text}");
    let of_2 = digest(b"2.0");
    assert!(text.starts_with(&format!("2.0 ({}): committed\n", of_2.get(..12).unwrap())), "{text}");
    // `stage` of the tests saves the state without the command that tells of it.
    let words: Vec<&str> = lines.iter().map(|line| line.get(20..).unwrap_or_default()).collect();
    assert_eq!(words[1..4], ["applied: boots next, on trial", "try 1: its root was mounted", "committed"]);
    assert_eq!(words[4], "");
    assert!(lines[5].starts_with("3.0 (") && lines[5].ends_with("): rolled back"), "{text}");
    assert_eq!(words[7], "try 1: no report from its initramfs");
    assert_eq!(words[9], "try 3: no report from its initramfs");
    assert!(words[10].starts_with("rolled back: 3 tries used up: "), "{text}");
}

#[test]
fn the_history_survives_a_rollback_and_forget() {
    let tree = two_stories();
    tree.abide(&["forget", "--all"]).ok();
    let events = told(&tree);
    assert_eq!(events[..3], ["2.0 applied", "2.0 boot 1", "2.0 committed"]);
    assert_eq!(events[7..], ["3.0 rolled-back", "3.0 forgotten"]);
    let mut tree = Tree::running("1.0");
    tree.update("2.0", "b");
    tree.abide(&["rollback"]).ok();
    tree.boot_with_initrd("1.0");
    assert_eq!(told(&tree)[3..], ["1.0 applied", "1.0 boot 1"]);
}

#[test]
fn what_is_taken_back_before_its_first_boot_is_told() {
    let tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    tree.abide(&["cancel"]).ok();
    assert_eq!(told(&tree), ["2.0 applied", "2.0 cancelled"]);
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    assert_eq!(told(&tree), ["2.0 applied", "2.0 cancelled", "2.0 applied"]);
}

#[test]
fn a_refusal_is_told_once_however_often_it_is_repeated() {
    let tree = Tree::running("1.0");
    let image = tree.path("image.raw");
    fs::write(&image, "no image").unwrap();
    let mut state = tree.state();
    let failed =
        r#"{"version":"2.0","digest":"HEX","attempts":3,"phase":"checks","reason":"sick","time":""}"#;
    let sum = digest(b"no image");
    state.remember(serde_json::from_str(&failed.replace("HEX", &sum)).unwrap());
    tree.save(&state);
    for _ in 0..3 {
        tree.abide(&["write", image.to_str().unwrap(), "--sha256", &sum]).fails(6);
    }
    let events = tree.abide(&["history", "--json"]).ok().json()["events"].take();
    assert_eq!(events.as_array().unwrap().len(), 1);
    assert_eq!(events[0]["event"], "refused");
    assert!(events[0]["reason"].as_str().unwrap().contains("sick"), "{events}");
}

#[test]
fn a_machine_without_a_history_says_so() {
    let said = Tree::running("1.0").abide(&["history"]).ok().stdout;
    assert_eq!(said, "no update was recorded on this machine\n");
}

fn event(version: &str) -> Event {
    Event::new(Happened::Staged, version, None, "2026-01-02T03:04:05Z")
}

fn versions(esp: &DirVolume) -> Vec<String> {
    History::read(esp).events.into_iter().map(|(_, event)| event.version).collect()
}

#[test]
fn the_last_64_events_are_kept_in_a_file_that_never_grows() {
    let dir = tempfile::tempdir().unwrap();
    let esp = DirVolume::new(dir.path());
    for n in 0..200 {
        History::read(&esp).add(&esp, event(&n.to_string())).unwrap();
        assert_eq!(fs::metadata(dir.path().join(FILES[0])).unwrap().len(), 32 * 1024);
    }
    let kept: Vec<String> = (200 - EVENTS..200).map(|n| n.to_string()).collect();
    assert_eq!(versions(&esp), kept);
}

#[test]
fn a_torn_record_costs_that_event_alone() {
    let dir = tempfile::tempdir().unwrap();
    let esp = DirVolume::new(dir.path());
    for version in ["1", "2", "3"] {
        History::read(&esp).add(&esp, event(version)).unwrap();
    }
    let path = dir.path().join(FILES[0]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[512 + 70] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(versions(&esp), ["1", "3"]);
    History::read(&esp).add(&esp, event("4")).unwrap();
    assert_eq!(versions(&esp), ["1", "3", "4"]);
}

#[test]
fn an_event_is_one_line_whatever_its_reason_holds() {
    let dir = tempfile::tempdir().unwrap();
    let esp = DirVolume::new(dir.path());
    let reason = "sick\n3.0: committed\u{1b}[2J".to_owned();
    History::read(&esp).add(&esp, Event { reason, ..event("2.0") }).unwrap();
    let kept = History::read(&esp);
    assert_eq!(kept.events[0].1.reason, "sick 3.0: committed");
}

#[test]
fn what_is_no_record_is_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let esp = DirVolume::new(dir.path());
    History::read(&esp).add(&esp, event("1")).unwrap();
    // The file system has given its clusters to a boot entry.
    let path = dir.path().join(FILES[0]);
    let foreign = vec![0x4d; 32 * 1024];
    fs::write(&path, &foreign).unwrap();
    History::read(&esp).add(&esp, event("2")).unwrap();
    assert_eq!((versions(&esp), fs::read(&path).unwrap()), (vec!["2".to_owned()], foreign));
    // One whose creation was cut off is left as it is.
    fs::remove_file(dir.path().join(FILES[1])).unwrap();
    fs::write(&path, "").unwrap();
    History::read(&esp).add(&esp, event("3")).unwrap();
    assert_eq!((versions(&esp), fs::read(&path).unwrap().len()), (vec!["3".to_owned()], 0));
}

#[test]
fn a_damaged_place_moves_the_history_on_and_loses_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let esp = DirVolume::new(dir.path());
    for version in ["1", "2"] {
        History::read(&esp).add(&esp, event(version)).unwrap();
    }
    let path = dir.path().join(FILES[0]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[2 * 512..3 * 512].fill(0);
    fs::write(&path, &bytes).unwrap();
    for version in ["3", "4"] {
        History::read(&esp).add(&esp, event(version)).unwrap();
    }
    assert_eq!(versions(&esp), ["1", "2", "3", "4"]);
}

#[test]
fn an_event_of_any_length_fits_into_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let esp = DirVolume::new(dir.path());
    for text in ["x", "é", "\\", "\""] {
        let long = text.repeat(100_000);
        let event = Event {
            reason: long.clone(),
            attempt: Some(u32::MAX),
            ..Event::new(Happened::RolledBack, &long, Some(&long), &long)
        };
        History::read(&esp).add(&esp, event).unwrap();
    }
    assert_eq!(versions(&esp).len(), 4);
    assert!(History::read(&esp).events.iter().all(|(_, event)| event.reason.ends_with('…')));
}

/// Bytes of a cluster on [`Small`]; an ESP may have such large ones.
const CLUSTER: u64 = 32 * 1024;

/// An ESP that has room for so many bytes more.
#[derive(Debug)]
struct Small(DirVolume, std::cell::Cell<u64>);

impl Volume for Small {
    fn list(&self, dir: &str) -> io::Result<Vec<Item>> {
        self.0.list(dir)
    }
    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        self.0.open(path)
    }
    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.0.create_dir(dir)
    }
    fn write(&self, path: &str, data: &mut dyn Read) -> io::Result<u64> {
        let mut bytes = vec![];
        let len = data.read_to_end(&mut bytes)? as u64;
        let taken = len.next_multiple_of(CLUSTER);
        let left = self.1.get().checked_sub(taken).ok_or(io::ErrorKind::StorageFull)?;
        self.1.set(left);
        self.0.write(path, &mut bytes.as_slice())
    }
    fn overwrite(&self, path: &str, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.overwrite(path, offset, data)
    }
    fn sync_file(&self, path: &str) -> io::Result<()> {
        self.0.sync_file(path)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.0.remove(path)
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.1.get())
    }
}

#[test]
fn the_history_takes_no_room_that_the_state_needs() {
    let tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    let state = tree.state();
    fs::remove_dir_all(tree.path("efi/EFI/abide")).unwrap();
    fs::create_dir(tree.path("efi/EFI/abide")).unwrap();
    let vars = LoaderVars::read(&EfiVars::new(&tree.root()));
    let esp = Small(DirVolume::new(tree.path("efi")), (2 * CLUSTER).into());
    let sources = Sources {
        dirs: BootDirs { esp: Box::new(esp), xbootldr: None },
        vars,
        cmdline: String::new(),
        boot_id: "boot".into(),
        note: None,
        slots: None,
        mounted: None,
        kexec: None,
        version: None,
        now: String::new(),
    };
    let mut machine = Machine::read_sources(&tree.root(), sources).unwrap();
    machine.perform(&Step::Save(Box::new(state.clone()))).unwrap();
    assert_eq!(tree.state(), state);
}

#[test]
fn an_event_of_an_earlier_version_is_one_printable_line() {
    let json = r#"{"time":"t","event":"refused","version":"2\u001b[2J.0","reason":"a\u202e\r\nb\u0007"}"#;
    let event: Event = serde_json::from_str(json).unwrap();
    assert_eq!((event.version.as_str(), event.reason.as_str()), ("2.0", "a b"));
}
