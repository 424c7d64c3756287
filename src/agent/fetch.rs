//! Fetches the files of a release into the cache.

use log::debug;

use crate::agent::give_up::MAX_DOWNLOADS;
use crate::agent::notice::Notice;
use crate::agent::source::{News, UpdateSource};
use crate::feed::cache::{Cache, Fetched};
use crate::feed::memory::FetchState;
use crate::feed::policy::Candidate;
use crate::image::transfer;
use abide_core::error::Result;
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
        let mut at = (0, 0);
        let Err(e) = self.fetch_files(source, candidate, &mut at) else {
            return source.report(News::Downloaded);
        };
        self.state.set_failed(&e);
        let tries = self.state.count_failed_download(&e, at);
        if tries >= MAX_DOWNLOADS {
            let version = &candidate.release.version;
            source.report(News::Failed(&format!("{version} cannot be downloaded ({tries} tries): {e}")))?;
        }
        Err(e)
    }

    /// `at`: how far it came, the number of the file and its bytes.
    fn fetch_files(
        &mut self,
        source: &dyn UpdateSource,
        candidate: &Candidate,
        at: &mut (usize, u64),
    ) -> Result<()> {
        let files: Vec<_> = candidate.release.files.files().collect();
        let keep: Vec<(&str, &str)> = files.iter().map(|f| (f.name.as_str(), f.sha256.as_str())).collect();
        self.cache.sweep(&keep)?;
        self.state.have.retain(|name, _| keep.iter().any(|(kept, _)| kept == name));
        for (number, file) in files.iter().enumerate() {
            if self.state.has(self.cache, file) {
                continue;
            }
            *at = (number, 0);
            let place = source.place(&file.name)?;
            let from = transfer::Place { url: &place.url, authorization: place.authorization.as_deref() };
            let (root, state, notify) = (self.root, &mut *self.state, &mut *self.notify);
            self.cache.fetch(&from, &file.name, &file.sha256, &place.limits, |fetched| {
                *at = (number, fetched.done);
                notify(Notice::Fetching(&file.name, fetched));
                save_percent(root, state, percent(number, files.len(), fetched));
            })?;
            self.state.have.insert(file.name.clone(), file.sha256.clone());
            self.state.write(self.root)?;
        }
        save_percent(self.root, self.state, 100);
        Ok(())
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
