//! The root of a release, region by region: from a patch and the running root, from what the slot already holds, or
//! from the full file. Each region has the SHA-256 that the map says before it is passed on.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Builder;

use log::{info, warn};

use crate::delta::{self, Header, Map, Record, Region};
use crate::feed::frames::Frames;
use crate::feed::request::Request;
use crate::image::{Folder, Source};
use crate::update::write::lacking::Lacking;
use abide_core::error::{Error, OrError, Result};

/// Regions that are made in advance.
const AHEAD: usize = 2;

/// What a region was made of, in published bytes and in numbers of regions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origins {
    /// Regions made from the running root by the patch.
    pub patched: usize,
    /// Regions that were on this machine as they are.
    pub kept: usize,
    /// Regions fetched from the full file.
    pub fetched: usize,
}

/// Devices of this machine that may hold regions.
#[derive(Debug, Default)]
pub struct Holders {
    /// The root of the running system.
    pub running: Option<File>,
    /// What the slot holds that is to be written.
    pub target: Option<File>,
}

/// The regions of one root, in order.
pub struct Regions {
    map: Map,
    holders: Holders,
    patch: Option<OpenPatch>,
    full: FullFile,
    cached: Option<Cached>,
    next: usize,
    origins: Origins,
    /// Without a patch: which regions no device holds.
    missing: Option<Vec<bool>>,
}

/// What a folder without the full file has of it.
#[derive(Debug, Clone)]
pub struct Cached {
    /// Single frames of it.
    pub frames: Option<Arc<Frames>>,
    /// Its SHA-256.
    pub full: String,
    /// Takes note of what is missing.
    pub lacking: Lacking,
}

/// A patch that is being read.
pub struct OpenPatch {
    header: Header,
    source: Source,
}

impl OpenPatch {
    /// Reads the header. None, with a warning, if the patch is not for this root.
    pub fn open(mut source: Source, map: &Map) -> Option<Self> {
        let why = match Header::read(&mut source.reader) {
            Ok(header) if header.sha256 == map.sha256 && header.region_size == map.region_size => {
                return Some(Self { header, source });
            }
            Ok(_) => "is for another root".to_owned(),
            Err(e) => e.to_string(),
        };
        warn!("{}: {why}; using the full file", source.name);
        None
    }
}

/// The full file, of which single frames are read, from front to back.
struct FullFile {
    folder: Folder,
    name: String,
    open: Option<OpenPart>,
    /// Whether the server always sends the whole file: it is then requested once, and read over.
    is_whole: Arc<AtomicBool>,
}

/// A part of the full file that is being read.
struct OpenPart {
    source: Source,
    /// The next byte.
    at: u64,
    until: u64,
}

impl FullFile {
    /// The `len` bytes from `offset` on. `until`: the end of what is wanted next to them.
    fn read(&mut self, offset: u64, len: usize, until: u64) -> Result<Vec<u8>> {
        let is_whole = self.is_whole.load(Ordering::Relaxed);
        let reaches = |at: u64, end: u64| at <= offset && (is_whole || until <= end);
        let (mut source, at) = match self.open.take() {
            Some(open) if reaches(open.at, open.until) => (open.source, open.at),
            _ => (self.folder.open_part(&self.name, offset, until, &self.is_whole)?, offset),
        };
        let cannot = || format!("{}: cannot read", self.name);
        io::copy(&mut io::Read::take(&mut source.reader, offset - at), &mut io::sink()).or_image(cannot)?;
        let mut bytes = vec![0; len];
        source.reader.read_exact(&mut bytes).or_image(cannot)?;
        self.open = Some(OpenPart { source, at: offset + len as u64, until });
        Ok(bytes)
    }
}

impl Regions {
    /// Starts to read. `name`: the full file in `folder`.
    #[must_use]
    pub fn new(
        map: Map,
        holders: Holders,
        patch: Option<OpenPatch>,
        folder: Folder,
        name: &str,
        cached: Option<Cached>,
    ) -> Self {
        let full = FullFile { folder, name: name.to_owned(), open: None, is_whole: Arc::default() };
        Self { map, holders, patch, full, cached, next: 0, origins: Origins::default(), missing: None }
    }

    /// The bytes of the next region; none behind the last one.
    ///
    /// # Errors
    /// [`Error::Image`] if a region can be had from nowhere; [`Error::Unverified`] if its bytes are not those of the map.
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(region) = self.map.regions.get(self.next).copied() else { return Ok(None) };
        let len = self.map.region_len(self.next);
        let bytes = match self.found(len, region) {
            Some(bytes) => bytes,
            None if self.cached.is_some() => {
                let first = vec![self.next];
                self.next += 1;
                return self.refuse_lacking(first).map(|()| None);
            }
            None => {
                self.origins.fetched += 1;
                self.fetched(len, region)?
            }
        };
        self.next += 1;
        Ok(Some(bytes))
    }

    /// The bytes of a region, if they are on this machine.
    fn found(&mut self, len: usize, region: Region) -> Option<Vec<u8>> {
        if let Some(bytes) = self.patched(len).filter(|bytes| delta::digest(bytes) == region.sha256) {
            self.origins.patched += 1;
            return Some(bytes);
        }
        if let Some(bytes) = self.held(self.next, region) {
            self.origins.kept += 1;
            return Some(bytes);
        }
        let frames = self.cached.as_ref()?.frames.as_ref()?;
        let bytes = frames.region(&self.map, self.next)?;
        self.origins.fetched += 1;
        Some(bytes)
    }

    /// Fails if a region is `missing`, or one of those that come next is, after a note of all that are. Nothing can be read
    /// afterwards.
    ///
    /// # Errors
    /// [`Error::Image`]
    pub fn refuse_lacking(&mut self, mut missing: Vec<usize>) -> Result<()> {
        while let Some(region) = self.map.regions.get(self.next).copied() {
            if self.found(self.map.region_len(self.next), region).is_none() {
                missing.push(self.next);
            }
            self.next += 1;
        }
        match &self.cached {
            Some(cached) if !missing.is_empty() => {
                Err(cached.lacking.note(&self.full.name, &cached.full, Request::of(&missing)))
            }
            _ => Ok(()),
        }
    }

    /// The region as the patch makes it; none if it does not, or does not fit the running root.
    fn patched(&mut self, len: usize) -> Option<Vec<u8>> {
        let patch = self.patch.as_mut()?;
        let record = match delta::read_record(&mut patch.source.reader, &patch.header) {
            Ok(record) => record,
            Err(e) => {
                warn!("{}: {e}; using the full file for the rest", patch.source.name);
                self.patch = None;
                return None;
            }
        };
        let old = self.old(&record)?;
        if record.frame.is_empty() {
            return (old.len() == len).then_some(old);
        }
        delta::unpack(&record.frame, &old, len).ok()
    }

    /// The bytes of the running root that a record names.
    fn old(&self, record: &Record) -> Option<Vec<u8>> {
        let mut old = vec![0; record.old_len()];
        let mut rest = old.as_mut_slice();
        for range in &record.ranges {
            let (part, after) = rest.split_at_mut_checked(range.len as usize)?;
            self.holders.running.as_ref()?.read_exact_at(part, range.offset).ok()?;
            rest = after;
        }
        Some(old)
    }

    /// The region, if it is at its place on a device of this machine.
    fn held(&self, number: usize, region: Region) -> Option<Vec<u8>> {
        let offset = number as u64 * u64::from(self.map.region_size);
        let mut bytes = vec![0; self.map.region_len(number)];
        [&self.holders.target, &self.holders.running].into_iter().flatten().find_map(|holder| {
            holder.read_exact_at(&mut bytes, offset).ok()?;
            (delta::digest(&bytes) == region.sha256).then_some(())
        })?;
        Some(bytes)
    }

    /// The end of the frames of the regions, from this one on, that are certainly to be fetched.
    fn end_of_run(&mut self) -> u64 {
        if self.patch.is_none() && self.missing.is_none() {
            self.missing = Some(self.survey());
        }
        let missing = self.missing.as_ref().and_then(|missing| missing.get(self.next..)).unwrap_or_default();
        let run = missing.iter().take_while(|is_missing| **is_missing).count().max(1);
        let last = self.map.regions.get(self.next + run - 1);
        last.map_or(0, |region| region.offset + u64::from(region.frame))
    }

    /// Which regions no device holds, from this one on.
    fn survey(&self) -> Vec<bool> {
        let all = self.map.regions.iter().enumerate();
        all.map(|(number, region)| {
            number == self.next || number > self.next && self.held(number, *region).is_none()
        })
        .collect()
    }

    fn fetched(&mut self, len: usize, region: Region) -> Result<Vec<u8>> {
        let number = self.next;
        let until = self.end_of_run();
        let frame = self.full.read(region.offset, region.frame as usize, until)?;
        let name = &self.full.name;
        let bytes = delta::unpack(&frame, &[], len).map_err(|e| {
            Error::Image(format!("{name}: region {number} {e}; the file does not fit its map"))
        })?;
        if delta::digest(&bytes) != region.sha256 {
            return Err(Error::Unverified(format!(
                "{name}: region {number} has another SHA-256 than its map says; it is damaged or was replaced"
            )));
        }
        Ok(bytes)
    }
}

impl Drop for Regions {
    fn drop(&mut self) {
        let Origins { patched, kept, fetched } = self.origins;
        info!(
            "{}: {patched} regions by the patch, {kept} on this machine, {fetched} fetched",
            self.full.name
        );
    }
}

/// The bytes of a root that another thread makes, region by region.
pub struct RegionStream {
    regions: Receiver<Result<Vec<u8>>>,
    /// Bytes that the other thread has yet to make.
    left: u64,
    /// The region that is being passed on, and how much of it was.
    current: Vec<u8>,
    passed: usize,
}

impl RegionStream {
    /// Starts to make the regions.
    ///
    /// # Errors
    /// [`Error::Failed`] if no thread can be started.
    pub fn start(mut regions: Regions) -> Result<Self> {
        let (send, receive) = sync_channel(AHEAD);
        let left = regions.map.len;
        let make = move || {
            while let Some(next) = regions.next().transpose() {
                let is_last = next.is_err();
                if send.send(next).is_err() || is_last {
                    return;
                }
            }
        };
        Builder::new().name("regions".into()).spawn(make).or_failed(|| "cannot start to make regions")?;
        Ok(Self { regions: receive, left, current: Vec::new(), passed: 0 })
    }

    /// Takes the next region; `false` at the end of the root.
    fn take_next(&mut self) -> Result<bool> {
        if self.left == 0 {
            return Ok(false);
        }
        let next =
            self.regions.recv().or_failed(|| "the thread that makes the regions has ended early")??;
        self.left = self.left.saturating_sub(next.len() as u64);
        (self.current, self.passed) = (next, 0);
        Ok(true)
    }

    /// The next `len` bytes, as far as they are in one region; they can be read again.
    ///
    /// # Errors
    /// As [`RegionStream::fill`].
    pub fn look_ahead(&mut self, len: usize) -> Result<Vec<u8>> {
        if self.passed >= self.current.len() {
            self.take_next()?;
        }
        let left = self.current.get(self.passed..).unwrap_or_default();
        Ok(left.get(..len).unwrap_or(left).to_vec())
    }

    /// Fills `to`; fewer bytes mean the end of the root.
    ///
    /// # Errors
    /// [`Error::Image`] if a region can be had from nowhere; [`Error::Unverified`] if its bytes are not those of the map.
    pub fn fill(&mut self, to: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let left = self.current.get(self.passed..).unwrap_or_default();
            if left.is_empty() {
                if !self.take_next()? {
                    break;
                }
                continue;
            }
            let count = left.len().min(rest.len());
            rest.split_at_mut(count).0.copy_from_slice(left.split_at(count).0);
            self.passed += count;
            done += count;
        }
        Ok(done)
    }
}

/// Opens a device to read old bytes from; none if it cannot be opened.
pub fn holder(device: &Path) -> Option<File> {
    File::open(device).ok()
}
