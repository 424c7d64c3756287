//! What makes patches large: file systems that pack files, and hashes with another salt.

use crate::publish::raw_file::RawFile;

/// Where the superblock of an erofs lies, its magic number, its incompatible features, and those of one that packs files
/// (Linux, fs/erofs/erofs_fs.h: `LZ4_0PADDING`, `COMPR_CFGS`).
const EROFS: u64 = 1024;
const EROFS_MAGIC: [u8; 4] = 0xE0F5_E1E2_u32.to_le_bytes();
const EROFS_INCOMPATIBLE: usize = 80;
const EROFS_PACKED: u8 = 3;

/// A warning about the file system of a root.
pub fn warning(root: &RawFile) -> Option<String> {
    let start: [u8; 4] = at(root, 0)?;
    if start == *b"hsqs" {
        return Some(
            "the root is a squashfs: a changed file changes others; use erofs without compression".into(),
        );
    }
    let superblock: [u8; 128] = at(root, EROFS)?;
    let is_packed = superblock.get(EROFS_INCOMPATIBLE).is_some_and(|features| features & EROFS_PACKED != 0);
    (superblock.starts_with(&EROFS_MAGIC) && is_packed).then(|| {
        "the root is a compressed erofs: patches are larger; the full file is packed anyway, so use erofs without compression"
            .into()
    })
}

/// A warning if the hashes of a root have another salt than older ones (cryptsetup, docs/on-disk-format: verity superblock).
pub fn other_salt(new: &RawFile, old: &RawFile) -> Option<String> {
    let salt = |file| {
        let superblock: [u8; 344] = at(file, 0)?;
        superblock.starts_with(b"verity\0\0").then(|| superblock.split_at(80).1.to_vec())
    };
    (salt(new)? != salt(old)?).then(|| {
        "its dm-verity hashes have another salt, so that all of them differ; build with the same one".into()
    })
}

/// How many names of compressed kernel modules the blocks of directories in these bytes have, about: no directory is parsed,
/// and a name over the end of the bytes is missed. A name behind a `/` is one in a text, such as `modules.dep`.
pub fn count_packed_modules(bytes: &[u8]) -> usize {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let is_module = |at: usize| {
        let (before, rest) = bytes.split_at(at);
        let is_packed = [&b".ko.xz"[..], b".ko.zst", b".ko.gz"].iter().any(|end| rest.starts_with(end));
        is_packed && before.iter().rev().take(255).find(|byte| !is_name(byte)) != Some(&b'/')
    };
    bytes.windows(4).enumerate().filter(|(at, word)| word == b".ko." && is_module(*at)).count()
}

/// Fewer compressed modules than this are nothing to warn of, and may be something else.
const FEW: usize = 10;

/// A warning about so many compressed kernel modules.
pub fn packed_modules(count: usize) -> Option<String> {
    (count >= FEW).then(|| {
        format!(
            "the root has about {count} compressed kernel modules: a new kernel changes each as a whole; do not compress them"
        )
    })
}

fn at<const N: usize>(file: &RawFile, offset: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_at(&mut bytes, offset).ok()?;
    Some(bytes)
}
