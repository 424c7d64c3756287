//! The hash algorithms of lists and signatures.

use ring::digest::{self, Algorithm, Context};
use ring::signature::{self, RsaParameters, UnparsedPublicKey};

/// A hash algorithm that firmware supports. SHA-1 is not among them: no list or signature in use needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// `rsaEncryption`, 1.2.840.113549.1.1.1
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// The length of the signature of a key of 2048 bits: no shorter one is supported with SHA-384.
const LONG_RSA: usize = 256;

impl Hash {
    const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// By the object identifier of the hash (2.16.840.1.101.3.4.2.x).
    pub fn of_digest(oid: &[u8]) -> Option<Self> {
        let last = oid.strip_prefix(&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02])?;
        Self::ALL.into_iter().zip(1..).find(|(_, number)| last == [*number]).map(|(hash, _)| hash)
    }

    /// By the object identifier of the signature (`shaNNNWithRSAEncryption`, 1.2.840.113549.1.1.x).
    pub fn of_signature(oid: &[u8]) -> Option<Self> {
        let (last, arc) = oid.split_last()?;
        let is_rsa = RSA.split_last().is_some_and(|(_, rsa)| rsa == arc);
        Self::ALL.into_iter().zip(0x0b..).find(|(_, number)| is_rsa && last == number).map(|(hash, _)| hash)
    }

    pub fn size(self) -> usize {
        self.algorithm().output_len()
    }

    pub fn context(self) -> Context {
        Context::new(self.algorithm())
    }

    pub fn of(self, bytes: &[u8]) -> Vec<u8> {
        digest::digest(self.algorithm(), bytes).as_ref().to_vec()
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }

    /// Whether an RSA signature of this length can be verified here. Firmware accepts short keys with every hash.
    pub fn is_verifiable(self, signature: &[u8]) -> bool {
        self != Self::Sha384 || signature.len() >= LONG_RSA
    }

    /// Firmware accepts short RSA keys, too.
    fn rsa(self) -> &'static RsaParameters {
        match self {
            Self::Sha256 => &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            Self::Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Sha512 => &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        }
    }
}

/// A public key: its algorithm, and for RSA the `RSAPublicKey` of PKCS #1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    pub algorithm: Vec<u8>,
    pub key: Vec<u8>,
}

impl PublicKey {
    pub fn is_rsa(&self) -> bool {
        self.algorithm == RSA
    }

    /// Whether `signature` is this key's signature of `message`.
    pub fn verifies(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        self.is_rsa() && UnparsedPublicKey::new(hash.rsa(), &self.key).verify(message, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_short_key_with_sha384_cannot_be_verified() {
        let lengths = |hash: Hash| [128, 255, 256].map(|len| hash.is_verifiable(&vec![0; len]));
        assert_eq!(lengths(Hash::Sha384), [false, false, true]);
        assert_eq!((lengths(Hash::Sha256), lengths(Hash::Sha512)), ([true; 3], [true; 3]));
    }
}
