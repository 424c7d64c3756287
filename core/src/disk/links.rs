//! The links that udev makes below `/dev/disk`.

use std::path::Path;

use crate::error::{Error, OrError, Result};
use crate::root::Root;

/// The links in a directory below `/dev/disk`, each with the node it leads to, by name.
/// A missing directory has none.
///
/// # Errors
/// [`Error::Failed`] if the directory or a link cannot be read.
pub fn links(root: &Root, dir: &str) -> Result<Vec<(String, String)>> {
    let real = root.path(dir);
    let entries = match std::fs::read_dir(&real) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::Failed(format!("{}: cannot read: {e}", real.display()))),
    };
    let mut links = Vec::new();
    for entry in entries {
        let entry = entry.or_failed(|| format!("{}: cannot read", real.display()))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let node = node_of(root, &format!("{dir}/{name}"))?;
        links.push((name, node));
    }
    links.sort_unstable();
    Ok(links)
}

/// The node that a path leads to, as the tree's own path (`/dev/sda2`).
///
/// # Errors
/// As [`Root::resolve`].
pub fn node_of(root: &Root, path: &str) -> Result<String> {
    let real = root.resolve(path)?;
    let inside = real.strip_prefix(root.path("/")).unwrap_or(&real);
    Ok(Path::new("/").join(inside).to_string_lossy().into_owned())
}

/// Undoes udev's escapes in the names of links (`\x20` for a blank).
pub(super) fn udev_decoded(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("\\x") {
        let (before, after) = rest.split_at(at);
        bytes.extend_from_slice(before.as_bytes());
        match after.get(2..4).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(4..).unwrap_or_default();
            }
            None => {
                bytes.extend_from_slice(b"\\x");
                rest = after.get(2..).unwrap_or_default();
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}
