//! Signature lists of the firmware (UEFI specification 2.10, 32.4.1).

use uuid::{Uuid, uuid};

use crate::boot::secure_boot::certificate::Certificate;
use crate::boot::secure_boot::hash::Hash;

const X509: Uuid = uuid!("a5c059a1-94e4-4aa7-87b5-ab155c2bf072");

/// The digest of an executable.
const DIGESTS: [(Uuid, Hash); 3] = [
    (uuid!("c1c41626-504c-4092-aca9-41f936934328"), Hash::Sha256),
    (uuid!("ff3e5307-9fd0-48c9-85f1-8ad56c701e01"), Hash::Sha384),
    (uuid!("093e0fae-a6c4-4f50-9f1b-d41e2b89c19a"), Hash::Sha512),
];

/// The digest of the signed part of a certificate, and when it was revoked.
const CERTIFICATE_DIGESTS: [(Uuid, Hash); 3] = [
    (uuid!("3bd2a492-96c0-4079-b420-fcf98ef103ed"), Hash::Sha256),
    (uuid!("7076876e-80c2-4ee6-aad2-28b349a6865b"), Hash::Sha384),
    (uuid!("446dbf63-2502-4cda-bcfa-2465d2b0fe9d"), Hash::Sha512),
];

/// `EFI_TIME`
const TIME: usize = 16;

/// The owner before each signature.
const OWNER: usize = 16;

/// Type, and three sizes.
const HEADER: usize = 28;

/// A revoked certificate by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedCertificate {
    pub hash: Hash,
    pub digest: Vec<u8>,
    /// Only what was signed later is revoked.
    pub has_time: bool,
}

/// What a list trusts or revokes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyList {
    pub(super) certificates: Vec<Certificate>,
    pub(super) digests: Vec<(Hash, Vec<u8>)>,
    pub(super) revoked: Vec<RevokedCertificate>,
    /// It has certificates that cannot be parsed.
    pub(super) is_incomplete: bool,
}

impl KeyList {
    /// Parses the value of a variable such as `db`: lists one after the other. `None` if it is damaged.
    #[must_use]
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut found = Self::default();
        while !bytes.is_empty() {
            let size = word(bytes, 16)?;
            let (list, rest) = bytes.split_at_checked(size)?;
            let kind = Uuid::from_slice_le(list.get(..16)?).ok()?;
            let (header, each) = (word(list, 20)?, word(list, 24)?);
            let signatures = list.get(HEADER..)?.get(header..)?;
            if each < OWNER || signatures.len() % each != 0 {
                return None;
            }
            for signature in signatures.chunks_exact(each) {
                found.add(kind, signature.get(OWNER..)?);
            }
            bytes = rest;
        }
        Some(found)
    }

    fn add(&mut self, kind: Uuid, data: &[u8]) {
        if kind == X509 {
            match Certificate::parse(data) {
                Some(certificate) => self.certificates.push(certificate),
                None => self.is_incomplete = true,
            }
        } else if let Some(hash) = of(&DIGESTS, kind).filter(|hash| hash.size() == data.len()) {
            self.digests.push((hash, data.to_vec()));
        } else if let Some(hash) = of(&CERTIFICATE_DIGESTS, kind)
            && let Some((digest, time)) = data.split_at_checked(hash.size())
            && time.len() == TIME
        {
            let has_time = time.iter().any(|byte| *byte != 0);
            self.revoked.push(RevokedCertificate { hash, digest: digest.to_vec(), has_time });
        }
    }

    /// Adds what another variable has.
    pub(super) fn extend(&mut self, other: Self) {
        self.certificates.extend(other.certificates);
        self.digests.extend(other.digests);
        self.revoked.extend(other.revoked);
        self.is_incomplete |= other.is_incomplete;
    }
}

fn of(table: &[(Uuid, Hash)], kind: Uuid) -> Option<Hash> {
    table.iter().find(|(known, _)| *known == kind).map(|(_, hash)| *hash)
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*word)).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn list(kind: Uuid, header: &[u8], signatures: &[Vec<u8>]) -> Vec<u8> {
        let each = OWNER + signatures.first().map_or(0, Vec::len);
        let size = HEADER + header.len() + each * signatures.len();
        let words = [size, header.len(), each].map(|n| u32::try_from(n).unwrap().to_le_bytes());
        let mut bytes = [&kind.to_bytes_le()[..], words.as_flattened(), header].concat();
        for signature in signatures {
            bytes.extend([&[7; OWNER], signature.as_slice()].concat());
        }
        bytes
    }

    #[test]
    fn digests_of_all_lists_are_found_and_other_kinds_are_skipped() {
        let [(sha256, _), _, (sha512, _)] = DIGESTS;
        let other = uuid!("826ca512-cf10-4ac9-b187-be01496631bd");
        let bytes = [
            list(sha256, b"head", &[vec![1; 32], vec![2; 32]]),
            list(other, b"", &[vec![3; 20]]),
            list(sha512, b"", &[vec![4; 64]]),
            list(CERTIFICATE_DIGESTS[0].0, b"", &[vec![0; 48], [vec![5; 32], vec![1; 16]].concat()]),
        ];
        let found = KeyList::parse(&bytes.concat()).unwrap();
        let digests: Vec<(Hash, u8)> =
            found.digests.iter().map(|(hash, digest)| (*hash, digest[0])).collect();
        assert_eq!(digests, [(Hash::Sha256, 1), (Hash::Sha256, 2), (Hash::Sha512, 4)]);
        let times: Vec<bool> = found.revoked.iter().map(|revoked| revoked.has_time).collect();
        assert_eq!(times, [false, true]);
        assert!(KeyList::parse(b"").is_some() && !found.is_incomplete);
    }

    #[test]
    fn a_list_whose_sizes_do_not_fit_is_damaged() {
        let whole = list(DIGESTS[0].0, b"", &[vec![1; 32], vec![2; 32]]);
        for len in 1..whole.len() {
            assert_eq!(KeyList::parse(&whole[..len]), None, "{len}");
        }
        for (at, value) in [(16, 0_u32), (16, u32::MAX), (20, u32::MAX), (24, 0), (24, 15), (24, 47)] {
            let mut bytes = whole.clone();
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            assert_eq!(KeyList::parse(&bytes), None, "{at} {value}");
        }
    }

    #[test]
    fn a_certificate_that_cannot_be_parsed_leaves_the_list_incomplete() {
        let found = KeyList::parse(&list(X509, b"", &[b"no certificate".to_vec()])).unwrap();
        assert!(found.is_incomplete && found.certificates.is_empty());
    }
}
