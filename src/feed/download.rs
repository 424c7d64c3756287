//! The download of a file into the cache. What was fetched stays until something at least as good is there: the digest
//! of the whole file decides what is good.

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{info, warn};

use crate::config::Download;
use crate::feed::cache::{BESIDE, Cache, FRAMES, PARTIAL};
use crate::feed::partial_file::PartialFile;
use crate::image::names::base_name;
use crate::image::transfer::{Known, Place, Resumed, resume_known};
use crate::url::shown;
use abide_core::error::{Error, OrError, Result};

/// What is left free on the file system for history, reports and other programs.
const SPARE: u64 = 4 << 20;

/// Bytes after which a download is flushed: the most that a power cut loses of it.
const SYNC_EVERY: u64 = 16 << 20;

const CHUNK: usize = 256 << 10;

/// A file to fetch.
#[derive(Debug, Clone, Copy)]
pub struct WantedFile<'a> {
    /// Its name in the cache.
    pub name: &'a str,
    /// Its digest.
    pub sha256: &'a str,
    /// Its length, where the source of the update tells it.
    pub len: Option<u64>,
    /// Its length, as a server has declared it before.
    pub likely_len: Option<u64>,
    /// Whether that length is doubted, since no attempt has succeeded with it.
    pub is_doubted: bool,
}

impl<'a> WantedFile<'a> {
    /// One of which nothing else is known.
    #[must_use]
    pub fn of(name: &'a str, sha256: &'a str) -> Self {
        Self { name, sha256, len: None, likely_len: None, is_doubted: false }
    }
}

/// How much of a file is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes in the cache.
    pub done: u64,
    /// Bytes of the complete file, where the server says so.
    pub total: Option<u64>,
}

/// Why a file was not fetched.
#[derive(Debug)]
pub struct FetchError {
    /// The reason.
    pub error: Error,
    /// Whether there was no answer about the file: the server or the network may recover.
    pub is_outage: bool,
}

impl From<Error> for FetchError {
    fn from(error: Error) -> Self {
        Self { error, is_outage: false }
    }
}

impl FetchError {
    pub(super) fn outage(error: Error) -> Self {
        Self { error, is_outage: true }
    }
}

/// A result of fetching.
pub type FetchResult<T> = std::result::Result<T, FetchError>;

/// How a download ended that was not interrupted.
enum DownloadEnd {
    /// At the end of the file.
    Complete,
    /// The server has fewer bytes than were fetched before, or another number than is known.
    OtherLength,
    /// The download has reached its size limit.
    OutOfBounds(Error),
}

/// Where a file is fetched from, within which limits, and what is shown of it.
struct Fetching<'a, P> {
    cache: &'a Cache,
    from: &'a Place<'a>,
    limits: &'a Download,
    progress: P,
}

impl Cache {
    /// Fetches a file that must have this digest; resumes an interrupted download. If the result has another digest
    /// and was put together, it is fetched once more from the beginning.
    ///
    /// # Errors
    /// [`Error::Image`] if it cannot be fetched or does not fit on the file system; what was fetched stays for
    /// the next attempt, except for what went beyond a limit. [`Error::Unverified`] if its digest is another
    /// one; what was fetched is removed.
    pub fn fetch(
        &self,
        from: &Place<'_>,
        wanted: &WantedFile<'_>,
        limits: &Download,
        progress: impl FnMut(Fetched),
    ) -> FetchResult<()> {
        let WantedFile { name, sha256, len, likely_len, is_doubted } = *wanted;
        let mut file = PartialFile::open(self.dir(), &format!("{sha256}.{PARTIAL}"))?;
        if file.sha256() == sha256 {
            return Ok(file.rename_to(base_name(name))?);
        }
        // More than a server has declared before: that was the length of something else.
        let likely_len = len.or(likely_len.filter(|len| *len >= file.len()));
        if likely_len.is_some_and(|len| file.len() >= len) {
            warn!("{name}: the partial download does not match; starting over");
            file.restart()?;
        }
        let mut fetching = Fetching { cache: self, from, limits, progress };
        let mut before = file.len();
        if before > 0 {
            info!("{name}: resuming at byte {before}");
        }
        let mixed = Arc::new(AtomicBool::new(before > 0));
        let known = Known {
            from: before,
            len: likely_len,
            has_digest: true,
            mixed: Arc::clone(&mixed),
            ..Known::default()
        };
        let mut end = fetching.fill(&mut file, known)?;
        if matches!(end, DownloadEnd::OtherLength) {
            return if len.is_none() && (is_doubted || likely_len.is_none()) {
                fetching.anew(file, wanted)
            } else {
                Err(FetchError::from(Error::Image(format!(
                    "{name}: the server has a file of another length; the {before} bytes that were fetched before are kept"
                ))))
            };
        }
        let is_complete = matches!(end, DownloadEnd::Complete);
        if is_complete && file.sha256() != sha256 && mixed.load(Ordering::Relaxed) {
            // Its parts are of different versions, or a power cut has damaged it.
            warn!("{name}: what was put together does not match; starting over");
            file.restart()?;
            before = 0;
            end = fetching.fill(&mut file, Known { len, ..Known::by_digest() })?;
        }
        if let DownloadEnd::OutOfBounds(error) = end {
            file.cut(before)?;
            let why = format!("{name}: {error}; what was fetched of it is removed");
            return Err(Error::Image(why).into());
        }
        Ok(finish(file, wanted)?)
    }

    /// How many bytes of a file are fetched.
    #[must_use]
    pub fn fetched(&self, sha256: &str) -> u64 {
        self.bytes_of(&format!("{sha256}.{PARTIAL}"))
    }

    /// How many bytes of a file are fetched, in one piece, in frames, or beside it where that has another length.
    #[must_use]
    pub fn most_fetched(&self, sha256: &str) -> u64 {
        let beside = [format!("{sha256}{BESIDE}.{PARTIAL}"), format!("{sha256}.{FRAMES}")];
        beside.iter().map(|name| self.bytes_of(name)).fold(self.fetched(sha256), u64::max)
    }

    /// The size of a file of the cache in bytes; 0 if there is none.
    #[must_use]
    pub fn bytes_of(&self, name: &str) -> u64 {
        std::fs::symlink_metadata(self.dir().join(name)).map_or(0, |meta| meta.len())
    }

    pub(super) fn check_free_space(&self, needed: u64) -> Result<()> {
        let stat = nix::sys::statvfs::statvfs(self.dir())
            .or_failed(|| format!("{}: cannot read the free space", self.dir().display()))?;
        let free = stat.blocks_available().saturating_mul(stat.fragment_size());
        if needed.saturating_add(SPARE) <= free {
            return Ok(());
        }
        Err(Error::Image(format!(
            "{}: the download needs {} MiB, but {} MiB are free; free some space there",
            self.dir().display(),
            needed.saturating_add(SPARE).div_ceil(1 << 20),
            free >> 20
        )))
    }
}

/// Gives a complete file its name, or removes it if it is another one.
fn finish(file: PartialFile, wanted: &WantedFile<'_>) -> Result<()> {
    let (name, found) = (wanted.name, file.sha256());
    if found == wanted.sha256 {
        return file.rename_to(base_name(name));
    }
    file.remove()?;
    Err(Error::Unverified(format!(
        "{name}: its SHA-256 is {found}, and {} is expected: it is damaged or was replaced",
        wanted.sha256
    )))
}

impl<P: FnMut(Fetched)> Fetching<'_, P> {
    /// Fetches the missing bytes.
    fn fill(&mut self, file: &mut PartialFile, known: Known) -> FetchResult<DownloadEnd> {
        let answer = resume_known(self.from, self.limits, known).map_err(FetchError::outage)?;
        let mut source = match answer {
            Resumed::Rest(source) => source,
            Resumed::TooLarge(error) => return Ok(DownloadEnd::OutOfBounds(error)),
            Resumed::Shorter => return Ok(DownloadEnd::OtherLength),
            Resumed::Nothing => {
                let shown = shown(self.from.url);
                return Err(Error::Image(format!("{shown}: is listed, but not on the server (404)")).into());
            }
        };
        let total = source.len;
        let result = self.copy(file, &mut source.reader, total);
        // Received bytes are kept even if the download failed.
        let synced = file.sync();
        let end = result?;
        synced?;
        Ok(end)
    }

    /// Fetches a file beside what was fetched of it before. Of the two the one with more bytes takes the place of the other.
    fn anew(mut self, before: PartialFile, wanted: &WantedFile<'_>) -> FetchResult<()> {
        let WantedFile { name, sha256, .. } = *wanted;
        let other = "the server has a file of another length";
        let mut file = PartialFile::open(self.cache.dir(), &format!("{sha256}{BESIDE}.{PARTIAL}"))?;
        warn!("{name}: {other}; it is fetched beside what was fetched before, from byte {}", file.len());
        let known = Known { from: file.len(), ..Known::by_digest() };
        match self.fill(&mut file, known) {
            Ok(DownloadEnd::Complete) => {
                finish(file, wanted)?;
                Ok(before.remove()?)
            }
            Ok(DownloadEnd::OutOfBounds(error)) => {
                file.remove()?;
                let why = format!("{name}: {error}; what was fetched of it is removed");
                Err(Error::Image(why).into())
            }
            Ok(DownloadEnd::OtherLength) => {
                file.remove()?;
                Err(Error::Image(format!("{name}: {other}")).into())
            }
            Err(e) => {
                if file.len() > before.len() {
                    file.rename_to(&format!("{sha256}.{PARTIAL}"))?;
                }
                Err(e)
            }
        }
    }

    fn copy(
        &mut self,
        file: &mut PartialFile,
        from: &mut impl Read,
        total: Option<u64>,
    ) -> FetchResult<DownloadEnd> {
        let mut block = vec![0; CHUNK];
        let mut next_check = file.len();
        loop {
            if file.len() >= next_check {
                let needed = total.map_or(SYNC_EVERY, |total| total.saturating_sub(file.len()));
                match self.cache.check_free_space(needed) {
                    // Whether it would fit into more room is unknown.
                    Err(error) if total.is_none() => return Ok(DownloadEnd::OutOfBounds(error)),
                    checked => checked?,
                }
                file.sync()?;
                next_check = file.len() + SYNC_EVERY;
            }
            let count = match from.read(&mut block) {
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::FileTooLarge => {
                    return Ok(DownloadEnd::OutOfBounds(Error::Image(e.to_string())));
                }
                Err(e) => {
                    let interrupted = Err(e).or_image(|| "the download was interrupted");
                    return interrupted.map_err(FetchError::outage);
                }
            };
            let Some(bytes) = block.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return Ok(DownloadEnd::Complete);
            };
            file.append(bytes)?;
            (self.progress)(Fetched { done: file.len(), total });
        }
    }
}
