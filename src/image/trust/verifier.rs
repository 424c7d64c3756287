//! What the configuration and the installed keys require of an image.

use std::fmt::Display;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use log::info;

use crate::config::{Trust, TrustPolicy};
use crate::image::folder::Folder;
use crate::image::names::{Content, Name, RELEASE_SUMS, SUMS};
use crate::image::trust::carried::{Carried, blocks};
use crate::image::trust::keys::Keys;
use crate::image::trust::minisign::Claim;
use crate::image::trust::openpgp;
use crate::image::trust::proof::Proof;
use crate::image::trust::signer::Signer;
use crate::image::trust::sums::Sums;
use abide_core::error::{Error, Result};
use abide_core::root::Root;

/// The largest list that is read.
const MOST_SUMS: u64 = 4 << 20;

/// The largest signature that is read.
const MOST_SIGNATURE: u64 = 64 << 10;

/// The endings of signatures of a list: minisign's, and OpenPGP's, binary or armoured.
pub const SIGNATURES: [&str; 3] = [".minisig", ".gpg", ".asc"];

const NO_KEY: &str = "images must be signed, but no key is installed; install one in /etc/abide/keys, or set policy \
                      in [trust] of the configuration";

const ALL_REVOKED: &str = "images must be signed, but each installed key is revoked by /var/lib/abide/keys.toml; \
                           install a new one in /etc/abide/keys";

/// Who installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installer {
    /// Somebody who has named the image.
    ByHand,
    /// The update agent.
    Agent,
}

/// What the published bytes of an image must be.
#[derive(Default)]
pub struct Expected {
    /// Their SHA-256, in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// The length of a signature in front of the image, to which none of this applies.
    pub skip: u64,
    /// What was signed, where the signature is of the image itself.
    pub claim: Option<Claim>,
    /// What vouches for the image, once its bytes are as expected.
    pub proof: Proof,
    /// The list that vouches for it.
    pub list: Option<VerifiedSums>,
}

/// Names and bytes of signatures.
type SignatureFiles = Vec<(String, Vec<u8>)>;

/// The signatures of a list, as far as they were checked.
#[derive(Default)]
struct CheckedSignatures {
    valid: SignatureFiles,
    signers: Vec<Signer>,
    problems: Vec<String>,
}

/// A list that satisfies the policy, and its valid signatures.
#[derive(Debug, Clone)]
pub struct VerifiedSums {
    /// The list.
    pub sums: Sums,
    /// Its bytes as they were published.
    pub bytes: Vec<u8>,
    /// The names and bytes of its valid signatures, as of `SHA256SUMS`; empty if the policy requires none.
    pub signatures: SignatureFiles,
    /// Who signed it.
    pub signers: Vec<Signer>,
}

impl VerifiedSums {
    /// When it was signed, in seconds since 1970: the newest of its signatures counts.
    #[must_use]
    pub fn signed_at(&self) -> Option<u64> {
        self.signers.iter().filter_map(|signer| signer.time).max()
    }

    /// What vouches for the files in it.
    #[must_use]
    pub fn proof(&self) -> Proof {
        if self.signers.is_empty() { Proof::ListedDigest } else { signed(&self.signers) }
    }
}

/// Verifies images by the policy and the keys of this machine.
#[derive(Debug, Clone)]
pub struct Verifier {
    /// None: not configured, and no key is installed.
    policy: Option<TrustPolicy>,
    required: usize,
    keys: Keys,
    /// Why no signature can be verified: reported where one is needed, so that the agent can tell its source.
    unusable: Option<String>,
    now: SystemTime,
}

impl Verifier {
    /// Reads the keys, if the policy needs them. Without a policy, images must be signed wherever a key is installed, and
    /// always where the agent installs them.
    ///
    /// # Errors
    /// By hand: [`Error::Unverified`] if a key cannot be read, or none is installed and images must be signed. For the
    /// agent, that is an error of each verification.
    pub fn new(root: &Root, trust: &Trust, installer: Installer) -> Result<Self> {
        let keys = match trust.policy {
            Some(TrustPolicy::Digest | TrustPolicy::None) => Ok(Keys::default()),
            None | Some(TrustPolicy::Signature) => Keys::load(root),
        };
        let is_bare = keys.as_ref().is_ok_and(|keys| keys.is_empty() && !keys.is_revoked());
        let must_sign = installer == Installer::Agent || !is_bare;
        let policy = trust.policy.or_else(|| must_sign.then_some(TrustPolicy::Signature));
        let (keys, unusable) = match keys {
            Ok(keys) if policy == Some(TrustPolicy::Signature) && keys.is_empty() => {
                let why = if keys.is_revoked() { ALL_REVOKED } else { NO_KEY };
                (keys, Some(why.to_owned()))
            }
            Ok(keys) => (keys, None),
            Err(e) => (Keys::default(), Some(e.to_string())),
        };
        let required = usize::try_from(trust.required).unwrap_or(usize::MAX);
        let it = Self { policy, required, keys, unusable, now: SystemTime::now() };
        if installer == Installer::ByHand {
            it.can_verify()?;
        }
        Ok(it)
    }

    fn can_verify(&self) -> Result<()> {
        self.unusable.as_ref().map_or(Ok(()), |why| Err(Error::Unverified(why.clone())))
    }

    /// The expected digest or signature of the image `name` in `folder`; `given` is the digest that the user
    /// gave, the only source for an image without a folder (standard input).
    ///
    /// # Errors
    /// [`Error::Unverified`] if the policy requires a digest or signature that is missing, [`Error::Image`] if the
    /// folder cannot be read.
    pub fn expected(&self, name: &str, folder: Option<&Folder>, given: Option<&str>) -> Result<Expected> {
        let by_hand = || Expected { proof: Proof::GivenDigest, ..Expected::default() };
        let expected = match self.policy {
            Some(TrustPolicy::Signature) => self.signed(name, folder)?,
            _ if given.is_some() => by_hand(),
            Some(TrustPolicy::None) => Expected::default(),
            Some(TrustPolicy::Digest) => self.listed(name, folder)?.ok_or_else(|| no_digest(name))?,
            // A local file is trusted because the user chose it; a file of a server is not, nor is its list.
            None => match folder.filter(|folder| folder.is_remote()) {
                None => self.listed(name, folder)?.unwrap_or_default(),
                Some(folder) => {
                    // If the image itself is missing, that is the better error.
                    folder.must_have(name)?;
                    return Err(not_signed(name));
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

    /// Whether a signature that the image carries would be used: one is required, and a key is installed.
    #[must_use]
    pub fn needs_signature(&self) -> bool {
        self.policy == Some(TrustPolicy::Signature) && self.unusable.is_none()
    }

    /// What is expected of the image at `place` by the signature that it carries, and the name of its file in the signed
    /// list; `given` is the digest that the user gave.
    ///
    /// # Errors
    /// [`Error::Unverified`] if the signature is not valid, or is of something else than an image.
    pub fn carried(&self, place: &str, carried: &Carried, given: Option<&str>) -> Result<(Expected, String)> {
        let what = format!("{place}: the signature that it carries");
        let wrong = |why: &str| Error::Unverified(format!("{what}: {why}"));
        let mut checked = CheckedSignatures::default();
        for (file, signature) in &carried.signatures {
            self.check_signature(&mut checked, file, signature, &carried.list);
        }
        let (_, signers) = self.enough(checked, &what, SUMS)?;
        let sums = self.parse_sums(&what, SUMS, &carried.list)?;
        let is_image = |name: &&str| Name::parse(name).is_some_and(|name| name.content == Content::Disk);
        let mut images = sums.names().filter(is_image);
        let (Some(name), None) = (images.next(), images.next()) else {
            return Err(wrong("its list must name one image, <image>_<version>.raw.zst"));
        };
        let digest = sums.get(name).unwrap_or_default();
        if given.is_some_and(|given| given != digest) {
            return Err(wrong(&format!(
                "lists the SHA-256 {digest}, of everything behind the signature, not the one given"
            )));
        }
        let (sha256, proof) = (Some(digest.to_owned()), signed(&signers));
        Ok((Expected { sha256, proof, skip: carried.len, ..Expected::default() }, name.to_owned()))
    }

    /// The list of `folder`, verified as the policy requires.
    ///
    /// # Errors
    /// As [`Verifier::expected`], and if there is none.
    pub fn list(&self, folder: &Folder) -> Result<VerifiedSums> {
        self.verify(folder, read_sums(folder)?)
    }

    /// Verifies a list that was read from `folder`; reads its signatures from there.
    ///
    /// # Errors
    /// As [`Verifier::list`].
    pub fn verify(&self, folder: &Folder, bytes: Vec<u8>) -> Result<VerifiedSums> {
        self.can_verify()?;
        let (signatures, signers) = match self.policy {
            Some(TrustPolicy::Signature) => self.check_signatures(folder, &bytes)?,
            None if folder.is_remote() => return Err(not_signed(&folder.to_string())),
            _ => (vec![], vec![]),
        };
        Ok(VerifiedSums { sums: self.parse_sums(folder, folder.list(), &bytes)?, bytes, signatures, signers })
    }

    /// Signed itself, or listed in a signed list.
    fn signed(&self, name: &str, folder: Option<&Folder>) -> Result<Expected> {
        self.can_verify()?;
        let folder = folder.ok_or_else(|| {
            Error::Unverified(format!(
                "{name}: images must be signed, and this one has no signature; give a file or a URL"
            ))
        })?;
        if let Some(claim) = self.claim(name, folder)? {
            let proof = signed(&[claim.signer()]);
            return Ok(Expected { claim: Some(claim), proof, ..Expected::default() });
        }
        let (folder, bytes) = read_list_of(name, folder)?.ok_or_else(|| {
            Error::Unverified(format!(
                "{folder}: {name} is not signed, but must be; publish {name}.minisig, or {SUMS} with {SUMS}.gpg or \
                 {SUMS}.minisig"
            ))
        })?;
        let list = self.verify(&folder, bytes)?;
        let digest = list.sums.get(name).ok_or_else(|| {
            let file = folder.list();
            Error::Unverified(format!("{folder}: its {file} is signed, but does not list {name}"))
        })?;
        let (sha256, proof) = (Some(digest.to_owned()), list.proof());
        Ok(Expected { sha256, proof, list: Some(list), ..Expected::default() })
    }

    /// The signature of the image itself, if there is one; not where several are required, since it can have only one.
    fn claim(&self, name: &str, folder: &Folder) -> Result<Option<Claim>> {
        if self.keys.minisign.is_empty() || self.required > 1 {
            return Ok(None);
        }
        let file = format!("{name}.minisig");
        let Some(signature) = folder.read(&file, MOST_SIGNATURE)? else { return Ok(None) };
        let claim = Claim::new(&self.keys.minisign, &signature)
            .and_then(|claim| claim.refuse_future(self.now).map(|()| claim))
            .map_err(|e| Error::Unverified(format!("{folder}: the signature {file} {e}")))?;
        info!("{name}: signed by {}", claim.signer().file);
        Ok(Some(claim))
    }

    fn listed(&self, name: &str, folder: Option<&Folder>) -> Result<Option<Expected>> {
        let Some(folder) = folder else { return Ok(None) };
        let Some((folder, bytes)) = read_list_of(name, folder)? else { return Ok(None) };
        let sums = self.parse_sums(&folder, folder.list(), &bytes)?;
        Ok(sums.get(name).map(|digest| Expected {
            sha256: Some(digest.to_owned()),
            proof: Proof::ListedDigest,
            ..Expected::default()
        }))
    }

    fn parse_sums(&self, place: &dyn Display, list: &str, bytes: &[u8]) -> Result<Sums> {
        let sums = Sums::parse(bytes).map_err(|e| Error::Unverified(format!("{place}: its {list}: {e}")))?;
        let today = Timestamp::try_from(self.now).map(|now| now.to_zoned(TimeZone::UTC).date());
        match today.ok().and_then(|today| sums.expired(today)) {
            Some(day) => Err(Error::Unverified(format!(
                "{place}: its {list} expired on {day}; it may hide newer versions"
            ))),
            None => Ok(sums),
        }
    }

    /// The valid signatures of a list, and who made them.
    fn check_signatures(&self, folder: &Folder, bytes: &[u8]) -> Result<(SignatureFiles, Vec<Signer>)> {
        let (mut checked, list) = (CheckedSignatures::default(), folder.list());
        for ending in SIGNATURES {
            let file = format!("{list}{ending}");
            if checked.signers.len() >= self.required || !self.has_keys_for(&file) {
                continue;
            }
            if let Some(signature) = folder.read(&file, MOST_SIGNATURE)? {
                self.check_signature(&mut checked, &file, &signature, bytes);
            }
        }
        self.enough(checked, folder, list)
    }

    /// The valid signatures, if as many installed keys as are required have signed; with one, keys can be rotated.
    fn enough(
        &self,
        checked: CheckedSignatures,
        place: &dyn Display,
        list: &str,
    ) -> Result<(SignatureFiles, Vec<Signer>)> {
        let CheckedSignatures { valid, signers, mut problems } = checked;
        if signers.len() >= self.required {
            let by: Vec<&str> = signers.iter().map(|signer| signer.file.as_str()).collect();
            info!("{place}: {list} is signed by {}", by.join(" and "));
            return Ok((valid, signers));
        }
        if !signers.is_empty() {
            problems.push(format!(
                "its {list} is signed by {} of the {} keys that [trust] requires; have it signed by more of the installed keys",
                signers.len(),
                self.required
            ));
        } else if problems.is_empty() {
            problems.push(format!("its {list} is not signed by an installed key"));
        }
        Err(Error::Unverified(format!("{place}: {}", problems.join("; "))))
    }

    fn has_keys_for(&self, file: &str) -> bool {
        if file.ends_with(".minisig") {
            !self.keys.minisign.is_empty()
        } else {
            !self.keys.openpgp.is_empty()
        }
    }

    /// Checks the signatures in `file`, of `bytes`; does nothing if they are of a kind for which no key is installed.
    fn check_signature(&self, checked: &mut CheckedSignatures, file: &str, signature: &[u8], bytes: &[u8]) {
        if !self.has_keys_for(file) {
            return;
        }
        let mut is_valid = false;
        for block in blocks(signature) {
            let signers = if file.ends_with(".minisig") {
                let claim = Claim::new(&self.keys.minisign, block);
                claim.and_then(|claim| claim.verify(bytes, self.now)).map(|signer| vec![signer])
            } else {
                openpgp::verify(&self.keys.openpgp, bytes, block, self.now)
            };
            match signers {
                Ok(signers) => {
                    is_valid = true;
                    for signer in signers {
                        // A key counts once, however often it has signed.
                        if checked.signers.iter().all(|known| known.key != signer.key) {
                            checked.signers.push(signer);
                        }
                    }
                }
                Err(e) => checked.problems.push(format!("the signature {file} {e}")),
            }
        }
        if is_valid {
            checked.valid.push((canonical(file), signature.to_owned()));
        }
    }
}

/// Reads the list of `folder` without verifying it.
///
/// # Errors
/// [`Error::Image`] if there is none, or it cannot be read.
pub fn read_sums(folder: &Folder) -> Result<Vec<u8>> {
    folder.read(folder.list(), MOST_SUMS)?.ok_or_else(|| {
        Error::Image(format!("{folder}: has no {}, so it is not a folder of images", folder.list()))
    })
}

/// The list beside the image `name`: `SHA256SUMS`, or the one of its release, as mkosi writes it; with the folder that
/// has this list.
/// The name of a signature of `SHA256SUMS`, for one of a list that has another name.
fn canonical(file: &str) -> String {
    let ending = SIGNATURES.iter().find(|ending| file.ends_with(*ending));
    ending.map_or_else(|| file.to_owned(), |ending| format!("{SUMS}{ending}"))
}

fn read_list_of(name: &str, folder: &Folder) -> Result<Option<(Folder, Vec<u8>)>> {
    if let Some(bytes) = folder.read(folder.list(), MOST_SUMS)? {
        return Ok(Some((folder.clone(), bytes)));
    }
    let Some(stem) = Name::parse(name).map(|name| name.stem) else { return Ok(None) };
    let folder = folder.clone().with_list(&format!("{stem}{RELEASE_SUMS}"));
    Ok(folder.read(folder.list(), MOST_SUMS)?.map(|bytes| (folder, bytes)))
}

fn signed(by: &[Signer]) -> Proof {
    let mut names: Vec<String> = by.iter().map(|signer| signer.name().to_owned()).collect();
    names.sort_unstable();
    Proof::Signed(names)
}

fn no_digest(name: &str) -> Error {
    Error::Unverified(format!(
        "{name}: has neither a digest nor a signature; give --sha256, publish {SUMS} beside it, or set \
         policy = \"none\" in [trust] of the configuration"
    ))
}

fn not_signed(what: &str) -> Error {
    Error::Unverified(format!(
        "{what}: comes over a network, and no key is installed that could verify it; install one in /etc/abide/keys, \
         give --sha256 of an image, or set policy = \"digest\" in [trust] of the configuration"
    ))
}
