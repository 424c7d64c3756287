//! Lists of digests, keys and signatures.

use std::io::Cursor;
use std::time::SystemTime;

use abide::boot::secure_boot::{Enforcing, KeyList, Verdict, judge};
use abide::image::trust::{Carried, Claim, Sums, minisign, openpgp};

use crate::used::used;

const KEY: &[u8] = include_bytes!("../keys/key.gpg");
const RSA_KEY: &[u8] = include_bytes!("../keys/rsa.gpg");
const MINISIGN_KEY: &[u8] = include_bytes!("../keys/minisign.pub");

pub fn sums(bytes: &[u8]) {
    if let Ok(sums) = Sums::parse(bytes) {
        for name in sums.names() {
            assert!(sums.get(name).is_some_and(|digest| digest.len() == 64), "{name:?}");
            assert!(!name.split('/').any(|part| matches!(part, "" | "." | "..")), "{name:?}");
        }
    }
}

pub fn sums_seeds() -> Vec<Vec<u8>> {
    let digest = "0123456789abcdef".repeat(4);
    vec![
        format!("{digest}  edge_1.2.efi\n{digest} *edge_1.2.root.raw.xz\n{digest}  BEST-BEFORE-2030-01-01\n")
            .into(),
    ]
}

/// The signature in front of an image.
pub fn carried(bytes: &[u8]) {
    let mut rest = bytes;
    if let Ok(Some(carried)) = Carried::read(&mut rest) {
        assert_eq!(carried.len, (bytes.len() - rest.len()) as u64, "nothing behind it is read");
        used(carried.lists(&"0".repeat(64)));
    }
}

pub fn carried_seeds() -> Vec<Vec<u8>> {
    let digest = "0123456789abcdef".repeat(4);
    let list = format!("abide-signature 1\n{digest}  edge_1.2.raw.zst\n");
    let signature: &[u8] = include_bytes!("../keys/list.minisig");
    let content = [list.as_bytes(), signature, include_bytes!("../keys/list.asc")].concat();
    let head = |len: usize| [b"P*M\x18", &u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()[..]].concat();
    vec![[head(content.len()), content, vec![1; 9]].concat(), head(5)]
}

/// The first byte says as what the rest is read: a key or a signature, of either kind.
pub fn signatures(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => used(openpgp::parse_keys("fuzz", rest)),
        1 => {
            let keys =
                [KEY, RSA_KEY].map(|key| openpgp::parse_keys("fuzz", key).unwrap_or_default()).concat();
            assert_eq!(keys.len(), 2);
            let verified = openpgp::verify(&keys, b"something else", rest, SystemTime::now());
            assert!(verified.is_err(), "nothing signs this");
        }
        2 => used(minisign::parse_key("fuzz", rest)),
        _ => {
            let keys: Vec<_> = minisign::parse_key("fuzz", MINISIGN_KEY).into_iter().collect();
            assert!(!keys.is_empty());
            if let Ok(claim) = Claim::new(&keys, rest) {
                assert!(claim.verify(b"something else", SystemTime::now()).is_err(), "nothing signs this");
            }
        }
    }
}

pub fn signature_seeds() -> Vec<Vec<u8>> {
    let seeds: [(u8, &[u8]); 7] = [
        (0, KEY),
        (0, RSA_KEY),
        (1, include_bytes!("../keys/list.gpg")),
        (1, include_bytes!("../keys/list.asc")),
        (1, include_bytes!("../keys/list-rsa.gpg")),
        (2, MINISIGN_KEY),
        (3, include_bytes!("../keys/list.minisig")),
    ];
    seeds.map(|(kind, seed)| [&[kind], seed].concat()).into()
}

/// A signature list as `db` of firmware has it, and an executable that its key has signed.
const LIST: &[u8] = include_bytes!("../keys/db.esl");
const SIGNED: &[u8] = include_bytes!("../keys/signed.efi");

/// The first byte says as what the rest is read: a list of keys, or a signed executable.
pub fn secure_boot(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let db = if kind % 2 == 0 { rest } else { LIST };
    let Some(db) = KeyList::parse(db) else { return };
    let firmware = Enforcing { db, ..Enforcing::default() };
    let file = if kind % 2 == 0 { SIGNED } else { rest };
    let verdict = judge(&firmware, &mut Cursor::new(file)).expect("memory can be read");
    // A signature covers all of an executable but where the signature itself is.
    let is_signed = |at: usize| SIGNED.get(at) == file.get(at);
    if verdict == Verdict::Starts && kind % 2 == 1 {
        assert!((512..1024).all(is_signed), "a changed section is accepted");
    }
}

pub fn secure_boot_seeds() -> Vec<Vec<u8>> {
    [(0, LIST), (1, SIGNED)].map(|(kind, seed): (u8, &[u8])| [&[kind], seed].concat()).into()
}
