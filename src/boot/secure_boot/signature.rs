//! Authenticode signatures: PKCS #7 with the digest of the executable in it (Microsoft, "Windows Authenticode Portable
//! Executable Signature Format").

use crate::boot::secure_boot::certificate::Certificate;
use crate::boot::secure_boot::der::{INTEGER, OCTET_STRING, OID, SEQUENCE, SET, Values, context};
use crate::boot::secure_boot::hash::Hash;

/// `signedData`, 1.2.840.113549.1.7.2
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// `SPC_INDIRECT_DATA_OBJID`, 1.3.6.1.4.1.311.2.1.4
const INDIRECT_DATA: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x04];
/// `messageDigest`, 1.2.840.113549.1.9.4
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];

/// The most certificates in one signature. Each may have to be verified.
const MOST_CERTIFICATES: usize = 32;

/// Why a signature cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// Its structure is damaged, or the signature is not that of the signer.
    Damaged,
    /// It uses something that is not supported here; firmware may support it.
    Unsupported(&'static str),
}

/// A signature that is the signer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The digest of the executable.
    pub hash: Hash,
    pub digest: Vec<u8>,
    pub signer: Certificate,
    /// All certificates that it brings.
    pub certificates: Vec<Certificate>,
    /// It may have a time stamp.
    pub has_unsigned_attributes: bool,
}

/// The one who signed, and what.
struct Signer<'a> {
    issuer: &'a [u8],
    serial: &'a [u8],
    digest_algorithm: &'a [u8],
    /// With tag and length.
    attributes: &'a [u8],
    signature_algorithm: &'a [u8],
    signature: &'a [u8],
    has_unsigned_attributes: bool,
}

impl Signature {
    /// Parses PKCS #7 and verifies that it is what its signer has signed.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unusable> {
        let (content, certificates, signer) = parts(bytes).ok_or(Unusable::Damaged)?;
        let (hash, digest) = indirect_digest(content).ok_or(Unusable::Damaged)?;
        let hash = Hash::of_digest(hash).ok_or(Unusable::Unsupported("the hash of the executable"))?;
        if certificates.len() > MOST_CERTIFICATES {
            return Err(Unusable::Unsupported("the number of certificates"));
        }
        let is_signer = |c: &&Certificate| c.issuer == signer.issuer && c.serial == signer.serial;
        let certificate = certificates.iter().find(is_signer).ok_or(Unusable::Damaged)?.clone();
        signer.verify(&certificate, content)?;
        let has_unsigned_attributes = signer.has_unsigned_attributes;
        let digest = digest.to_vec();
        Ok(Self { hash, digest, signer: certificate, certificates, has_unsigned_attributes })
    }
}

/// The signed content, the certificates that can be parsed, and the only signer.
fn parts(bytes: &[u8]) -> Option<(&[u8], Vec<Certificate>, Signer<'_>)> {
    let mut outer = Values::new(bytes).enter(SEQUENCE)?;
    outer.read(OID).filter(|oid| oid.content == SIGNED_DATA)?;
    let mut fields = outer.enter(context(0))?.enter(SEQUENCE)?;
    let _version = fields.read(INTEGER)?;
    let _digest_algorithms = fields.read(SET)?;
    let mut encapsulated = fields.enter(SEQUENCE)?;
    encapsulated.read(OID).filter(|oid| oid.content == INDIRECT_DATA)?;
    let content = encapsulated.enter(context(0))?.read(SEQUENCE)?.content;
    let certificates = fields.read_if(context(0)).map(|certificates| {
        let all = Values::new(certificates.content).take(MOST_CERTIFICATES + 1);
        all.filter_map(|certificate| Certificate::parse(certificate.whole)).collect()
    });
    let _revocations = fields.read_if(context(1));
    let mut signers = fields.enter(SET)?;
    let signer = signer(signers.read(SEQUENCE)?.content)?;
    // The specification allows one signer.
    signers.next().is_none().then_some((content, certificates.unwrap_or_default(), signer))
}

fn signer(bytes: &[u8]) -> Option<Signer<'_>> {
    let mut fields = Values::new(bytes);
    let _version = fields.read(INTEGER)?;
    let mut id = fields.enter(SEQUENCE)?;
    Some(Signer {
        issuer: id.read(SEQUENCE)?.whole,
        serial: id.read(INTEGER)?.content,
        digest_algorithm: fields.enter(SEQUENCE)?.read(OID)?.content,
        attributes: fields.read(context(0))?.whole,
        signature_algorithm: fields.enter(SEQUENCE)?.read(OID)?.content,
        signature: fields.read(OCTET_STRING)?.content,
        has_unsigned_attributes: fields.read_if(context(1)).is_some(),
    })
}

/// Algorithm and digest of the executable in `SpcIndirectDataContent`.
fn indirect_digest(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = Values::new(content);
    let _data = fields.read(SEQUENCE)?;
    let mut digest = fields.enter(SEQUENCE)?;
    let algorithm = digest.enter(SEQUENCE)?.read(OID)?.content;
    Some((algorithm, digest.read(OCTET_STRING)?.content))
}

impl Signer<'_> {
    /// Verifies that the key of `certificate` has signed `content`.
    fn verify(&self, certificate: &Certificate, content: &[u8]) -> Result<(), Unusable> {
        let hash = Hash::of_digest(self.digest_algorithm);
        let hash = hash.ok_or(Unusable::Unsupported("the hash of the signature"))?;
        let is_supported = certificate.key.is_rsa()
            && (self.signature_algorithm == certificate.key.algorithm
                || Hash::of_signature(self.signature_algorithm) == Some(hash));
        if !is_supported {
            return Err(Unusable::Unsupported("the algorithm of the signature"));
        }
        if !hash.is_verifiable(self.signature) {
            return Err(Unusable::Unsupported(
                "a signature with SHA-384 and an RSA key of less than 2048 bits",
            ));
        }
        // What is signed is the set itself, not the field of the structure (RFC 2315, 9.3).
        let mut signed = self.attributes.to_vec();
        if let Some(tag) = signed.first_mut() {
            *tag = SET;
        }
        let is_content = self.message_digest().is_some_and(|digest| digest == hash.of(content));
        if is_content && certificate.key.verifies(hash, &signed, self.signature) {
            Ok(())
        } else {
            Err(Unusable::Damaged)
        }
    }

    fn message_digest(&self) -> Option<&[u8]> {
        let attributes = Values::new(self.attributes).next()?;
        Values::new(attributes.content).find_map(|attribute| {
            let mut fields = Values::new(attribute.content);
            fields.read(OID).filter(|oid| oid.content == MESSAGE_DIGEST)?;
            Some(fields.enter(SET)?.read(OCTET_STRING)?.content)
        })
    }
}
