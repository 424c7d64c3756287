//! Reading a feed: its list of digests, its signature and its metadata.

use log::warn;

use crate::feed::cache::Cache;
use crate::feed::catalog::{Catalog, MAX_METADATA, METADATA};
use crate::image::Folder;
use crate::image::sha256;
use crate::image::trust::{Sums, Verifier, read_sums};
use abide_core::error::{Error, Result};

/// Fetches the list of the feed into the cache. The signature and the metadata are fetched only if the list has
/// changed.
///
/// # Errors
/// [`Error::Image`] if the feed cannot be read, [`Error::Unverified`] if its signature is not valid; the cache keeps
/// the list of before then.
pub fn poll(feed: &Folder, cache: &Cache, verifier: &Verifier) -> Result<Catalog> {
    let bytes = read_sums(feed)?;
    let same = cache.list().is_some_and(|known| known == bytes);
    let known = same.then(|| cache.folder()).flatten().and_then(|folder| verifier.sums(&folder).ok());
    let (sums, new) = match known {
        Some(sums) => (sums, None),
        None => {
            let listing = verifier.verify(feed, bytes)?;
            (listing.sums.clone(), Some(listing))
        }
    };
    let metadata = fetch_metadata(feed, cache, &sums)?;
    let catalog = catalog(feed, &sums, metadata.as_deref())?;
    // Last, so that the cache never has a list without its metadata.
    if let Some(listing) = new {
        cache.store_list(&listing)?;
    }
    Ok(catalog)
}

/// Reads a folder without fetching: one of this machine, or the cache. The signature is verified.
///
/// # Errors
/// As [`poll`].
pub fn read(folder: &Folder, verifier: &Verifier) -> Result<Catalog> {
    let sums = verifier.sums(folder)?;
    let metadata = match sums.get(METADATA) {
        None => None,
        Some(sha256) => {
            let bytes = folder.read(METADATA, MAX_METADATA)?;
            Some(verified(folder, bytes, sha256)?)
        }
    };
    catalog(folder, &sums, metadata.as_deref())
}

fn catalog(folder: &Folder, sums: &Sums, metadata: Option<&[u8]>) -> Result<Catalog> {
    let catalog = Catalog::new(sums, metadata).map_err(|e| Error::Image(format!("{folder}: {e}")))?;
    for problem in &catalog.problems {
        warn!("{folder}: {problem}");
    }
    Ok(catalog)
}

/// The metadata of the feed; fetched only if it is not in the cache.
fn fetch_metadata(feed: &Folder, cache: &Cache, sums: &Sums) -> Result<Option<Vec<u8>>> {
    let Some(listed) = sums.get(METADATA) else { return Ok(None) };
    if let Some(bytes) = cache.read(METADATA).filter(|bytes| sha256::of_bytes(bytes) == listed) {
        return Ok(Some(bytes));
    }
    let bytes = verified(feed, feed.read(METADATA, MAX_METADATA)?, listed)?;
    cache.store(METADATA, &bytes)?;
    Ok(Some(bytes))
}

fn verified(folder: &Folder, bytes: Option<Vec<u8>>, listed: &str) -> Result<Vec<u8>> {
    let bytes = bytes.ok_or_else(|| Error::Image(format!("{folder}: {METADATA} is listed, but missing")))?;
    if sha256::of_bytes(&bytes) == listed {
        Ok(bytes)
    } else {
        Err(Error::Unverified(format!("{folder}: the SHA-256 of {METADATA} is not the one in the list")))
    }
}
