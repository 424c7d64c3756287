//! The files of an assignment, stored in the cache as a published folder: a list of digests and its signature.

use std::collections::BTreeMap;
use std::io::Read;

use jiff::civil::Date;

use crate::agent::source::hawkbit::ddi::{Artifact, SoftwareModule};
use crate::agent::source::interface::FileLocation;
use crate::feed::cache::Cache;
use crate::feed::carried;
use crate::feed::catalog::{Catalog, METADATA};
use crate::feed::freshness::Acceptance;
use crate::feed::poll;
use crate::image::names::SUMS;
use crate::image::transfer::{self, Resumed, resume};
use crate::image::trust::{Sums, Verifier};
use crate::image::{Folder, Source};
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
    let mut bytes = vec![];
    let source = open(place)?;
    source.reader.take(MAX_METADATA).read_to_end(&mut bytes).or_image(|| source.name)?;
    Ok(bytes)
}

/// Stores the signed list that an image, the file `name`, carries in front of itself, of which no more is fetched. Returns whether it carries
/// one.
///
/// # Errors
/// [`Error::Image`] if it cannot be fetched; [`Error::Unverified`] if the signature is not valid.
pub fn store_carried(place: &FileLocation, name: &str, cache: &Cache, verifier: &Verifier) -> Result<bool> {
    carried::store(&mut open(place)?, name, cache, verifier)
}

fn open(place: &FileLocation) -> Result<Source> {
    let shown = crate::url::shown(&place.url);
    let from = transfer::Place { url: &place.url, authorization: place.authorization.as_deref() };
    match resume(&from, &place.limits, 0)? {
        Resumed::Rest(source) => Ok(source),
        Resumed::TooLarge(error) => Err(error),
        Resumed::Nothing | Resumed::Shorter => {
            Err(Error::Image(format!("{shown}: is an artifact of the action, but not on the server (404)")))
        }
    }
}

/// Stores an assignment in the cache, and verifies it as a published folder.
///
/// # Errors
/// Those of verifying a folder.
pub fn store(cache: &Cache, verifier: &Verifier, module: &SoftwareModule, metadata: &Metadata) -> Result<()> {
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

/// Stores the signed list that is published beside an image, in place of digests that the server does not give. `beside`:
/// the image's folder.
///
/// # Errors
/// [`Error::Unverified`] if there is no signed list, or it is not accepted; [`Error::Image`] if it cannot be fetched.
pub fn store_from(
    beside: &Folder,
    cache: &Cache,
    verifier: &Verifier,
    module: &SoftwareModule,
    today: Date,
) -> Result<()> {
    let name = module.unproven().map(|artifact| artifact.name.as_str()).unwrap_or_default();
    let refuse = |why: &str| {
        Err(Error::Unverified(format!(
            "{name}: the server gives no SHA-256 (a SHA-1 is not trusted), and {why}; publish it beside a signed {SUMS}"
        )))
    };
    let Some(bytes) = beside.read(SUMS, MAX_METADATA)? else {
        return refuse(&format!("there is no {SUMS} beside it"));
    };
    let list = verifier.verify(beside, bytes)?;
    if list.signers.is_empty() {
        return refuse(
            "no signature is required of the list beside it, policy = \"signature\" in [trust] does",
        );
    }
    if list.sums.get(name).is_none() {
        return refuse(&format!("the {SUMS} beside it does not list it"));
    }
    for name in METADATA_FILES {
        cache.remove(name)?;
    }
    let identity = beside.identity();
    // The server decides which version is installed, also an older one.
    let acceptance = Acceptance { source: &identity, feed: None, channel: None, seen: &[], today };
    poll::poll(beside, cache, verifier, &acceptance).map(drop)
}

/// The releases of a software module, from hawkBit's own digests; not verified.
///
/// # Errors
/// A sentence, if its artifacts make up no list.
pub fn catalog(module: &SoftwareModule) -> std::result::Result<Catalog, String> {
    Catalog::new(&Sums::parse(sums(module).as_bytes())?, None)
}

/// Whether a file of an assignment is an image, or a part of one.
pub fn is_image(name: &str) -> bool {
    !METADATA_FILES.contains(&name)
}

impl SoftwareModule {
    /// The first image of which the server gives no digest that is trusted.
    pub fn unproven(&self) -> Option<&Artifact> {
        self.artifacts.iter().find(|file| is_image(&file.name) && file.sha256.is_none())
    }
}

/// The artifacts of a module as a list of digests.
fn sums(module: &SoftwareModule) -> String {
    let images = module.artifacts.iter().filter(|file| is_image(&file.name));
    let listed = images.filter_map(|file| Some(format!("{}  {}\n", file.sha256.as_ref()?, file.name)));
    listed.collect()
}
