//! The last events of the machine: a ring of records on the ESP that survives rollbacks, `forget` and a volatile
//! journal. It is for people only: no decision depends on it, and an error in it is only logged.
//!
//! One file, allocated once, with a record in each piece of 512 bytes: a sector of most disks, so that a power cut
//! costs at most the record that was being written. Each has a sequence number, which also says where it lies, and a
//! checksum.
//!
//! A file whose creation was interrupted may have clusters that FAT counts as free and gives to another file. It is never
//! written, truncated or removed: the next name is taken. The same is done where a place in it holds no event.

use std::io::{Read, SeekFrom};

use log::warn;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::boot::Volume;
use crate::boot::esp::volume::Item;
use crate::error::{Error, OrError, Result};
use crate::state::bounds::{abridge, cut_to, kept_word};
use crate::state::saved_state::Phase;
use crate::state::state_file::STATE_DIR;
use crate::text;

/// Where it is on the ESP: in the first of these, and where that is damaged, in the next.
pub const FILES: [&str; 3] = ["EFI/abide/history.0", "EFI/abide/history.1", "EFI/abide/history.2"];

/// How many events are kept.
pub const EVENTS: usize = 64;

/// Bytes of a record.
const RECORD: usize = 512;

/// Bytes of the file.
const SIZE: u64 = (EVENTS * RECORD) as u64;

const MAGIC: &str = "abide-event";
const FORMAT: u32 = 1;

/// Bytes of a reason; less where the version is long.
const MAX_REASON: usize = 200;

/// Bytes of a version.
const MAX_VERSION: usize = 96;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Happened {
    /// An image was written and verified.
    Staged,
    /// It boots next, on trial.
    Applied,
    /// A boot of its trial.
    Boot,
    /// It was kept.
    Committed,
    /// It was given up, and the system before it boots again.
    RolledBack,
    /// It was taken back before it was booted.
    Cancelled,
    /// Its failure record was deleted.
    Forgotten,
    /// It was refused.
    Refused,
}

/// How a boot of a trial ended, where it had the time to say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// By a reboot or power-off in good order.
    Orderly,
    /// Its checks failed.
    Failed,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// RFC 3339 UTC by the machine's clock; empty where nothing ran that could have read it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub time: String,
    /// What happened.
    pub event: Happened,
    /// Version of the image.
    #[serde(default, deserialize_with = "text::read_line")]
    pub version: String,
    /// SHA-256 of the published image, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Which try, from 1; of a boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The furthest it got; of a boot, and of what was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// How it ended; of a boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// One sentence for people.
    #[serde(default, deserialize_with = "text::read_line", skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Event {
    /// An event of this image, without more.
    #[must_use]
    pub fn new(event: Happened, version: &str, digest: Option<&str>, time: &str) -> Self {
        Self {
            time: time.to_owned(),
            event,
            version: version.to_owned(),
            digest: digest.map(Into::into),
            attempt: None,
            phase: None,
            ended: None,
            reason: String::new(),
        }
    }

    /// Whether this is the same event, perhaps added again after a power cut, or with more known of it.
    fn is_same(&self, other: &Self) -> bool {
        let key = |e: &Self| (e.event, e.version.clone(), e.digest.clone(), e.attempt);
        let is_told_twice = self.event == Happened::Boot || self.reason == other.reason;
        key(self) == key(other) && is_told_twice
    }

    fn cut(mut self) -> Self {
        self.version = kept_word(&self.version).into_owned();
        abridge(&mut self.version, MAX_VERSION);
        if let Some(digest) = &mut self.digest {
            *digest = kept_word(digest).into_owned();
            abridge(digest, MAX_VERSION);
        }
        cut_to(&mut self.time, 32);
        cut_to(&mut self.reason, MAX_REASON);
        self
    }
}

/// The events that are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Each with its number, the oldest first.
    pub events: Vec<(u64, Event)>,
}

impl History {
    /// Reads the ring. What is missing or damaged is left out.
    #[must_use]
    pub fn read(esp: &dyn Volume) -> Self {
        let mut events: Vec<(u64, Event)> = whole(esp).iter().flat_map(|file| records(esp, file)).collect();
        events.sort_unstable_by_key(|(number, _)| *number);
        let excess = events.len().saturating_sub(EVENTS);
        events.drain(..excess);
        Self { events }
    }

    /// Adds an event; durable when this returns. One that was told before, apart from its time, is not written
    /// again; a boot of which more is known now takes the place of what was known before.
    ///
    /// # Errors
    /// [`crate::error::Error::Boot`] if the ESP cannot be written.
    pub fn add(&mut self, esp: &dyn Volume, event: Event) -> Result<()> {
        let event = event.cut();
        let mut number = self.events.last().map_or(0, |(number, _)| number.saturating_add(1));
        if let Some((told, known)) = self.told(&event) {
            if *known == (Event { time: known.time.clone(), ..event.clone() }) {
                return Ok(());
            }
            number = *told;
        }
        let record = encode(number, &event)?;
        let at = (place_of(number) * RECORD) as u64;
        let file = match whole(esp).into_iter().find(|file| is_own(esp, file, at)) {
            Some(file) => file,
            None => create(esp)?,
        };
        esp.overwrite(file, at, &record)
            .and_then(|()| esp.sync_file(file))
            .or_boot(|| format!("{file}: cannot write"))?;
        self.events.retain(|(known, _)| place_of(*known) != place_of(number));
        self.events.push((number, event));
        self.events.sort_unstable_by_key(|(number, _)| *number);
        Ok(())
    }

    /// The same event, told before a power cut or when less was known: since the last image was staged or applied.
    fn told(&self, event: &Event) -> Option<&(u64, Event)> {
        let begins = |event: &Event| matches!(event.event, Happened::Staged | Happened::Applied);
        // An image may be applied again after it was cancelled.
        let reach = if begins(event) { 1 } else { self.events.len() };
        for told in self.events.iter().rev().take(reach) {
            if told.1.is_same(event) {
                return Some(told);
            }
            if begins(&told.1) {
                break;
            }
        }
        None
    }
}

fn place_of(number: u64) -> usize {
    usize::try_from(number % EVENTS as u64).unwrap_or_default()
}

/// The files that are there and have their full size.
fn whole(esp: &dyn Volume) -> Vec<&'static str> {
    let items = esp.list(STATE_DIR).unwrap_or_default();
    let is_whole = |file: &&str| items.iter().any(|item| is_named(item, file) && item.len == SIZE);
    FILES.into_iter().filter(is_whole).collect()
}

/// The events in a file.
fn records(esp: &dyn Volume, file: &str) -> Vec<(u64, Event)> {
    let mut bytes = vec![];
    if let Err(e) = esp.open(file).and_then(|file| file.take(SIZE).read_to_end(&mut bytes)) {
        warn!("{file}: cannot read: {e}");
    }
    let places = bytes.chunks(RECORD).enumerate();
    places
        .filter_map(|(place, record)| decode(record).filter(|(number, _)| place_of(*number) == place))
        .collect()
}

fn is_named(item: &Item, path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| item.name.eq_ignore_ascii_case(name))
}

/// Makes the file, under the first name that was never used.
fn create(esp: &dyn Volume) -> Result<&'static str> {
    let items = esp.list(STATE_DIR).or_boot(|| format!("{STATE_DIR}: cannot read"))?;
    let is_free = |file: &&str| !items.iter().any(|item| is_named(item, file));
    let file = FILES.into_iter().find(is_free).ok_or_else(|| {
        Error::Boot(format!(
            "{STATE_DIR}: no history is kept: the creation of its file was interrupted {} times",
            FILES.len()
        ))
    })?;
    // A part of it would stay, and its name could not be used again.
    let is_room = esp.free_bytes().is_ok_and(|free| free >= 2 * SIZE);
    if !is_room {
        return Err(Error::Boot(format!("{file}: the ESP has no room for the history")));
    }
    esp.create_dir(STATE_DIR)
        .and_then(|()| esp.write(file, &mut vec![b'\n'; EVENTS * RECORD].as_slice()))
        .and_then(|_| esp.sync_file(file))
        .and_then(|()| esp.sync_dir(STATE_DIR))
        .or_boot(|| format!("{file}: cannot make room for the history (is the ESP full?)"))?;
    Ok(file)
}

/// Whether a place in a file is empty or holds an event. Otherwise its clusters may be those of another file by now, and
/// nothing is written there.
fn is_own(esp: &dyn Volume, file: &str, at: u64) -> bool {
    let mut old = [0; RECORD];
    let read = esp.open(file).and_then(|mut reader| {
        reader.seek(SeekFrom::Start(at))?;
        reader.read_exact(&mut old)
    });
    read.is_ok() && (old.starts_with(MAGIC.as_bytes()) || old.iter().all(|byte| *byte == b'\n'))
}

/// `abide-event FORMAT NUMBER LENGTH SHA256\n`, the event as JSON, padding. The checksum is the first eight bytes of it.
fn encode(number: u64, event: &Event) -> Result<Vec<u8>> {
    let mut event = event.clone();
    loop {
        let body = serde_json::to_vec(&event).or_failed(|| "cannot encode the event")?;
        let mut bytes =
            format!("{MAGIC} {FORMAT} {number} {} {}\n", body.len(), checksum(number, &body)).into_bytes();
        bytes.extend_from_slice(&body);
        if bytes.len() <= RECORD || event.reason.is_empty() {
            bytes.resize(RECORD, b'\n');
            return Ok(bytes);
        }
        let shorter = event.reason.len() / 2;
        cut_to(&mut event.reason, shorter);
    }
}

fn decode(record: &[u8]) -> Option<(u64, Event)> {
    let end = record.iter().position(|b| *b == b'\n')?;
    let (head, rest) = record.split_at(end);
    let mut words = std::str::from_utf8(head).ok()?.split(' ');
    if words.next() != Some(MAGIC) || words.next()?.parse() != Ok(FORMAT) {
        return None;
    }
    let (number, length) = (words.next()?.parse().ok()?, words.next()?.parse::<usize>().ok()?);
    let body = rest.get(1..)?.get(..length)?;
    if words.next()? != checksum(number, body) {
        return None;
    }
    Some((number, serde_json::from_slice(body).ok()?))
}

fn checksum(number: u64, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(number.to_le_bytes());
    hash.update(body);
    let sum = hash.finalize();
    crate::hex::encode(sum.get(..8).unwrap_or_default())
}
