//! Fetches the files of a release into the cache.

use jiff::Timestamp;
use log::{debug, warn};

use crate::agent::give_up::{MAX_DOWNLOADS, MAX_OUTAGES};
use crate::agent::notice::Notice;
use crate::agent::source::{News, UpdateSource};
use crate::delta::Map;
use crate::feed::attempts::Attempts;
use crate::feed::cache::Cache;
use crate::feed::catalog::Release;
use crate::feed::download::{FetchResult, Fetched, WantedFile};
use crate::feed::memory::FetchState;
use crate::feed::policy::Candidate;
use crate::feed::published::ListedFile;
use crate::image::names::base_name;
use crate::image::transfer;
use abide_core::error::{Error, Result};
use abide_core::root::Root;

/// Where to fetch into, and what is remembered of it.
pub struct Fetcher<'a> {
    /// The machine's root.
    pub root: &'a Root,
    /// The cache.
    pub cache: &'a Cache,
    /// What is remembered.
    pub state: &'a mut FetchState,
    /// What shows the progress.
    pub notify: &'a mut dyn FnMut(Notice<'_>),
}

impl Fetcher<'_> {
    /// Fetches a release from its source, and reports that to the source.
    ///
    /// # Errors
    /// If a file cannot be fetched or verified.
    pub fn fetch(
        &mut self,
        source: &mut dyn UpdateSource,
        candidate: &Candidate,
        running: &str,
    ) -> Result<()> {
        source.report(News::Downloading)?;
        let release = &candidate.release;
        self.state.attempts.set_release(&release.digest);
        let patch = release.parts.as_ref().and_then(|parts| parts.patches.get(running));
        let map = release.parts.as_ref().map(|parts| &parts.map);
        let files: Vec<_> = release.files.files().chain(map).chain(patch).collect();
        let before = self.amount(&files);
        if let Err(e) = self.fetch_files(source, release, &files, patch) {
            let has_progressed = self.amount(&files) > before;
            let attempts = &mut self.state.attempts;
            attempts.set_failed(&e, Timestamp::now(), has_progressed);
            let tries = attempts.failures;
            if attempts.definite >= MAX_DOWNLOADS || tries >= MAX_OUTAGES {
                let version = &release.version;
                let why = format!("{version} cannot be downloaded ({tries} tries): {}", e.error);
                source.report(News::Failed(&why))?;
            }
            return Err(e.error);
        }
        self.state.attempts = Attempts::default();
        source.report(News::Downloaded)
    }

    /// How many files are complete, and how many bytes of others are fetched.
    fn amount(&self, files: &[&ListedFile]) -> (usize, u64) {
        let bytes = files.iter().map(|file| self.cache.most_fetched(&file.sha256)).sum();
        (self.state.have.len(), bytes)
    }

    /// `keep`: what belongs to the release.
    fn fetch_files(
        &mut self,
        source: &dyn UpdateSource,
        release: &Release,
        keep: &[&ListedFile],
        patch: Option<&ListedFile>,
    ) -> FetchResult<()> {
        let kept: Vec<(&str, &str)> = keep.iter().map(|f| (f.name.as_str(), f.sha256.as_str())).collect();
        self.cache.sweep(&kept)?;
        self.state.have.retain(|name, _| kept.iter().any(|(kept, _)| kept == name));
        let count = release.files.files().count();
        for (number, file) in release.files.files().enumerate() {
            let step = (number, count);
            let parts = release.parts.as_ref().filter(|parts| parts.full == file.sha256);
            let in_parts = match parts {
                Some(parts) if !self.state.has(self.cache, file) => {
                    self.fetch_parts(source, file, &parts.map, patch, step)?
                }
                _ => false,
            };
            if !in_parts {
                self.fetch_file(source, file, u64::MAX, step)?;
            }
        }
        save_percent(self.root, self.state, 100);
        Ok(())
    }

    /// Fetches what makes the full `file` on this machine, as far as that is known: the map and the patch, or the frames that the
    /// install has asked for. Returns whether that was possible; else the full file is to be fetched.
    fn fetch_parts(
        &mut self,
        source: &dyn UpdateSource,
        file: &ListedFile,
        map: &ListedFile,
        patch: Option<&ListedFile>,
        step: (usize, usize),
    ) -> FetchResult<bool> {
        let fetched = self.fetch_file(source, map, Map::MAX, step);
        if !can_go_without(map, fetched)? {
            return Ok(false);
        }
        let Some(map) = self.read_map(map) else { return Ok(false) };
        let request = self.cache.asked(&file.sha256);
        if let Some(request) = &request {
            let Some(regions) = request.regions(&map) else { return Ok(false) };
            if !self.fetch_frames(source, file, &map, &regions, step)? {
                return Ok(false);
            }
        } else if let Some(patch) = patch {
            // As long as it is smaller than what is missing of the full file.
            let most = map.full_len.saturating_sub(self.cache.fetched(&file.sha256)).saturating_sub(1);
            let fetched = self.fetch_file(source, patch, most, step);
            can_go_without(patch, fetched)?;
        }
        self.state.in_parts = Some(file.sha256.clone());
        self.state.write(self.root)?;
        // Last: an interruption repeats what is done.
        Ok(request.map_or(Ok(()), |_| self.cache.answered(&file.sha256)).map(|()| true)?)
    }

    /// The map in the cache; none, with a warning, if it cannot be used.
    fn read_map(&self, map: &ListedFile) -> Option<Map> {
        let bytes = self.cache.read(base_name(&map.name))?;
        let parsed = Map::parse(&bytes);
        parsed.map_err(|why| warn!("{}: {why}; fetching the full file", map.name)).ok()
    }

    fn fetch_frames(
        &mut self,
        source: &dyn UpdateSource,
        file: &ListedFile,
        map: &Map,
        regions: &[usize],
        (number, count): (usize, usize),
    ) -> FetchResult<bool> {
        let place = source.place(&file.name)?;
        let from = transfer::Place { url: &place.url, authorization: place.authorization.as_deref() };
        let (root, state, notify) = (self.root, &mut *self.state, &mut *self.notify);
        let wanted = WantedFile::of(&file.name, &file.sha256);
        self.cache.fetch_frames(&from, &wanted, map, regions, &place.limits, |fetched| {
            notify(Notice::Fetching(&file.name, fetched));
            save_percent(root, state, percent(number, count, fetched));
        })
    }

    /// Fetches a file of at most so many bytes, unless it is here.
    fn fetch_file(
        &mut self,
        source: &dyn UpdateSource,
        file: &ListedFile,
        most: u64,
        (number, count): (usize, usize),
    ) -> FetchResult<()> {
        if self.state.has(self.cache, file) {
            return Ok(());
        }
        let mut place = source.place(&file.name)?;
        place.limits.max_size = place.limits.max_size.min(most);
        let from = transfer::Place { url: &place.url, authorization: place.authorization.as_deref() };
        let (name, sha256) = (file.name.as_str(), file.sha256.as_str());
        let attempts = &self.state.attempts;
        let likely_len = attempts.lengths.get(sha256).copied();
        let is_doubted = attempts.is_doubted();
        let wanted = WantedFile { len: place.len, likely_len, is_doubted, ..WantedFile::of(name, sha256) };
        let (root, state, notify) = (self.root, &mut *self.state, &mut *self.notify);
        let (mut first_len, before) = (None, self.cache.fetched(sha256));
        let fetched = self.cache.fetch(&from, &wanted, &place.limits, |fetched| {
            first_len = first_len.or(fetched.total);
            notify(Notice::Fetching(name, fetched));
            save_percent(root, state, percent(number, count, fetched));
        });
        self.remember_len(sha256, first_len, before, &fetched);
        fetched?;
        self.state.have.insert(file.name.clone(), file.sha256.clone());
        Ok(self.state.write(self.root)?)
    }

    /// Remembers the length that a server has declared first, unless the file turned out to be another one. What has more
    /// bytes than were fetched `before` is what the length counts of.
    fn remember_len(&mut self, sha256: &str, len: Option<u64>, before: u64, fetched: &FetchResult<()>) {
        let lengths = &mut self.state.attempts.lengths;
        let is_other = fetched.as_ref().is_err_and(|e| matches!(e.error, Error::Unverified(_)));
        if is_other && self.cache.fetched(sha256) == 0 {
            lengths.remove(sha256);
        } else if let Some(len) = len {
            let has_grown = self.cache.fetched(sha256) > before;
            let known = lengths.entry(sha256.to_owned()).or_insert(len);
            if has_grown {
                *known = len;
            }
        }
    }
}

/// Whether a map or a patch is fetched. It may be missing or another one: the release is not concerned. An outage is tried again.
fn can_go_without(file: &ListedFile, fetched: FetchResult<()>) -> FetchResult<bool> {
    match fetched {
        Ok(()) => Ok(true),
        Err(e) if e.is_outage => Err(e),
        Err(e) => {
            warn!("{}; going on without {}", e.error, file.name);
            Ok(false)
        }
    }
}

/// How much of the release is fetched. All files count the same, since their sizes are not known before.
fn percent(number: usize, files: usize, fetched: Fetched) -> u8 {
    let part = fetched.total.map_or(0, |total| fetched.done.saturating_mul(100) / total.max(1)).min(100);
    let done = (number as u64 * 100 + part) / (files as u64).max(1);
    u8::try_from(done).unwrap_or(100).min(99)
}

/// Saves the percentage for `abide status`, in steps.
fn save_percent(root: &Root, state: &mut FetchState, percent: u8) {
    const STEP: u8 = 5;
    let Some(wanted) = state.wanted.as_mut() else { return };
    if percent < wanted.percent.saturating_add(STEP) && percent != 100 {
        return;
    }
    wanted.percent = percent;
    if let Err(e) = state.write(root) {
        debug!("{e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentage_covers_all_files_and_reaches_100_at_the_end_only() {
        let half = Fetched { done: 50, total: Some(100) };
        assert_eq!(percent(0, 1, half), 50);
        assert_eq!(percent(1, 2, half), 75);
        assert_eq!(percent(1, 2, Fetched { done: 100, total: Some(100) }), 99);
        assert_eq!(percent(0, 2, Fetched { done: 9, total: None }), 0);
    }
}
