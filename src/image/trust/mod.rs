//! Whether an image may be trusted: digests, lists of them, and signatures.
//!
//! What is decided here, before the image itself is opened, is what its published bytes must be. They
//! are hashed while they are written, once, and nothing boots them before the hash fits.

pub mod keys;
pub mod minisign;
pub mod openpgp;
pub mod sums;

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use log::info;

use crate::config::{Policy, Trust};
use crate::image::folder::Folder;
use abide_core::error::{Error, Result};
pub use keys::Keys;
pub use minisign::Claim;
pub use sums::Sums;

/// The list of digests, as sha256sum(1) writes it.
pub const SUMS: &str = "SHA256SUMS";

/// The largest list that is read.
const MOST_SUMS: u64 = 4 << 20;

/// The largest signature that is read.
const MOST_SIGNATURE: u64 = 64 << 10;

/// What the published bytes of an image must be.
#[derive(Default)]
pub struct Expected {
    /// Their SHA-256, in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// What was signed, where the signature is of the image itself.
    pub claim: Option<Claim>,
}

/// A list as it was published, and what vouches for it.
#[derive(Debug, Clone)]
pub struct Listing {
    /// What it lists.
    pub sums: Sums,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The names and bytes of the signatures that count; none where the policy asks for none.
    pub signatures: Vec<(String, Vec<u8>)>,
}

/// What decides about trust on this machine.
#[derive(Debug, Clone)]
pub struct Judge {
    policy: Option<Policy>,
    keys: Keys,
    now: SystemTime,
}

impl Judge {
    /// Reads the keys where they matter.
    ///
    /// # Errors
    /// [`Error::Unverified`] if a key cannot be read.
    pub fn new(root: &abide_core::root::Root, trust: &Trust) -> Result<Self> {
        let keys = match trust.policy {
            Some(Policy::Digest | Policy::None) => Keys::default(),
            None | Some(Policy::Signature) => Keys::load(root)?,
        };
        let policy = trust.policy.or_else(|| (!keys.is_empty()).then_some(Policy::Signature));
        if policy == Some(Policy::Signature) && keys.is_empty() {
            return Err(Error::Unverified(
                "images must be signed, but no key is installed; put one into /etc/abide/keys".into(),
            ));
        }
        Ok(Self { policy, keys, now: SystemTime::now() })
    }

    /// What the image `name` in `folder` must be; `given` is the digest that the user gave. An image
    /// that lies in no folder (standard input) can only have that.
    ///
    /// # Errors
    /// [`Error::Unverified`] if the policy asks for more than there is, [`Error::Image`] if the
    /// folder cannot be read.
    pub fn expected(&self, name: &str, folder: Option<&Folder>, given: Option<&str>) -> Result<Expected> {
        let expected = match self.policy {
            Some(Policy::Signature) => self.signed(name, folder)?,
            _ if given.is_some() => Expected::default(),
            Some(Policy::None) => Expected::default(),
            Some(Policy::Digest) => self.listed(name, folder)?.ok_or_else(|| no_digest(name))?,
            None => match self.listed(name, folder)? {
                Some(listed) => listed,
                // Who names a file of this machine has decided about it; who names a server has not.
                None if folder.is_none_or(|folder| !folder.is_remote()) => Expected::default(),
                None => {
                    // That it is not there at all is the better thing to say.
                    folder.map_or(Ok(()), |folder| folder.must_have(name))?;
                    return Err(no_digest(name));
                }
            },
        };
        match (given, &expected.sha256) {
            (Some(given), Some(listed)) if given != listed => Err(Error::Unverified(format!(
                "{name}: {SUMS} says that its SHA-256 is {listed}, not the one that was given"
            ))),
            (Some(given), _) => Ok(Expected { sha256: Some(given.to_owned()), ..expected }),
            (None, _) => Ok(expected),
        }
    }

    /// The list of `folder`, trusted as far as the policy asks.
    ///
    /// # Errors
    /// As [`Judge::expected`], and if there is none.
    pub fn sums(&self, folder: &Folder) -> Result<Sums> {
        Ok(self.vouch(folder, read_sums(folder)?)?.sums)
    }

    /// Whether the list that was read from `folder` may be trusted; reads the signatures beside it.
    ///
    /// # Errors
    /// As [`Judge::sums`].
    pub fn vouch(&self, folder: &Folder, bytes: Vec<u8>) -> Result<Listing> {
        let signatures = match self.policy {
            Some(Policy::Signature) => vec![self.check_signature(folder, &bytes)?],
            _ => vec![],
        };
        Ok(Listing { sums: self.parse_sums(folder, &bytes)?, bytes, signatures })
    }

    /// Signed by itself, else by way of the list.
    fn signed(&self, name: &str, folder: Option<&Folder>) -> Result<Expected> {
        let folder = folder.ok_or_else(|| {
            Error::Unverified(format!(
                "{name}: images must be signed, and there is no signature beside it; give a file or a URL"
            ))
        })?;
        if let Some(claim) = self.claim(name, folder)? {
            return Ok(Expected { sha256: None, claim: Some(claim) });
        }
        let bytes = folder.read(SUMS, MOST_SUMS)?.ok_or_else(|| {
            Error::Unverified(format!(
                "{folder}: {name} is not signed; images must be signed here, by {SUMS} with {SUMS}.gpg or \
                 {SUMS}.minisig, or by {name}.minisig"
            ))
        })?;
        self.check_signature(folder, &bytes)?;
        let sums = self.parse_sums(folder, &bytes)?;
        let digest = sums.get(name).ok_or_else(|| {
            Error::Unverified(format!("{folder}: its {SUMS} is signed, but does not list {name}"))
        })?;
        Ok(Expected { sha256: Some(digest.to_owned()), claim: None })
    }

    /// The signature of the image itself, if there is one.
    fn claim(&self, name: &str, folder: &Folder) -> Result<Option<Claim>> {
        if self.keys.minisign.is_empty() {
            return Ok(None);
        }
        let file = format!("{name}.minisig");
        let Some(signature) = folder.read(&file, MOST_SIGNATURE)? else { return Ok(None) };
        let claim = Claim::new(&self.keys.minisign, &signature)
            .map_err(|e| Error::Unverified(format!("{folder}: the signature {file} {e}")))?;
        info!("{name}: signed by {}", claim.signer());
        Ok(Some(claim))
    }

    fn listed(&self, name: &str, folder: Option<&Folder>) -> Result<Option<Expected>> {
        let Some(folder) = folder else { return Ok(None) };
        let Some(bytes) = folder.read(SUMS, MOST_SUMS)? else { return Ok(None) };
        let sums = self.parse_sums(folder, &bytes)?;
        Ok(sums.get(name).map(|digest| Expected { sha256: Some(digest.to_owned()), claim: None }))
    }

    fn parse_sums(&self, folder: &Folder, bytes: &[u8]) -> Result<Sums> {
        let sums = Sums::parse(bytes).map_err(|e| Error::Unverified(format!("{folder}: its {SUMS}: {e}")))?;
        let today = Timestamp::try_from(self.now).map(|now| now.to_zoned(TimeZone::UTC).date());
        match today.ok().and_then(|today| sums.expired(today)) {
            Some(day) => Err(Error::Unverified(format!(
                "{folder}: its {SUMS} was to be used until {day}; it may hold back newer versions"
            ))),
            None => Ok(sums),
        }
    }

    /// One good signature of one installed key is enough, so that keys can change over. Returns its file.
    fn check_signature(&self, folder: &Folder, bytes: &[u8]) -> Result<(String, Vec<u8>)> {
        let mut problems = Vec::new();
        let file = format!("{SUMS}.minisig");
        if let Some(signature) = self.read_if(!self.keys.minisign.is_empty(), folder, &file)? {
            let claim = Claim::new(&self.keys.minisign, &signature);
            match claim.and_then(|claim| claim.verify(bytes).map(|()| claim)) {
                Ok(claim) => {
                    signed_by(folder, claim.signer());
                    return Ok((file, signature));
                }
                Err(e) => problems.push(format!("the signature {file} {e}")),
            }
        }
        let file = format!("{SUMS}.gpg");
        if let Some(signature) = self.read_if(!self.keys.openpgp.is_empty(), folder, &file)? {
            match openpgp::verify(&self.keys.openpgp, bytes, &signature, self.now) {
                Ok(signer) => {
                    signed_by(folder, &signer);
                    return Ok((file, signature));
                }
                Err(e) => problems.push(format!("the signature {file} {e}")),
            }
        }
        if problems.is_empty() {
            problems.push(format!("its {SUMS} is not signed in a way that the installed keys could check"));
        }
        Err(Error::Unverified(format!("{folder}: {}", problems.join("; "))))
    }

    fn read_if(&self, wanted: bool, folder: &Folder, file: &str) -> Result<Option<Vec<u8>>> {
        if wanted { folder.read(file, MOST_SIGNATURE) } else { Ok(None) }
    }
}

/// The list of `folder`, which nobody has vouched for yet.
///
/// # Errors
/// [`Error::Image`] if there is none, or it cannot be read.
pub fn read_sums(folder: &Folder) -> Result<Vec<u8>> {
    folder.read(SUMS, MOST_SUMS)?.ok_or_else(|| {
        Error::Image(format!("{folder}: there is no {SUMS} in it, so it is no folder of images"))
    })
}

fn signed_by(folder: &Folder, signer: &str) {
    info!("{folder}: {SUMS} is signed by {signer}");
}

fn no_digest(name: &str) -> Error {
    Error::Unverified(format!(
        "{name}: nothing says what its bytes must be; give --sha256, publish {SUMS} beside it, or set \
         policy = \"none\" in [trust] of the configuration"
    ))
}

/// The day of a moment, in UTC, for messages.
fn day_of(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|e| e.to_string(), |t| t.to_zoned(TimeZone::UTC).date().to_string())
}
