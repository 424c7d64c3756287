//! X.509 certificates, as far as firmware looks at them: it asks for no time and no purpose (EDK2, `Pkcs7Verify`).

use abide_core::text;

use crate::boot::secure_boot::der::{
    BIT_STRING, BOOLEAN, INTEGER, OCTET_STRING, OID, SEQUENCE, Values, context,
};
use crate::boot::secure_boot::hash::{Hash, PublicKey};

/// `commonName`, 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// `basicConstraints`, 2.5.29.19
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

/// How long a shown name may be.
const MOST_CHARS: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    whole: Vec<u8>,
    /// The part that is signed.
    signed: Vec<u8>,
    pub serial: Vec<u8>,
    pub issuer: Vec<u8>,
    subject: Vec<u8>,
    pub key: PublicKey,
    /// Object identifier of the algorithm.
    algorithm: Vec<u8>,
    signature: Vec<u8>,
    /// Whether it may issue others, if it says so.
    may_issue: Option<bool>,
}

impl Certificate {
    /// `None` if it is not a certificate.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let whole = Values::new(bytes).read(SEQUENCE)?;
        let mut parts = Values::new(whole.content);
        let signed = parts.read(SEQUENCE)?;
        let algorithm = parts.enter(SEQUENCE)?.read(OID)?.content;
        let signature = bits(parts.read(BIT_STRING)?.content)?;

        let mut fields = Values::new(signed.content);
        // The version.
        fields.read_if(context(0));
        let serial = fields.read(INTEGER)?.content;
        let _algorithm = fields.read(SEQUENCE)?;
        let issuer = fields.read(SEQUENCE)?.whole;
        let _validity = fields.read(SEQUENCE)?;
        let subject = fields.read(SEQUENCE)?.whole;
        let mut key = fields.enter(SEQUENCE)?;
        let algorithm_of_key = key.enter(SEQUENCE)?.read(OID)?.content;
        let bits_of_key = bits(key.read(BIT_STRING)?.content)?;
        let extensions = fields.find(|field| field.tag == context(3));
        Some(Self {
            whole: whole.whole.to_vec(),
            signed: signed.whole.to_vec(),
            serial: serial.to_vec(),
            issuer: issuer.to_vec(),
            subject: subject.to_vec(),
            key: PublicKey { algorithm: algorithm_of_key.to_vec(), key: bits_of_key.to_vec() },
            algorithm: algorithm.to_vec(),
            signature: signature.to_vec(),
            may_issue: extensions.and_then(|extensions| may_issue(extensions.content)),
        })
    }

    pub fn is(&self, other: &Self) -> bool {
        self.whole == other.whole
    }

    /// The hash by which a certificate is revoked.
    pub fn hash_of_signed(&self, hash: Hash) -> Vec<u8> {
        hash.of(&self.signed)
    }

    /// Whether this certificate's key signed `other`. A self-signed certificate has no other issuer (OpenSSL, `build_chain`).
    pub fn issued(&self, other: &Self) -> bool {
        let is_named = other.issuer == self.subject && other.issuer != other.subject;
        let hash = Hash::of_signature(&other.algorithm);
        // Without extensions only a root may (OpenSSL, `X509_check_ca`).
        let may_issue = self.may_issue.unwrap_or(self.issuer == self.subject);
        is_named
            && may_issue
            && hash.is_some_and(|hash| self.key.verifies(hash, &other.signed, &other.signature))
    }

    /// Whether the certificate names an issuer, but by an algorithm that is not supported here.
    pub fn is_signed_strangely(&self) -> bool {
        let hash = Hash::of_signature(&self.algorithm);
        self.issuer != self.subject && hash.is_none_or(|hash| !hash.is_verifiable(&self.signature))
    }

    /// The common name, for messages.
    pub fn name(&self) -> String {
        let name = common_name(&self.subject).unwrap_or_else(|| "a certificate without a name".into());
        text::printable(&name).chars().take(MOST_CHARS).collect()
    }
}

/// What the extensions say about issuing; `None` if they say nothing.
fn may_issue(extensions: &[u8]) -> Option<bool> {
    Values::new(extensions).enter(SEQUENCE)?.find_map(|extension| {
        let mut fields = Values::new(extension.content);
        fields.read(OID).filter(|oid| oid.content == BASIC_CONSTRAINTS)?;
        fields.read_if(BOOLEAN);
        let value = fields.read(OCTET_STRING)?;
        let constraints = Values::new(value.content).enter(SEQUENCE);
        Some(constraints.and_then(|mut c| c.read_if(BOOLEAN)).is_some_and(|ca| ca.content != [0]))
    })
}

/// The bytes of a bit string of whole bytes.
fn bits(content: &[u8]) -> Option<&[u8]> {
    content.strip_prefix(&[0])
}

/// The last one counts: names go from the general to the particular.
fn common_name(subject: &[u8]) -> Option<String> {
    let parts = Values::new(subject).enter(SEQUENCE)?;
    let names = parts.filter_map(|set| {
        let mut pair = Values::new(set.content).enter(SEQUENCE)?;
        pair.read(OID).filter(|oid| oid.content == COMMON_NAME)?;
        Some(String::from_utf8_lossy(pair.next()?.content).into_owned())
    });
    names.last()
}
