//! The files of an assignment, stored in the cache as a published folder: a list of digests and its signature.

use std::collections::BTreeMap;
use std::io::Read;

use crate::agent::source::hawkbit::ddi::{Deployment, SoftwareModule};
use crate::agent::source::interface::FileLocation;
use crate::feed::cache::Cache;
use crate::feed::catalog::{Catalog, METADATA};
use crate::feed::poll;
use crate::image::names::SUMS;
use crate::image::transfer::{self, Resumed, resume};
use crate::image::trust::{Sums, Verifier};
use abide_core::error::{Error, OrError, Result};

/// Artifacts that are fetched with the assignment, since they are not images.
pub const METADATA_FILES: [&str; 5] =
    [SUMS, "SHA256SUMS.minisig", "SHA256SUMS.gpg", "SHA256SUMS.asc", METADATA];

/// The most that is read of such a file.
const MAX_METADATA: u64 = 4 << 20;

/// The fetched [`METADATA_FILES`], by name.
pub type Metadata = BTreeMap<&'static str, Vec<u8>>;

/// Fetches a metadata file.
///
/// # Errors
/// [`Error::Image`] if it cannot be fetched.
pub fn fetch(place: &FileLocation) -> Result<Vec<u8>> {
    let shown = crate::url::shown(&place.url);
    let from = transfer::Place { url: &place.url, authorization: place.authorization.as_deref() };
    let source = match resume(&from, &place.limits, 0)? {
        Resumed::Rest(source) => source,
        Resumed::TooLarge(error) => return Err(error),
        Resumed::Nothing | Resumed::Shorter => {
            return Err(Error::Image(format!(
                "{shown}: is an artifact of the action, but not on the server (404)"
            )));
        }
    };
    let mut bytes = vec![];
    source.reader.take(MAX_METADATA).read_to_end(&mut bytes).or_image(|| shown)?;
    Ok(bytes)
}

/// Stores an assignment in the cache, and verifies it as a published folder. `part`: the type of the software module.
///
/// # Errors
/// [`Error::Image`] if it has no such module; those of verifying a folder.
pub fn store(
    cache: &Cache,
    verifier: &Verifier,
    deployment: &Deployment,
    part: &str,
    metadata: &Metadata,
) -> Result<()> {
    let module = deployment
        .part(part)
        .ok_or_else(|| Error::Image(format!("the action has no software module of the type '{part}'")))?;
    for name in METADATA_FILES {
        match metadata.get(name) {
            Some(bytes) => cache.store(name, bytes)?,
            None => cache.remove(name)?,
        }
    }
    if !metadata.contains_key(SUMS) {
        cache.store(SUMS, sums(module).as_bytes())?;
    }
    let folder = cache.folder().ok_or_else(|| Error::Failed("cannot read the cache".into()))?;
    poll::read(&folder, verifier).map(drop)
}

/// The releases of a software module, from hawkBit's own digests; not verified.
///
/// # Errors
/// A sentence, if its artifacts make up no list.
pub fn catalog(module: &SoftwareModule) -> std::result::Result<Catalog, String> {
    Catalog::new(&Sums::parse(sums(module).as_bytes())?, None)
}

/// The artifacts of a module as a list of digests.
fn sums(module: &SoftwareModule) -> String {
    let images = module.artifacts.iter().filter(|file| !METADATA_FILES.contains(&file.name.as_str()));
    images.map(|file| format!("{}  {}\n", file.sha256, file.name)).collect()
}
