//! The state file: two generations on the ESP, overwritten in place in turn. Each is a header with format, sequence
//! number, length and checksum, and the fields of [`super::saved_state`] as JSON.
//!
//! FAT has no journal, so a file is never replaced by rename here: both files are allocated once, and a
//! save overwrites the older one and flushes. If a save is interrupted, the newer one is still complete,
//! as its checksum shows.

use std::io::Read;
use std::thread;
use std::time::Duration;

use log::{debug, warn};
use sha2::{Digest, Sha256};

use serde::Deserialize;
use serde_json::Value;

use crate::boot::Volume;
use crate::error::{Error, OrError, Result};
use crate::state::carry;
use crate::state::fit::{cut_state, drop_record, shed};
use crate::state::saved_state::State;

/// Size of a generation in bytes; allocated once, so that a full ESP cannot
/// keep a failure from being recorded.
pub const GENERATION_SIZE: usize = 16 * 1024;

/// Abide's folder on the ESP.
pub const STATE_DIR: &str = "EFI/abide";

const FILES: [&str; 2] = ["EFI/abide/state.0", "EFI/abide/state.1"];
const MAGIC: &str = "abide-state";
const FORMAT: u32 = 1;

/// The pauses before each reading of a generation. A save takes far less than these together: it is
/// 16 KiB into the page cache.
const AGAIN: [Duration; 3] = [Duration::ZERO, Duration::from_millis(5), Duration::from_millis(20)];

/// The newest generation that could be read, and where the next one goes.
#[derive(Debug, Clone, Default)]
pub struct Store {
    newest: Option<Generation>,
    /// Why the newest whole generation was not understood.
    foreign: Option<String>,
    /// What counts where there is none.
    nothing: State,
}

#[derive(Debug, Clone)]
struct Generation {
    file: usize,
    sequence: u64,
    contents: Contents,
}

/// What a generation holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// What was understood of it.
    pub state: State,
    /// All of it, as JSON.
    json: Value,
}

/// What the bytes of a generation turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// Allocated, and never written.
    Empty,
    /// Whole, with its sequence number.
    State(u64, Box<Contents>),
    /// Whole, with its sequence number, and not understood: why. It is no reason to take the one before it.
    Foreign(u64, String),
    /// Damaged, or no state at all: why.
    Damaged(String),
}

impl Store {
    /// Reads the state on the ESP. If no generation is whole, the state is empty; that is never an error.
    #[must_use]
    pub fn open(esp: &dyn Volume) -> Self {
        let mut store = Self::default();
        let mut newest = 0;
        for (file, path) in FILES.iter().enumerate() {
            match read_generation(esp, path) {
                Decoded::State(sequence, contents) if sequence >= newest => {
                    newest = sequence;
                    store.newest = Some(Generation { file, sequence, contents: *contents });
                    store.foreign = None;
                }
                Decoded::Foreign(sequence, why) if sequence >= newest => {
                    newest = sequence;
                    store.newest = None;
                    store.foreign = Some(format!("{path}: {why}"));
                }
                Decoded::Damaged(why) => warn!("{path}: {why}; using the other copy"),
                Decoded::State(..) | Decoded::Foreign(..) | Decoded::Empty => {}
            }
        }
        store
    }

    /// Why the state cannot be understood, where it is whole and that of a newer Abide. It must not be written over,
    /// and what is in flight is not known; [`Store::state`] is empty then.
    #[must_use]
    pub fn foreign(&self) -> Option<&str> {
        self.foreign.as_deref()
    }

    /// The newest valid generation, or an empty state.
    #[must_use]
    pub fn state(&self) -> State {
        self.current().clone()
    }

    /// As [`Store::state`], to look at.
    #[must_use]
    pub fn current(&self) -> &State {
        self.newest.as_ref().map_or(&self.nothing, |newest| &newest.contents.state)
    }

    /// Allocates the files, if they are not there: what else is kept on the ESP must not take their room.
    ///
    /// # Errors
    /// [`Error::Boot`] if the ESP cannot be written.
    pub fn make_room(&self, esp: &dyn Volume) -> Result<()> {
        allocate(esp, self.newest.as_ref().map(|g| g.file))
    }

    /// Makes `state` the newest generation; durable when this returns. Its fields are cut to their bounds, and
    /// details are dropped where it does not fit: that is no error. Writes nothing if it is the newest already.
    ///
    /// # Errors
    /// [`Error::Boot`] if the ESP cannot be written; the older generation then still counts.
    /// [`Error::Refused`] if the newest generation is not understood.
    pub fn save(&mut self, esp: &dyn Volume, state: &State) -> Result<()> {
        if let Some(why) = &self.foreign {
            return Err(Error::Refused(why.clone()));
        }
        if self.newest.as_ref().is_some_and(|g| g.contents.state == *state) {
            return Ok(());
        }
        let (file, sequence) = self.newest.as_ref().map_or((0, 1), |g| (1 - g.file.min(1), g.sequence + 1));
        let (bytes, contents) = encode(state, sequence, self.newest.as_ref().map(|g| &g.contents))?;
        if self.newest.as_ref().is_some_and(|g| g.contents == contents) {
            return Ok(());
        }
        allocate(esp, self.newest.as_ref().map(|g| g.file))?;
        let path = FILES.get(file).copied().unwrap_or(FILES[0]);
        esp.overwrite(path, 0, &bytes)
            .and_then(|()| esp.sync_file(path))
            .or_boot(|| format!("{path}: cannot save the state"))?;
        debug!("state {sequence} saved in {path}");
        self.newest = Some(Generation { file, sequence, contents });
        Ok(())
    }
}

/// Creates whichever generation is missing or has the wrong size. The newest is left alone,
/// whatever its size: until another is durable, it is all there is.
fn allocate(esp: &dyn Volume, newest: Option<usize>) -> Result<()> {
    let there = esp.list(STATE_DIR).or_boot(|| format!("{STATE_DIR}: cannot read"))?;
    let whole = |path: &str| {
        there.iter().any(|i| path.ends_with(&format!("/{}", i.name)) && i.len == GENERATION_SIZE as u64)
    };
    let is_newest = |path: &str| newest.and_then(|n| FILES.get(n).copied()) == Some(path);
    let missing: Vec<&str> = FILES.into_iter().filter(|path| !whole(path) && !is_newest(path)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    esp.create_dir(STATE_DIR).or_boot(|| format!("{STATE_DIR}: cannot create"))?;
    for path in missing {
        esp.write(path, &mut vec![b'\n'; GENERATION_SIZE].as_slice())
            .and_then(|_| esp.sync_file(path))
            .or_boot(|| format!("{path}: cannot make room for the state (is the ESP full?)"))?;
    }
    esp.sync_dir(STATE_DIR)
        .and_then(|()| esp.sync_dir("EFI"))
        .or_boot(|| format!("{STATE_DIR}: cannot flush"))
}

/// `abide-state FORMAT SEQUENCE LENGTH SHA256\n`, the state as JSON, padding; and what it will be read as. `before` is
/// the generation before it, of which it keeps what was not understood.
fn encode(state: &State, sequence: u64, before: Option<&Contents>) -> Result<(Vec<u8>, Contents)> {
    let mut state = state.clone();
    cut_state(&mut state);
    let before = before.and_then(|before| {
        let mut known = serde_json::to_value(&before.state).ok()?;
        let updates = before.state.update.as_ref().zip(state.update.as_ref());
        if updates.is_some_and(|(old, new)| new.stage < old.stage) {
            // The same image again is another update.
            known.as_object_mut()?.remove("update");
        }
        Some((known, &before.json))
    });
    // What is not understood is dropped after all details, and before the first record.
    let mut carries = before.is_some();
    loop {
        let json = serde_json::to_value(&state).or_failed(|| "cannot encode the state")?;
        let json = match &before {
            Some((known, read)) if carries => carry::with_unknown(json, known, read),
            _ => json,
        };
        let body = serde_json::to_vec(&json).or_failed(|| "cannot encode the state")?;
        let mut bytes =
            format!("{MAGIC} {FORMAT} {sequence:020} {:05} {}\n", body.len(), checksum(sequence, &body))
                .into_bytes();
        bytes.extend_from_slice(&body);
        if bytes.len() <= GENERATION_SIZE {
            bytes.resize(GENERATION_SIZE, b'\n');
            return Ok((bytes, Contents { state, json }));
        }
        if shed(&mut state) {
            continue;
        }
        if carries {
            warn!("the state is full; what a newer Abide has added to it is dropped");
            carries = false;
        } else if !drop_record(&mut state) {
            return Err(Error::Boot(format!("the state takes more than {GENERATION_SIZE} bytes")));
        }
    }
}

fn checksum(sequence: u64, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(sequence.to_le_bytes());
    hash.update(body);
    crate::hex::encode(&hash.finalize())
}

/// A generation. A damaged one is read again first: readers take no lock, and may have read in the middle of a save.
fn read_generation(esp: &dyn Volume, path: &str) -> Decoded {
    let mut found = Decoded::Empty;
    let times = if esp.is_shared() { AGAIN.len() } else { 1 };
    for pause in AGAIN.into_iter().take(times) {
        thread::sleep(pause);
        let Ok(reader) = esp.open(path) else { return Decoded::Empty };
        let mut bytes = Vec::new();
        found = match reader.take(GENERATION_SIZE as u64).read_to_end(&mut bytes) {
            Ok(_) => decode(&bytes),
            Err(e) => return Decoded::Damaged(format!("cannot read: {e}")),
        };
        if !matches!(found, Decoded::Damaged(_)) {
            break;
        }
    }
    found
}

/// What the bytes of a generation are.
#[must_use]
pub fn decode(bytes: &[u8]) -> Decoded {
    if bytes.iter().all(|b| matches!(b, b'\n' | 0)) {
        return Decoded::Empty;
    }
    match whole(bytes) {
        Ok((format, sequence, _)) if format > FORMAT => {
            Decoded::Foreign(sequence, format!("a newer Abide has written it (format {format})"))
        }
        Ok((_, sequence, body)) => match understand(body) {
            Ok(contents) => Decoded::State(sequence, Box::new(contents)),
            Err(e) => Decoded::Foreign(
                sequence,
                format!("a newer Abide has written it, with an unsupported value ({e})"),
            ),
        },
        Err(why) => Decoded::Damaged(why.into()),
    }
}

/// Format, sequence number and body of a generation whose checksum matches. The header is the same in all formats.
fn whole(bytes: &[u8]) -> std::result::Result<(u32, u64, &[u8]), &'static str> {
    let end = bytes.iter().position(|b| *b == b'\n').ok_or("not a state file")?;
    let (head, rest) = bytes.split_at(end);
    let head = std::str::from_utf8(head).map_err(|_| "not a state file")?;
    let mut words = head.split(' ');
    if words.next() != Some(MAGIC) {
        return Err("not a state file");
    }
    let format: u32 = words.next().and_then(|w| w.parse().ok()).ok_or("damaged header")?;
    let sequence: u64 = words.next().and_then(|w| w.parse().ok()).ok_or("damaged header")?;
    let length: usize = words.next().and_then(|w| w.parse().ok()).ok_or("damaged header")?;
    let sum = words.next().ok_or("damaged header")?;
    let body = rest.get(1..).and_then(|b| b.get(..length)).ok_or("cut off")?;
    if checksum(sequence, body) != sum {
        return Err("checksum does not match");
    }
    Ok((format, sequence, body))
}

fn understand(body: &[u8]) -> serde_json::Result<Contents> {
    let json: Value = serde_json::from_slice(body)?;
    let state = State::deserialize(carry::in_known_words(&json))?;
    Ok(Contents { state, json })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::boot::DirVolume;
    use crate::state::saved_state::Baseline;
    use std::fs;

    fn state(name: &str) -> State {
        State {
            baseline: Baseline { passed_checks: vec![name.into()], ..Baseline::default() },
            ..State::default()
        }
    }

    fn esp() -> (tempfile::TempDir, DirVolume) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("EFI/abide")).unwrap();
        let esp = DirVolume::new(dir.path());
        (dir, esp)
    }

    #[test]
    fn what_was_saved_is_read_again() {
        let (_dir, esp) = esp();
        let mut store = Store::open(&esp);
        for name in ["one", "two", "three"] {
            store.save(&esp, &state(name)).unwrap();
            assert_eq!(Store::open(&esp).state(), state(name));
        }
    }

    #[test]
    fn a_damaged_generation_leaves_the_one_before_it() {
        let (dir, esp) = esp();
        let mut store = Store::open(&esp);
        store.save(&esp, &state("one")).unwrap();
        store.save(&esp, &state("two")).unwrap();
        let newest = dir.path().join(FILES[1]);
        let whole = fs::read(&newest).unwrap();
        for cut in [0, 1, 50, 100, 130] {
            let mut bytes = whole.clone();
            bytes[cut] ^= 0x10;
            fs::write(&newest, bytes).unwrap();
            assert_eq!(Store::open(&esp).state(), state("one"), "byte {cut}");
        }
    }

    #[test]
    fn two_damaged_generations_mean_that_nothing_is_in_flight() {
        let (dir, esp) = esp();
        fs::write(dir.path().join(FILES[0]), "rubbish").unwrap();
        fs::write(dir.path().join(FILES[1]), vec![0xff; GENERATION_SIZE]).unwrap();
        assert_eq!(Store::open(&esp).state(), State::default());
        Store::open(&esp).save(&esp, &state("new")).unwrap();
        assert_eq!(Store::open(&esp).state(), state("new"));
    }

    #[test]
    fn saving_overwrites_in_place_and_never_the_newest() {
        let (dir, esp) = esp();
        let mut store = Store::open(&esp);
        store.save(&esp, &state("one")).unwrap();
        let before = fs::read(dir.path().join(FILES[0])).unwrap();
        store.save(&esp, &state("two")).unwrap();
        assert_eq!(fs::read(dir.path().join(FILES[0])).unwrap(), before);
        for path in FILES {
            assert_eq!(fs::metadata(dir.path().join(path)).unwrap().len(), GENERATION_SIZE as u64);
        }
    }

    #[test]
    fn saving_the_same_state_again_writes_nothing() {
        let (dir, esp) = esp();
        let mut store = Store::open(&esp);
        store.save(&esp, &state("one")).unwrap();
        let before = fs::read(dir.path().join(FILES[1])).unwrap();
        store.save(&esp, &state("one")).unwrap();
        assert_eq!(fs::read(dir.path().join(FILES[1])).unwrap(), before);
    }
}
