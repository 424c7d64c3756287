//! Lists of digests, keys and signatures.

use std::time::SystemTime;

use abide::image::trust::{Claim, Sums, minisign, openpgp};

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
