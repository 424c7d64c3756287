//! The rule by which firmware and shim start an executable or not (EDK2, `DxeImageVerificationHandler`; shim,
//! `verify_buffer`). Pure, except that it reads the executable.

use std::io::{self, Read, Seek};

use crate::boot::secure_boot::certificate::Certificate;
use crate::boot::secure_boot::firmware::Enforcing;
use crate::boot::secure_boot::hash::Hash;
use crate::boot::secure_boot::lists::KeyList;
use crate::boot::secure_boot::pe::Executable;
use crate::boot::secure_boot::signature::{Signature, Unusable};

/// The longest chain of certificates that is followed.
const MOST_ISSUERS: usize = 8;

/// Whether an executable is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Starts,
    /// It is not, for this reason and with this remedy.
    Refused(String),
    /// That cannot be told, for this reason.
    Unknown(String),
}

/// An executable, as far as the rule asks for it.
struct Signed {
    digests: Vec<(Hash, Vec<u8>)>,
    signatures: Vec<Result<Signature, Unusable>>,
}

/// Whether firmware with these lists starts the executable.
///
/// # Errors
/// If `file` cannot be read.
pub fn judge(firmware: &Enforcing, file: &mut (impl Read + Seek)) -> io::Result<Verdict> {
    let signed = Signed::read(file, firmware)?;
    Ok(signed.map_or_else(|| Verdict::Refused(DAMAGED.into()), |signed| firmware.judge(&signed)))
}

const DAMAGED: &str = "its headers or its table of signatures are damaged; build and sign it again";

impl Signed {
    /// `None` if it is damaged.
    fn read(file: &mut (impl Read + Seek), firmware: &Enforcing) -> io::Result<Option<Self>> {
        let Some(executable) = Executable::read(file)? else { return Ok(None) };
        let Some(signatures) = executable.signatures(file)? else { return Ok(None) };
        let signatures: Vec<_> = signatures.iter().map(|bytes| Signature::parse(bytes)).collect();
        let mut hashes = vec![Hash::Sha256];
        hashes.extend(signatures.iter().flatten().map(|signature| signature.hash));
        hashes.extend(firmware.all().flat_map(|(_, list)| &list.digests).map(|(hash, _)| *hash));
        hashes.sort_unstable();
        hashes.dedup();
        let digest = |hash| Ok((hash, executable.digest(hash, file)?));
        let digests = hashes.into_iter().map(digest).collect::<io::Result<Vec<_>>>()?;
        Ok(Some(Self { digests, signatures }))
    }

    fn is_listed(&self, list: &KeyList) -> bool {
        self.digests.iter().any(|digest| list.digests.contains(digest))
    }
}

impl Enforcing {
    fn trusted(&self) -> impl Iterator<Item = (&'static str, &KeyList)> {
        [("db", &self.db)].into_iter().chain(self.mok.iter().map(|(mok, _)| ("MokListRT", mok)))
    }

    fn revoked(&self) -> impl Iterator<Item = (&'static str, &KeyList)> {
        [("dbx", &self.dbx)].into_iter().chain(self.mok.iter().map(|(_, mokx)| ("MokListXRT", mokx)))
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, &KeyList)> {
        self.trusted().chain(self.revoked())
    }

    fn judge(&self, signed: &Signed) -> Verdict {
        if let Some((name, _)) = self.revoked().find(|(_, list)| signed.is_listed(list)) {
            return Verdict::Refused(format!("{name} revokes its digest; use a newer image"));
        }
        let fits =
            |signature: &&Signature| signed.digests.contains(&(signature.hash, signature.digest.clone()));
        let fitting: Vec<&Signature> = signed.signatures.iter().flatten().filter(fits).collect();
        if let Some(why) = fitting.iter().find_map(|signature| self.revocation(signature)) {
            return Verdict::Refused(why);
        }
        let is_trusted = |signature: &&Signature| self.anchor(signature).is_some();
        if self.trusted().any(|(_, list)| signed.is_listed(list)) || fitting.iter().any(is_trusted) {
            return Verdict::Starts;
        }
        self.unknown(signed, &fitting).unwrap_or_else(|| Verdict::Refused(self.why_not(signed, &fitting)))
    }

    /// The certificate in a trusted list that a signature leads to.
    fn anchor(&self, signature: &Signature) -> Option<&Certificate> {
        let chain = chain(signature);
        let mut trusted = self.trusted().flat_map(|(_, list)| &list.certificates);
        trusted.find(|anchor| chain.iter().any(|c| anchor.is(c) || anchor.issued(c)))
    }

    /// Why a signature is revoked, if it is.
    fn revocation(&self, signature: &Signature) -> Option<String> {
        let chain = chain(signature).into_iter().chain(self.anchor(signature));
        for certificate in chain {
            for (name, list) in self.revoked() {
                let by = list.certificates.iter().find(|c| c.is(certificate) || c.issued(certificate));
                // When it was signed is not known here: with a time stamp that may be before the revocation.
                let by_digest = list.revoked.iter().any(|revoked| {
                    revoked.digest == certificate.hash_of_signed(revoked.hash)
                        && !(revoked.has_time && signature.has_unsigned_attributes)
                });
                let revoked = by.or_else(|| by_digest.then_some(certificate));
                if let Some(revoked) = revoked {
                    return Some(format!(
                        "{name} revokes the certificate '{}', by which it is signed; sign it with another key",
                        revoked.name()
                    ));
                }
            }
        }
        None
    }

    /// The reason for which a signature that is not found to be trusted may be so all the same.
    fn unknown(&self, signed: &Signed, fitting: &[&Signature]) -> Option<Verdict> {
        let unsupported = signed.signatures.iter().find_map(|signature| match signature {
            Err(Unusable::Unsupported(what)) => Some(format!("{what} is not supported")),
            _ => None,
        });
        let strange = || {
            let last = fitting
                .iter()
                .find_map(|signature| chain(signature).pop().filter(|c| c.is_signed_strangely()));
            last.map(|c| {
                format!("the algorithm by which the certificate '{}' is signed is not supported", c.name())
            })
        };
        let incomplete = || {
            let list = self.trusted().find(|(_, list)| list.is_incomplete && !fitting.is_empty());
            list.map(|(name, _)| format!("{name} has certificates that cannot be read"))
        };
        unsupported.or_else(strange).or_else(incomplete).map(Verdict::Unknown)
    }

    fn why_not(&self, signed: &Signed, fitting: &[&Signature]) -> String {
        let lists = if self.mok.is_some() { "db or MokListRT" } else { "db" };
        if let Some(signature) = fitting.first() {
            let remedy =
                if self.mok.is_some() { ", or enrol its certificate with `mokutil --import`" } else { "" };
            return format!(
                "the certificate '{}', by which it is signed, is not in {lists} and not issued by one there; sign it \
                 with a key whose certificate is in {lists}{remedy}",
                signature.signer.name()
            );
        }
        if signed.signatures.is_empty() {
            return format!(
                "it is not signed; sign it with `sbsign` and a key whose certificate is in {lists}"
            );
        }
        let signer = signed.signatures.iter().flatten().next().map(|s| format!(" of '{}'", s.signer.name()));
        format!(
            "the signature{} does not fit it: it was changed after it was signed, or the signature is damaged; sign it \
             again, as the last step of its build",
            signer.unwrap_or_default()
        )
    }
}

/// The signer's certificate and its issuers, as far as the signature brings them.
fn chain(signature: &Signature) -> Vec<&Certificate> {
    let mut chain = vec![&signature.signer];
    while let Some(last) = chain.last().copied()
        && chain.len() < MOST_ISSUERS
        && let Some(issuer) = signature.certificates.iter().find(|c| c.issued(last) && !chain.contains(c))
    {
        chain.push(issuer);
    }
    chain
}
