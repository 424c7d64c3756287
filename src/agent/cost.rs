//! How many bytes of a release are to be fetched, for the answer to a check.

use crate::agent::source::UpdateSource;
use crate::feed::cache::Cache;
use crate::feed::catalog::Release;
use crate::feed::memory::FetchState;
use crate::feed::published::ListedFile;
use crate::image::names::base_name;
use crate::image::transfer;

/// Bytes of a release, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cost {
    /// Of its files.
    pub size: Option<u64>,
    /// To be fetched; at most so many without a patch.
    pub fetch: Option<u64>,
    /// The version of the patch that is used.
    pub patch_from: Option<String>,
}

/// What a release costs that can be had in parts, on a machine that runs `running`. Servers are asked for lengths only.
pub fn cost_in_parts(
    source: &dyn UpdateSource,
    cache: &Cache,
    state: &FetchState,
    release: &Release,
    running: &str,
) -> Option<Cost> {
    let parts = release.parts.as_ref()?;
    // The length of a file, and how much of that is missing.
    let lens = |file: &ListedFile| {
        if state.has(cache, file) {
            return Some((cache.bytes_of(base_name(&file.name)), 0));
        }
        let place = source.place(&file.name).ok()?;
        let from = transfer::Place { url: &place.url, authorization: place.authorization.as_deref() };
        let len = place.len.or_else(|| transfer::len(&from, &place.limits))?;
        Some((len, len.saturating_sub(cache.fetched(&file.sha256))))
    };
    let (mut size, mut rest, mut full) = (0, 0, 0);
    for file in release.files.files() {
        let (len, left) = lens(file)?;
        size += len;
        if file.sha256 == parts.full { full = left } else { rest += left }
    }
    let patch = parts.patches.get(running).filter(|_| full > 0);
    let in_parts = patch.and_then(|patch| Some(lens(&parts.map)?.1 + lens(patch)?.1));
    let in_parts = in_parts.filter(|bytes| *bytes < full);
    let fetch = Some(rest + in_parts.unwrap_or(full));
    Some(Cost { size: Some(size), fetch, patch_from: in_parts.map(|_| running.to_owned()) })
}
