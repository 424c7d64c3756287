//! Fetches the files of a release into the cache.

use jiff::Timestamp;
use log::debug;

use crate::agent::give_up::{MAX_DOWNLOADS, MAX_OUTAGES};
use crate::agent::notice::Notice;
use crate::agent::source::{News, UpdateSource};
use crate::feed::attempts::Attempts;
use crate::feed::cache::Cache;
use crate::feed::download::{FetchResult, Fetched, WantedFile};
use crate::feed::memory::FetchState;
use crate::feed::policy::Candidate;
use crate::feed::published::ListedFile;
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
    pub fn fetch(&mut self, source: &mut dyn UpdateSource, candidate: &Candidate) -> Result<()> {
        source.report(News::Downloading)?;
        let files: Vec<_> = candidate.release.files.files().collect();
        self.state.attempts.set_release(&candidate.release.digest);
        let before = self.amount(&files);
        if let Err(e) = self.fetch_files(source, &files) {
            let has_progressed = self.amount(&files) > before;
            let attempts = &mut self.state.attempts;
            attempts.set_failed(&e, Timestamp::now(), has_progressed);
            let tries = attempts.failures;
            if attempts.definite >= MAX_DOWNLOADS || tries >= MAX_OUTAGES {
                let version = &candidate.release.version;
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

    fn fetch_files(&mut self, source: &dyn UpdateSource, files: &[&ListedFile]) -> FetchResult<()> {
        let keep: Vec<(&str, &str)> = files.iter().map(|f| (f.name.as_str(), f.sha256.as_str())).collect();
        self.cache.sweep(&keep)?;
        self.state.have.retain(|name, _| keep.iter().any(|(kept, _)| kept == name));
        for (number, file) in files.iter().enumerate() {
            if self.state.has(self.cache, file) {
                continue;
            }
            let place = source.place(&file.name)?;
            let from = transfer::Place { url: &place.url, authorization: place.authorization.as_deref() };
            let (name, sha256) = (file.name.as_str(), file.sha256.as_str());
            let attempts = &self.state.attempts;
            let likely_len = attempts.lengths.get(sha256).copied();
            let is_doubted = attempts.is_doubted();
            let wanted = WantedFile { name, sha256, len: place.len, likely_len, is_doubted };
            let (root, state, notify) = (self.root, &mut *self.state, &mut *self.notify);
            let (mut first_len, before) = (None, self.cache.fetched(sha256));
            let fetched = self.cache.fetch(&from, &wanted, &place.limits, |fetched| {
                first_len = first_len.or(fetched.total);
                notify(Notice::Fetching(name, fetched));
                save_percent(root, state, percent(number, files.len(), fetched));
            });
            self.remember_len(sha256, first_len, before, &fetched);
            fetched?;
            self.state.have.insert(file.name.clone(), file.sha256.clone());
            self.state.write(self.root)?;
        }
        save_percent(self.root, self.state, 100);
        Ok(())
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
