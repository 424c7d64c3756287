//! Detached OpenPGP signatures (RFC 9580), as gpg(1) makes them.

use std::time::{Duration, SystemTime};

use pgp::composed::{Deserializable, DetachedSignature, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, PublicParams, Tag, VerifyingKey};

use crate::image::trust::signer::{Signer, day_of, refuse_future};

/// Accepted digests of a signature; MD5, SHA-1, RIPEMD-160 and SHA-224 are too weak.
const HASHES: [HashAlgorithm; 5] = [
    HashAlgorithm::Sha256,
    HashAlgorithm::Sha384,
    HashAlgorithm::Sha512,
    HashAlgorithm::Sha3_256,
    HashAlgorithm::Sha3_512,
];

/// Accepted algorithms of a key.
const KINDS: [PublicKeyAlgorithm; 6] = [
    PublicKeyAlgorithm::RSA,
    PublicKeyAlgorithm::RSASign,
    PublicKeyAlgorithm::ECDSA,
    PublicKeyAlgorithm::EdDSALegacy,
    PublicKeyAlgorithm::Ed25519,
    PublicKeyAlgorithm::Ed448,
];

/// Bytes of the shortest accepted RSA modulus: 2048 bits.
const MIN_RSA_BYTES: usize = 256;

/// The most signatures in one file.
const MOST_SIGNATURES: usize = 16;

const ARMOR: &[u8] = b"-----BEGIN PGP";

/// A key that may sign images, with everything that was published with it.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The file it came from, for messages.
    pub file: String,
    key: SignedPublicKey,
}

/// Reads the keys of a keyring, binary or armoured.
///
/// # Errors
/// A sentence, if it holds none.
pub fn parse_keys(file: &str, bytes: &[u8]) -> Result<Vec<Certificate>, String> {
    if bytes.get(8..12) == Some(b"KBXf") {
        return Err("is a keybox of GnuPG; convert it with `gpg --export > FILE`".into());
    }
    let mut keys = Vec::new();
    for part in armored_blocks(bytes) {
        let found: Vec<_> = if part.starts_with(ARMOR) {
            SignedPublicKey::from_armor_many_buf(part).map_err(|e| e.to_string())?.0.collect()
        } else {
            SignedPublicKey::from_bytes_many(part).map_err(|e| e.to_string())?.collect()
        };
        for key in found {
            let key = key.map_err(|e| format!("cannot be read as OpenPGP keys: {e}"))?;
            keys.push(Certificate { file: file.to_owned(), key });
        }
    }
    if keys.is_empty() { Err("holds no OpenPGP key".into()) } else { Ok(keys) }
}

/// Splits concatenated armoured files.
fn armored_blocks(bytes: &[u8]) -> Vec<&[u8]> {
    if !bytes.trim_ascii_start().starts_with(ARMOR) {
        return vec![bytes];
    }
    let mut starts: Vec<usize> =
        bytes.windows(ARMOR.len()).enumerate().filter(|(_, w)| *w == ARMOR).map(|(at, _)| at).collect();
    starts.push(bytes.len());
    starts.windows(2).filter_map(|pair| bytes.get(*pair.first()?..*pair.last()?)).collect()
}

/// Merges the copies of one key, in one file or in several: what revokes or renews it may be in any of them.
#[must_use]
pub fn merge(keys: Vec<Certificate>) -> Vec<Certificate> {
    let mut merged: Vec<Certificate> = Vec::new();
    for new in keys {
        let known = merged.iter_mut().find(|k| k.key.fingerprint() == new.key.fingerprint());
        match known {
            Some(known) => known.add(new.key),
            None => merged.push(new),
        }
    }
    merged
}

/// Checks which of the signatures in `signature` were made by `keys` over `bytes`, with everything valid `now`. Returns
/// who signed, each once.
///
/// # Errors
/// A sentence with the reason why none is valid.
pub fn verify(
    keys: &[Certificate],
    bytes: &[u8],
    signature: &[u8],
    now: SystemTime,
) -> Result<Vec<Signer>, String> {
    if signature.trim_ascii().is_empty() {
        return Err("is empty".into());
    }
    let unreadable = |e: pgp::errors::Error| format!("cannot be read as an OpenPGP signature: {e}");
    let armored = signature.trim_ascii_start();
    let found: Vec<_> = if armored.starts_with(ARMOR) {
        DetachedSignature::from_armor_many_buf(armored).map_err(unreadable)?.0.collect()
    } else {
        DetachedSignature::from_bytes_many(signature).map_err(unreadable)?.collect()
    };
    if found.len() > MOST_SIGNATURES {
        return Err(format!("holds more than {MOST_SIGNATURES} signatures"));
    }
    let mut problem = "holds no readable signature (perhaps an unknown algorithm)".to_owned();
    let mut signers: Vec<Signer> = vec![];
    for signature in found {
        match check(keys, bytes, &signature.map_err(unreadable)?.signature, now) {
            Ok(signer) => signers.push(signer),
            Err(e) => problem = e,
        }
    }
    if signers.is_empty() { Err(problem) } else { Ok(signers) }
}

fn check(
    keys: &[Certificate],
    bytes: &[u8],
    signature: &Signature,
    now: SystemTime,
) -> Result<Signer, String> {
    let config = signature.config().ok_or("has an unknown version")?;
    if !HASHES.contains(&config.hash_alg) {
        return Err(format!("uses {}, which is unknown or too weak", config.hash_alg));
    }
    if !KINDS.contains(&config.pub_alg) {
        return Err(format!("uses {:?}, which is unknown or too weak", config.pub_alg));
    }
    if !matches!(config.typ, SignatureType::Binary | SignatureType::Text) {
        return Err("is not a signature of a file".into());
    }
    let unknown = |data: &SubpacketData| {
        matches!(
            data,
            SubpacketData::Other(..) | SubpacketData::Experimental(..) | SubpacketData::Notation(_)
        )
    };
    if config.hashed_subpackets().any(|p| p.is_critical && unknown(&p.data)) {
        return Err("has an unknown critical subpacket".into());
    }
    let created = signature.created().ok_or("has no creation time")?;
    if let Some(end) =
        end_of(created.as_secs(), signature.signature_expiration_time()).filter(|end| *end < now)
    {
        return Err(format!("expired on {}", day_of(end)));
    }
    refuse_future(u64::from(created.as_secs()), now)?;
    let mut problem = None;
    for certificate in keys {
        match certificate.check(bytes, signature, now) {
            Some(Ok(())) => {
                return Ok(Signer {
                    key: certificate.fingerprint(),
                    file: certificate.file.clone(),
                    time: Some(u64::from(created.as_secs())),
                });
            }
            Some(Err(e)) => problem = Some(e),
            None => {}
        }
    }
    Err(problem.unwrap_or_else(|| {
        let issuer = signature.issuer_fingerprint().first().map(|f| f.to_string());
        let issuer = issuer.or_else(|| signature.issuer_key_id().first().map(|id| id.to_string()));
        format!("was made by the key {}, which is not installed", name(&issuer.unwrap_or_default()))
    }))
}

fn name(fingerprint: &str) -> String {
    fingerprint.to_ascii_uppercase()
}

impl Certificate {
    /// Its fingerprint, in upper-case hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        name(&self.key.fingerprint().to_string())
    }

    /// Its fingerprint, and those of its subkeys.
    pub fn fingerprints(&self) -> impl Iterator<Item = String> {
        let subkeys =
            self.key.public_subkeys.iter().map(|subkey| name(&subkey.key.fingerprint().to_string()));
        std::iter::once(self.fingerprint()).chain(subkeys)
    }

    /// When it can sign for the last time; none: never. A time in the past: it cannot sign any more.
    #[must_use]
    pub fn ends(&self, now: SystemTime) -> Option<SystemTime> {
        let Ok(own) = self.primary_valid(now) else { return Some(SystemTime::UNIX_EPOCH) };
        let primary = end_of(self.key.primary_key.created_at().as_secs(), own.key_expiration_time());
        if self.primary_signs(now).is_ok() {
            return primary;
        }
        let subkeys = self.key.public_subkeys.iter().filter_map(|subkey| {
            let binding = self.subkey_signs(subkey, now).ok()?;
            Some(end_of(subkey.key.created_at().as_secs(), binding.key_expiration_time()))
        });
        let mut last = Some(SystemTime::UNIX_EPOCH);
        for end in subkeys {
            last = last.zip(end).map(|(a, b)| a.max(b));
        }
        match (primary, last) {
            (Some(primary), Some(last)) => Some(primary.min(last)),
            (primary, last) => primary.or(last),
        }
    }

    /// Adds what another copy of the same key says of it.
    fn add(&mut self, copy: SignedPublicKey) {
        let details = &mut self.key.details;
        details.revocation_signatures.extend(copy.details.revocation_signatures);
        details.direct_signatures.extend(copy.details.direct_signatures);
        details.users.extend(copy.details.users);
        for subkey in copy.public_subkeys {
            let same = |known: &&mut SignedPublicSubKey| known.key.fingerprint() == subkey.key.fingerprint();
            match self.key.public_subkeys.iter_mut().find(same) {
                Some(known) => known.signatures.extend(subkey.signatures),
                None => self.key.public_subkeys.push(subkey),
            }
        }
    }

    /// `None` if the signature is by another key.
    fn check(&self, bytes: &[u8], signature: &Signature, now: SystemTime) -> Option<Result<(), String>> {
        if made_by(signature, &self.key.primary_key) {
            return Some(
                self.primary_signs(now).and_then(|()| verifies(&self.key.primary_key, bytes, signature)),
            );
        }
        let subkey = self.key.public_subkeys.iter().find(|subkey| made_by(signature, &subkey.key))?;
        Some(
            self.primary_valid(now)
                .and_then(|_| self.subkey_signs(subkey, now))
                .and_then(|_| verifies(&subkey.key, bytes, signature)),
        )
    }

    fn primary_signs(&self, now: SystemTime) -> Result<(), String> {
        let own = self.primary_valid(now)?;
        // A key without flags may be used for everything that its algorithm supports.
        if has_flags(own) && !own.key_flags().sign() {
            return Err("was made by a key that may not sign data".into());
        }
        Ok(())
    }

    /// The newest valid signature of the key on itself.
    fn primary_valid(&self, now: SystemTime) -> Result<&Signature, String> {
        let (key, details) = (&self.key.primary_key, &self.key.details);
        if details.revocation_signatures.iter().any(|s| s.verify_key(key).is_ok()) {
            return Err("was made by a key that was revoked".into());
        }
        let direct = details
            .direct_signatures
            .iter()
            .filter(|s| s.typ() == Some(SignatureType::Key) && s.verify_key(key).is_ok());
        let certified = details.users.iter().flat_map(|user| {
            user.signatures.iter().filter(|s| {
                s.typ() != Some(SignatureType::CertRevocation)
                    && made_by(s, key)
                    && s.verify_certification(key, Tag::UserId, &user.id).is_ok()
            })
        });
        let own = direct.chain(certified).max_by_key(|s| s.created().map(|t| t.as_secs()));
        let own = own.ok_or("was made by a key without a valid self-signature")?;
        refuse_future(u64::from(key.created_at().as_secs()), now)?;
        not_expired(key.created_at().as_secs(), own, now)?;
        strong(key.public_params())?;
        Ok(own)
    }

    /// The newest valid signature that binds a signing subkey to the key.
    fn subkey_signs<'k>(
        &self,
        subkey: &'k SignedPublicSubKey,
        now: SystemTime,
    ) -> Result<&'k Signature, String> {
        let key = &self.key.primary_key;
        let valid = |s: &&Signature| s.verify_subkey_binding(key, &subkey.key).is_ok();
        let of = |typ| subkey.signatures.iter().filter(move |s| s.typ() == Some(typ)).filter(valid);
        if of(SignatureType::SubkeyRevocation).next().is_some() {
            return Err("was made by a key that was revoked".into());
        }
        let binding = of(SignatureType::SubkeyBinding).max_by_key(|s| s.created().map(|t| t.as_secs()));
        let binding = binding.ok_or("was made by a subkey without a valid binding signature")?;
        let back = binding.embedded_signature().ok_or("was made by a subkey that may not sign data")?;
        if !binding.key_flags().sign() || back.verify_primary_key_binding(&subkey.key, key).is_err() {
            return Err("was made by a subkey that may not sign data".into());
        }
        refuse_future(u64::from(subkey.key.created_at().as_secs()), now)?;
        not_expired(subkey.key.created_at().as_secs(), binding, now)?;
        strong(subkey.key.public_params())?;
        Ok(binding)
    }
}

fn made_by(signature: &Signature, key: &impl KeyDetails) -> bool {
    let (ids, prints) = (signature.issuer_key_id(), signature.issuer_fingerprint());
    if prints.is_empty() {
        return ids.contains(&&key.legacy_key_id());
    }
    prints.contains(&&key.fingerprint())
}

fn verifies(key: &impl VerifyingKey, bytes: &[u8], signature: &Signature) -> Result<(), String> {
    signature
        .verify(key, bytes)
        .map_err(|_| "does not match: the file or the signature was changed".to_owned())
}

fn has_flags(signature: &Signature) -> bool {
    let flags = |data: &SubpacketData| matches!(data, SubpacketData::KeyFlags(_));
    signature.config().is_some_and(|config| config.hashed_subpackets().any(|p| flags(&p.data)))
}

fn strong(params: &PublicParams) -> Result<(), String> {
    use pgp::ser::Serialize;
    match params {
        // Serialised as the modulus, the exponent and two lengths.
        PublicParams::RSA(rsa) if rsa.write_len() < MIN_RSA_BYTES + 4 => {
            Err("was made by an RSA key of less than 2048 bits".into())
        }
        _ => Ok(()),
    }
}

/// A key's lifetime counts from its creation (RFC 9580, 5.2.3.13).
fn not_expired(created: u32, own: &Signature, now: SystemTime) -> Result<(), String> {
    match end_of(created, own.key_expiration_time()).filter(|end| *end < now) {
        Some(end) => Err(format!("was made by a key that expired on {}", day_of(end))),
        None => Ok(()),
    }
}

fn end_of(created: u32, lifetime: Option<pgp::types::Duration>) -> Option<SystemTime> {
    let lifetime = lifetime.map(|d| d.as_secs()).filter(|seconds| *seconds > 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::from(created) + u64::from(lifetime)))
}
