//! An image that carries its signature as a feed of its own: its list is stored in the cache as if it were published in a
//! folder, so that everything else handles the two alike.

use crate::feed::cache::Cache;
use crate::feed::poll;
use crate::image::Source;
use crate::image::names::SUMS;
use crate::image::trust::{SIGNATURES, Verifier};
use abide_core::error::{Error, Result};

/// Stores the list that `image`, the file `name`, carries, and its signatures; reads no more of it than those. Returns whether
/// it carries any.
///
/// # Errors
/// [`Error::Unverified`] if a signature is required and what it carries is not valid, or for another name;
/// [`Error::Image`] if it cannot be read.
pub fn store(image: &mut Source, name: &str, cache: &Cache, verifier: &Verifier) -> Result<bool> {
    let Some(carried) = image.take_carried()? else { return Ok(false) };
    let (_, signed) = verifier.carried(&image.name, &carried, None)?;
    if signed != name {
        return Err(Error::Unverified(format!("{name}: is signed as {signed}; it must have this name")));
    }
    for ending in SIGNATURES {
        let name = format!("{SUMS}{ending}");
        match carried.signatures.iter().find(|(file, _)| *file == name) {
            Some((_, bytes)) => cache.store(&name, bytes)?,
            None => cache.remove(&name)?,
        }
    }
    cache.store(SUMS, &carried.list)?;
    let folder = cache.folder().ok_or_else(|| Error::Failed("cannot read the cache".into()))?;
    poll::read(&folder, verifier).map(|_| true)
}
