//! Reading a feed: its list of digests, its signature and its metadata.

use log::warn;

use crate::feed::cache::Cache;
use crate::feed::catalog::{Catalog, MAX_METADATA, METADATA};
use crate::feed::freshness::Acceptance;
use crate::image::Folder;
use crate::image::sha256;
use crate::image::trust::{KEY_LIST, MOST_KEY_LIST, Sums, VerifiedSums, Verifier, read_sums};
use abide_core::error::{Error, Result};

/// Fetches the list of the feed into the cache. The signature and the metadata are fetched only if the list has
/// changed.
///
/// # Errors
/// [`Error::Image`] if the feed cannot be read, [`Error::Unverified`] if its signature is not valid or the list is not
/// accepted; the cache keeps the list of before then.
pub fn poll(
    feed: &Folder,
    cache: &Cache,
    verifier: &Verifier,
    acceptance: &Acceptance<'_>,
) -> Result<Catalog> {
    let bytes = read_sums(feed)?;
    let same = cache.list().is_some_and(|known| known == bytes);
    let known = same.then(|| cache.folder()).flatten().and_then(|folder| verifier.list(&folder).ok());
    let is_new = known.is_none();
    let list = known.map_or_else(|| verifier.verify(feed, bytes), Ok)?;
    let metadata = fetch_listed(feed, cache, &list.sums, METADATA, MAX_METADATA)?;
    let keys = fetch_listed(feed, cache, &list.sums, KEY_LIST, MOST_KEY_LIST)?;
    let catalog = catalog(feed, &list.sums, metadata.as_deref())?;
    acceptance.check(&catalog.header, list.signed_at())?;
    for (name, bytes) in [(METADATA, metadata), (KEY_LIST, keys)] {
        bytes.map_or(Ok(()), |bytes| cache.store(name, &bytes))?;
    }
    // Last, so that the cache never has a list without its metadata.
    if is_new {
        cache.store_list(&list)?;
    }
    Ok(catalog)
}

/// A verified list and its releases.
pub struct Listing {
    /// The list.
    pub list: VerifiedSums,
    /// Its releases.
    pub catalog: Catalog,
}

/// Reads a folder without fetching: one of this machine, or the cache. The signature is verified.
///
/// # Errors
/// As [`poll`].
pub fn read(folder: &Folder, verifier: &Verifier) -> Result<Listing> {
    listing(folder, verifier.list(folder)?)
}

/// The releases of a list that was verified.
///
/// # Errors
/// As [`poll`].
pub fn listing(folder: &Folder, list: VerifiedSums) -> Result<Listing> {
    let metadata = read_listed(folder, &list.sums, METADATA, MAX_METADATA)?;
    let catalog = catalog(folder, &list.sums, metadata.as_deref())?;
    Ok(Listing { list, catalog })
}

fn catalog(folder: &Folder, sums: &Sums, metadata: Option<&[u8]>) -> Result<Catalog> {
    let catalog = Catalog::new(sums, metadata).map_err(|e| Error::Image(format!("{folder}: {e}")))?;
    for problem in &catalog.problems {
        warn!("{folder}: {problem}");
    }
    Ok(catalog)
}

/// The publisher's list of keys in a folder that was polled; none if it has none.
///
/// # Errors
/// As [`poll`].
pub fn read_key_list(folder: &Folder, listing: &Listing) -> Result<Option<Vec<u8>>> {
    read_listed(folder, &listing.list.sums, KEY_LIST, MOST_KEY_LIST)
}

/// A small file of the feed, if it is listed; fetched only if it is not in the cache.
fn fetch_listed(feed: &Folder, cache: &Cache, sums: &Sums, name: &str, most: u64) -> Result<Option<Vec<u8>>> {
    let Some(listed) = sums.get(name) else { return Ok(None) };
    if let Some(bytes) = cache.read(name).filter(|bytes| sha256::of_bytes(bytes) == listed) {
        return Ok(Some(bytes));
    }
    read_listed(feed, sums, name, most)
}

/// A small file of a folder, if it is listed.
fn read_listed(folder: &Folder, sums: &Sums, name: &str, most: u64) -> Result<Option<Vec<u8>>> {
    let Some(listed) = sums.get(name) else { return Ok(None) };
    let bytes = folder.read(name, most)?;
    let bytes = bytes.ok_or_else(|| Error::Image(format!("{folder}: {name} is listed, but missing")))?;
    if sha256::of_bytes(&bytes) == listed {
        Ok(Some(bytes))
    } else {
        Err(Error::Unverified(format!("{folder}: the SHA-256 of {name} is not the one in the list")))
    }
}
