//! The files of a release, into the cache.

use log::debug;

use crate::agent::next_step::Order;
use crate::agent::source::hawkbit::{Client, Finished, Milestone};
use crate::agent::{Run, Told};
use crate::config::Config;
use crate::feed::cache::Fetched;
use crate::feed::memory::FetchState;
use crate::feed::policy::Candidate;
use crate::image::http::Place;
use abide_core::error::Result;
use abide_core::root::Root;

impl Run<'_> {
    /// Fetches what is to be candidate, and tells the server that ordered it.
    pub(super) fn fetch(&mut self, candidate: &Candidate) -> Result<()> {
        let client = if self.orders { Some(self.client()?) } else { None };
        if let Some(client) = &client {
            self.reached(Milestone::Downloading, Finished::None, vec!["the download begins".into()]);
            self.tell_server(client);
        }
        let fetched = self.fetch_files(candidate, client.as_ref());
        if let (Some(client), Ok(())) = (&client, &fetched) {
            self.reached(Milestone::Downloaded, Finished::None, vec!["downloaded, and verified".into()]);
            self.tell_server(client);
        }
        if let Err(e) = &fetched {
            self.failed(e);
        }
        fetched
    }

    fn fetch_files(&mut self, candidate: &Candidate, client: Option<&Client>) -> Result<()> {
        let files: Vec<_> = candidate.release.files.files().cloned().collect();
        let keep: Vec<(&str, &str)> = files.iter().map(|f| (f.name.as_str(), f.sha256.as_str())).collect();
        self.cache.sweep(&keep)?;
        self.seen.have.retain(|name, _| keep.iter().any(|(kept, _)| kept == name));
        let download = match self.order {
            Order::Follow => limits(self.config),
            _ => self.config.download.clone(),
        };
        for (number, file) in files.iter().enumerate() {
            if self.has(&file.name, &file.sha256) {
                continue;
            }
            let url = match client {
                Some(_) => self.place_of(&file.name)?,
                None => self.feed.join(&file.name),
            };
            let place =
                Place { url: &url, authorization: client.and_then(|client| client.authorization(&url)) };
            let limits = client.map_or_else(|| download.clone(), |client| self.limits_for(&url, client));
            let (root, seen, tell) = (self.root, &mut self.seen, &mut self.tell);
            self.cache.fetch(&place, &file.name, &file.sha256, &limits, |fetched| {
                tell(Told::Fetching(&file.name, fetched));
                note_percent(root, seen, percent(number, files.len(), fetched));
            })?;
            self.seen.have.insert(file.name.clone(), file.sha256.clone());
            self.seen.write(self.root)?;
        }
        note_percent(self.root, &mut self.seen, 100);
        Ok(())
    }

    /// Whether a file of the release is whole in the cache.
    pub(super) fn has(&self, name: &str, sha256: &str) -> bool {
        match self.seen.have.get(name) {
            Some(known) => known == sha256 && self.cache.has_name(name),
            // What is remembered may have been lost, and the file not.
            None => self.cache.has_name(name) && self.cache.has(name, sha256),
        }
    }
}

/// The limits of a download that nobody waits for.
pub(super) fn limits(config: &Config) -> crate::config::Download {
    let mut download = config.download.clone();
    download.rate_limit = config.update.rate_limit.or(download.rate_limit);
    download
}

/// The files of a release count alike: how long those are that have not been asked for is not known.
fn percent(number: usize, files: usize, fetched: Fetched) -> u8 {
    let part = fetched.total.map_or(0, |total| fetched.done.saturating_mul(100) / total.max(1)).min(100);
    let done = (number as u64 * 100 + part) / (files as u64).max(1);
    u8::try_from(done).unwrap_or(100).min(99)
}

/// Shows how far it is to whoever asks for the status; not more often than that is worth.
fn note_percent(root: &Root, seen: &mut FetchState, percent: u8) {
    const STEP: u8 = 5;
    let Some(wanted) = seen.wanted.as_mut() else { return };
    if percent < wanted.percent.saturating_add(STEP) && percent != 100 {
        return;
    }
    wanted.percent = percent;
    if let Err(e) = seen.write(root) {
        debug!("{e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentage_grows_over_all_files_and_is_whole_only_at_the_end() {
        let half = Fetched { done: 50, total: Some(100) };
        assert_eq!(percent(0, 1, half), 50);
        assert_eq!(percent(1, 2, half), 75);
        assert_eq!(percent(1, 2, Fetched { done: 100, total: Some(100) }), 99);
        assert_eq!(percent(0, 2, Fetched { done: 9, total: None }), 0);
    }
}
