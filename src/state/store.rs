//! The state file: two generations on the ESP, overwritten in place in turn.
//!
//! FAT has no journal, so a file is never replaced by rename here: both files
//! are allocated once, and a save overwrites the older one and flushes. Cut off
//! in the middle, the newer one is still whole; its checksum says so.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use log::{debug, warn};
use sha2::{Digest, Sha256};

use super::model::State;
use crate::error::{Error, OrError, Result};

/// Size of a generation in bytes; allocated once, so that a full ESP cannot
/// keep a failure from being recorded.
pub const GENERATION_SIZE: usize = 16 * 1024;

const NAMES: [&str; 2] = ["state.0", "state.1"];
const MAGIC: &str = "abide-state";
const FORMAT: u32 = 1;

/// The two generations in one folder.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    newest: Option<Generation>,
}

#[derive(Debug, Clone)]
struct Generation {
    slot: usize,
    sequence: u64,
    state: State,
}

impl Store {
    /// Reads what is remembered in `dir` (`EFI/abide` on the ESP). Nothing readable
    /// there means that nothing is remembered; that is never an error.
    #[must_use]
    pub fn open(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        let newest = NAMES
            .iter()
            .enumerate()
            .filter_map(|(slot, name)| read_generation(&dir.join(name), slot))
            .max_by_key(|g| g.sequence);
        Self { dir, newest }
    }

    /// The newest valid generation, or an empty state.
    #[must_use]
    pub fn state(&self) -> State {
        self.newest.as_ref().map(|g| g.state.clone()).unwrap_or_default()
    }

    /// Makes `state` the newest generation; durable when this returns.
    /// Writes nothing if it is that already.
    ///
    /// # Errors
    /// [`Error::Boot`] if the ESP cannot be written; the older generation then still counts.
    pub fn save(&mut self, state: &State) -> Result<()> {
        if self.newest.as_ref().is_some_and(|g| g.state == *state) {
            return Ok(());
        }
        let (slot, sequence) = self.newest.as_ref().map_or((0, 1), |g| (1 - g.slot.min(1), g.sequence + 1));
        let bytes = encode(state, sequence)?;
        self.allocate()?;
        let path = self.dir.join(NAMES.get(slot).copied().unwrap_or("state.0"));
        overwrite(&path, &bytes).or_boot(|| format!("{}: cannot save the state", path.display()))?;
        debug!("state {sequence} saved in {}", path.display());
        self.newest = Some(Generation { slot, sequence, state: state.clone() });
        Ok(())
    }

    /// Creates whichever generation is missing or has the wrong size. The newest valid one is left alone.
    fn allocate(&self) -> Result<()> {
        let mut created = false;
        if !self.dir.is_dir() {
            fs::create_dir_all(&self.dir).or_boot(|| format!("{}: cannot create", self.dir.display()))?;
            if let Some(parent) = self.dir.parent() {
                sync_dir(parent)?;
            }
        }
        for name in NAMES {
            let path = self.dir.join(name);
            let whole = fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() == GENERATION_SIZE as u64);
            if !whole {
                overwrite(&path, &vec![b'\n'; GENERATION_SIZE]).or_boot(|| {
                    format!("{}: cannot make room for the state (is the ESP full?)", path.display())
                })?;
                created = true;
            }
        }
        if created {
            sync_dir(&self.dir)?;
        }
        Ok(())
    }
}

fn overwrite(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)?;
    file.sync_all()
}

fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).or_boot(|| format!("{}: cannot flush", dir.display()))
}

/// `abide-state FORMAT SEQUENCE LENGTH SHA256\n`, the state as JSON, padding.
fn encode(state: &State, sequence: u64) -> Result<Vec<u8>> {
    let mut state = state.clone();
    loop {
        let body = serde_json::to_vec(&state).or_failed(|| "cannot encode the state")?;
        let mut bytes =
            format!("{MAGIC} {FORMAT} {sequence:020} {:05} {}\n", body.len(), checksum(sequence, &body))
                .into_bytes();
        bytes.extend_from_slice(&body);
        if bytes.len() <= GENERATION_SIZE {
            bytes.resize(GENERATION_SIZE, b'\n');
            return Ok(bytes);
        }
        if state.failures.is_empty() {
            return Err(Error::Boot(format!("the state takes more than {GENERATION_SIZE} bytes")));
        }
        warn!("the state is full; the oldest failure record is dropped");
        state.failures.remove(0);
    }
}

fn checksum(sequence: u64, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(sequence.to_le_bytes());
    hash.update(body);
    crate::hex::encode(&hash.finalize())
}

fn read_generation(path: &Path, slot: usize) -> Option<Generation> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    if let Err(e) = file.take(GENERATION_SIZE as u64).read_to_end(&mut bytes) {
        warn!("{}: cannot read: {e}", path.display());
        return None;
    }
    match decode(&bytes) {
        Ok(Some((sequence, state))) => Some(Generation { slot, sequence, state }),
        Ok(None) => None,
        Err(why) => {
            warn!("{}: {why}; the other generation counts", path.display());
            None
        }
    }
}

/// `None` for a generation that was allocated and never written.
fn decode(bytes: &[u8]) -> std::result::Result<Option<(u64, State)>, String> {
    if bytes.iter().all(|b| matches!(b, b'\n' | 0)) {
        return Ok(None);
    }
    let end = bytes.iter().position(|b| *b == b'\n').ok_or("not a state file")?;
    let (head, rest) = bytes.split_at(end);
    let head = std::str::from_utf8(head).map_err(|_| "not a state file")?;
    let mut words = head.split(' ');
    if words.next() != Some(MAGIC) {
        return Err("not a state file".into());
    }
    let format: u32 = words.next().and_then(|w| w.parse().ok()).ok_or("damaged header")?;
    if format > FORMAT {
        return Err(format!("written by a newer Abide (format {format})"));
    }
    let sequence: u64 = words.next().and_then(|w| w.parse().ok()).ok_or("damaged header")?;
    let length: usize = words.next().and_then(|w| w.parse().ok()).ok_or("damaged header")?;
    let sum = words.next().ok_or("damaged header")?;
    let body = rest.get(1..).and_then(|b| b.get(..length)).ok_or("cut off")?;
    if checksum(sequence, body) != sum {
        return Err("checksum does not match".into());
    }
    let state = serde_json::from_slice(body).map_err(|e| format!("not understood: {e}"))?;
    Ok(Some((sequence, state)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::state::model::Baseline;

    fn state(name: &str) -> State {
        State {
            baseline: Baseline { passed_checks: vec![name.into()], ..Baseline::default() },
            ..State::default()
        }
    }

    #[test]
    fn what_was_saved_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path().join("EFI/abide"));
        for name in ["one", "two", "three"] {
            store.save(&state(name)).unwrap();
            assert_eq!(Store::open(dir.path().join("EFI/abide")).state(), state(name));
        }
    }

    #[test]
    fn a_damaged_generation_leaves_the_one_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path());
        store.save(&state("one")).unwrap();
        store.save(&state("two")).unwrap();
        for cut in [0, 1, 50, 100, 130] {
            let mut bytes = fs::read(dir.path().join("state.1")).unwrap();
            bytes[cut] ^= 0x10;
            let copy = tempfile::tempdir().unwrap();
            fs::copy(dir.path().join("state.0"), copy.path().join("state.0")).unwrap();
            fs::write(copy.path().join("state.1"), bytes).unwrap();
            assert_eq!(Store::open(copy.path()).state(), state("one"), "byte {cut}");
        }
    }

    #[test]
    fn two_damaged_generations_mean_that_nothing_is_in_flight() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("state.0"), "rubbish").unwrap();
        fs::write(dir.path().join("state.1"), vec![0xff; GENERATION_SIZE]).unwrap();
        assert_eq!(Store::open(dir.path()).state(), State::default());
        Store::open(dir.path()).save(&state("new")).unwrap();
        assert_eq!(Store::open(dir.path()).state(), state("new"));
    }

    #[test]
    fn saving_overwrites_in_place_and_never_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path());
        store.save(&state("one")).unwrap();
        let before = fs::read(dir.path().join("state.0")).unwrap();
        store.save(&state("two")).unwrap();
        assert_eq!(fs::read(dir.path().join("state.0")).unwrap(), before);
        for name in NAMES {
            assert_eq!(fs::metadata(dir.path().join(name)).unwrap().len(), GENERATION_SIZE as u64);
        }
    }

    #[test]
    fn saving_the_same_state_again_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path());
        store.save(&state("one")).unwrap();
        let before = fs::read(dir.path().join("state.1")).unwrap();
        store.save(&state("one")).unwrap();
        assert_eq!(fs::read(dir.path().join("state.1")).unwrap(), before);
    }
}
