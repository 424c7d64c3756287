//! The publisher's list of keys: which to trust from now on, and which no more.
//!
//! It is a file of a signed list of images, so that only who may publish images may change the keys. The machine keeps the
//! one with the highest serial. Keys can thus be replaced without a new image.

use crate::config::forms::List;
use crate::files;
use crate::image::trust::{minisign, openpgp};
use abide_core::config::form::{Count, Text};
use abide_core::config::section::Section;
use abide_core::config::tree::Tree;
use abide_core::error::{Error, Result};
use abide_core::root::Root;

/// Its name in a folder of images.
pub const KEY_LIST: &str = "keys.toml";

/// Where the machine keeps it. It is root's.
pub const LEARNED: &str = "/var/lib/abide/keys.toml";

/// The supported format.
const FORMAT: u32 = 1;

/// The largest list that is read.
pub const MOST_KEY_LIST: u64 = 1 << 20;

/// A list of keys.
#[derive(Debug, Clone, Default)]
pub struct KeyList {
    /// The number of the list; it only grows.
    pub serial: u32,
    /// Further OpenPGP keys.
    pub openpgp: Vec<openpgp::Certificate>,
    /// Further minisign keys.
    pub minisign: Vec<minisign::Key>,
    /// Keys that are no longer trusted: fingerprints in upper case, and minisign keys as text.
    revoked: Vec<String>,
}

impl KeyList {
    /// Reads a list; `file` is its name for messages.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(file: &str, bytes: &[u8]) -> std::result::Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
        let read = || {
            let tree = Tree::parse(file, text)?;
            let mut top = Section::top(&tree);
            let format = top.read::<Count<0, { u32::MAX }>>("format")?;
            let missing = || Error::Usage(format!("{file} has no format; begin it with format = {FORMAT}"));
            if format.ok_or_else(missing)? != FORMAT {
                return Err(top.error_at("format", "is not 1; a newer version of Abide may support it"));
            }
            let serial = top.need::<Count<0, { u32::MAX }>>("serial", "1")?;
            let add = top.read::<List<Text>>("add")?.unwrap_or_default();
            Ok((serial, add, top.read::<List<Text>>("revoke")?.unwrap_or_default()))
        };
        let (serial, add, revoke) = read().map_err(|e| e.to_string())?;
        let revoked: Vec<String> = revoke.iter().map(|key| spelled(key)).collect();
        if let Some(unknown) =
            revoked.iter().find(|key| !is_print(key) && minisign::parse_key("", key.as_bytes()).is_err())
        {
            return Err(format!("revokes '{unknown}', which is neither a fingerprint nor a minisign key"));
        }
        let mut list = Self { serial, revoked, ..Self::default() };
        for key in &add {
            if key.contains("BEGIN PGP") {
                list.openpgp.extend(openpgp::parse_keys(file, key.as_bytes())?);
            } else {
                list.minisign.push(minisign::parse_key(file, key.as_bytes())?);
            }
        }
        Ok(list)
    }

    /// The list that the machine has learned; none if there is none.
    ///
    /// # Errors
    /// [`Error::Unverified`] if it cannot be read: a revocation must not be ignored silently.
    pub fn learned(root: &Root) -> Result<Option<Self>> {
        let wrong = |e: &dyn std::fmt::Display| {
            Error::Unverified(format!("{LEARNED}: {e}; remove it, and the next poll fetches it again"))
        };
        let bytes = files::read(&root.path(LEARNED)).map_err(|e| wrong(&e))?;
        bytes.map(|bytes| Self::parse(LEARNED, &bytes).map_err(|e| wrong(&e))).transpose()
    }

    /// Whether the list revokes this key: a fingerprint, or a minisign key as text.
    #[must_use]
    pub fn revokes(&self, key: &str) -> bool {
        let key = spelled(key);
        self.revoked.contains(&key)
    }
}

/// A key as it is compared: a fingerprint without blanks, in upper case; the last line of a minisign key.
fn spelled(key: &str) -> String {
    let line = key.trim().lines().last().unwrap_or_default();
    let print: String = line.chars().filter(|c| !c.is_whitespace()).collect();
    if is_print(&print) { print.to_ascii_uppercase() } else { print }
}

/// Whether this is a fingerprint: of 20 bytes (version 4), or of 32 (version 6).
fn is_print(key: &str) -> bool {
    matches!(key.len(), 40 | 64) && key.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn keys_are_added_and_revoked() {
        let text = format!(
            "format = 1\nserial = 3\nadd = ['{KEY}']\nrevoke = ['{KEY}', \
             'abcd ef01 2345 6789 abcd  ef01 2345 6789 abcd ef01']\n"
        );
        let list = KeyList::parse("f", text.as_bytes()).unwrap();
        assert_eq!((list.serial, list.minisign.len(), list.openpgp.len()), (3, 1, 0));
        assert!(list.revokes(KEY) && list.revokes("ABCDEF0123456789ABCDEF0123456789ABCDEF01"));
        assert!(!list.revokes("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO4"));
    }

    #[test]
    fn an_unknown_format_or_a_damaged_key_is_an_error() {
        for text in [
            "format = 2\nserial = 1\n",
            "format = 1\n",
            "format = 1\nserial = 1\nadd = ['x']\n",
            "format = 1\nserial = 1\nrevoke = ['0xABCDEF01']\n",
            "{",
        ] {
            assert!(KeyList::parse("f", text.as_bytes()).is_err(), "{text}");
        }
    }
}
