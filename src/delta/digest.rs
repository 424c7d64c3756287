//! SHA-256 of regions and of whole roots.

/// SHA-256 of a region or of a whole root.
pub type Digest = [u8; 32];

/// The SHA-256 of bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> Digest {
    let mut digest = Digest::default();
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    digest
}
