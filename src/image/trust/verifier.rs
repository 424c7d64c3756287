//! What the configuration and the installed keys require of an image.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use log::info;

use crate::config::{Trust, TrustPolicy};
use crate::image::folder::Folder;
use crate::image::names::SUMS;
use crate::image::trust::keys::Keys;
use crate::image::trust::minisign::Claim;
use crate::image::trust::openpgp;
use crate::image::trust::sums::Sums;
use abide_core::error::{Error, Result};
use abide_core::root::Root;

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

/// A list that satisfies the policy, and its valid signatures.
#[derive(Debug, Clone)]
pub struct VerifiedSums {
    /// The list.
    pub sums: Sums,
    /// Its bytes as they were published.
    pub bytes: Vec<u8>,
    /// The names and bytes of its valid signatures; empty if the policy requires none.
    pub signatures: Vec<(String, Vec<u8>)>,
}

/// Verifies images by the policy and the keys of this machine.
#[derive(Debug, Clone)]
pub struct Verifier {
    policy: Option<TrustPolicy>,
    keys: Keys,
    now: SystemTime,
}

impl Verifier {
    /// Reads the keys, if the policy needs them.
    ///
    /// # Errors
    /// [`Error::Unverified`] if a key cannot be read.
    pub fn new(root: &Root, trust: &Trust) -> Result<Self> {
        let keys = match trust.policy {
            Some(TrustPolicy::Digest | TrustPolicy::None) => Keys::default(),
            None | Some(TrustPolicy::Signature) => Keys::load(root)?,
        };
        let policy = trust.policy.or_else(|| (!keys.is_empty()).then_some(TrustPolicy::Signature));
        if policy == Some(TrustPolicy::Signature) && keys.is_empty() {
            return Err(Error::Unverified(
                "images must be signed, but no key is installed; install one in /etc/abide/keys".into(),
            ));
        }
        Ok(Self { policy, keys, now: SystemTime::now() })
    }

    /// The expected digest or signature of the image `name` in `folder`; `given` is the digest that the user
    /// gave, the only source for an image without a folder (standard input).
    ///
    /// # Errors
    /// [`Error::Unverified`] if the policy requires a digest or signature that is missing, [`Error::Image`] if the
    /// folder cannot be read.
    pub fn expected(&self, name: &str, folder: Option<&Folder>, given: Option<&str>) -> Result<Expected> {
        let expected = match self.policy {
            Some(TrustPolicy::Signature) => self.signed(name, folder)?,
            _ if given.is_some() => Expected::default(),
            Some(TrustPolicy::None) => Expected::default(),
            Some(TrustPolicy::Digest) => self.listed(name, folder)?.ok_or_else(|| no_digest(name))?,
            None => match self.listed(name, folder)? {
                Some(listed) => listed,
                // A local file is trusted because the user chose it; a file of a server is not.
                None if folder.is_none_or(|folder| !folder.is_remote()) => Expected::default(),
                None => {
                    // If the image itself is missing, that is the better error.
                    folder.map_or(Ok(()), |folder| folder.must_have(name))?;
                    return Err(no_digest(name));
                }
            },
        };
        match (given, &expected.sha256) {
            (Some(given), Some(listed)) if given != listed => Err(Error::Unverified(format!(
                "{name}: {SUMS} lists the SHA-256 {listed}, not the one given"
            ))),
            (Some(given), _) => Ok(Expected { sha256: Some(given.to_owned()), ..expected }),
            (None, _) => Ok(expected),
        }
    }

    /// The list of `folder`, verified as the policy requires.
    ///
    /// # Errors
    /// As [`Verifier::expected`], and if there is none.
    pub fn sums(&self, folder: &Folder) -> Result<Sums> {
        Ok(self.verify(folder, read_sums(folder)?)?.sums)
    }

    /// Verifies a list that was read from `folder`; reads its signatures from there.
    ///
    /// # Errors
    /// As [`Verifier::sums`].
    pub fn verify(&self, folder: &Folder, bytes: Vec<u8>) -> Result<VerifiedSums> {
        let signatures = match self.policy {
            Some(TrustPolicy::Signature) => vec![self.check_signature(folder, &bytes)?],
            _ => vec![],
        };
        Ok(VerifiedSums { sums: self.parse_sums(folder, &bytes)?, bytes, signatures })
    }

    /// Signed itself, or listed in a signed list.
    fn signed(&self, name: &str, folder: Option<&Folder>) -> Result<Expected> {
        let folder = folder.ok_or_else(|| {
            Error::Unverified(format!(
                "{name}: images must be signed, and this one has no signature; give a file or a URL"
            ))
        })?;
        if let Some(claim) = self.claim(name, folder)? {
            return Ok(Expected { sha256: None, claim: Some(claim) });
        }
        let bytes = folder.read(SUMS, MOST_SUMS)?.ok_or_else(|| {
            Error::Unverified(format!(
                "{folder}: {name} is not signed, but must be; publish {name}.minisig, or {SUMS} with {SUMS}.gpg or \
                 {SUMS}.minisig"
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
                "{folder}: its {SUMS} expired on {day}; it may hide newer versions"
            ))),
            None => Ok(sums),
        }
    }

    /// One valid signature by one installed key is enough, so that keys can be rotated. Returns its name and bytes.
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
            problems.push(format!("its {SUMS} is not signed by an installed key"));
        }
        Err(Error::Unverified(format!("{folder}: {}", problems.join("; "))))
    }

    fn read_if(&self, wanted: bool, folder: &Folder, file: &str) -> Result<Option<Vec<u8>>> {
        if wanted { folder.read(file, MOST_SIGNATURE) } else { Ok(None) }
    }
}

/// Reads the list of `folder` without verifying it.
///
/// # Errors
/// [`Error::Image`] if there is none, or it cannot be read.
pub fn read_sums(folder: &Folder) -> Result<Vec<u8>> {
    folder
        .read(SUMS, MOST_SUMS)?
        .ok_or_else(|| Error::Image(format!("{folder}: has no {SUMS}, so it is not a folder of images")))
}

fn signed_by(folder: &Folder, signer: &str) {
    info!("{folder}: {SUMS} is signed by {signer}");
}

fn no_digest(name: &str) -> Error {
    Error::Unverified(format!(
        "{name}: has neither a digest nor a signature; give --sha256, publish {SUMS} beside it, or set \
         policy = \"none\" in [trust] of the configuration"
    ))
}
