//! Tokens that authenticate the machine to a server: read from a file, never shown.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::files;
use abide_core::error::{Error, OrError, Result};
use abide_core::root::Root;

/// The longest token, in bytes.
const MAX: u64 = 4096;

/// The folders where a unit that is not root finds a token: from `LoadCredential=`, or from the step of the unit
/// that is root ([`Secret::hand_over`]).
const CREDENTIALS: [&str; 2] = ["CREDENTIALS_DIRECTORY", RUNTIME];

/// The folder of a unit with `RuntimeDirectory=`. The unit's user owns it, and systemd removes it with the unit.
const RUNTIME: &str = "RUNTIME_DIRECTORY";

/// A token. Its debug form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Reads the one line of `file`. On the running system the unit's own copy has precedence.
    ///
    /// # Errors
    /// [`Error::Usage`] if it cannot be read, is accessible to others, or is not one line of visible ASCII.
    pub fn read(root: &Root, file: &Path) -> Result<Self> {
        let path = credential(root, file).unwrap_or_else(|| root.path(file));
        let name = path.display();
        let cannot = || format!("{name}: cannot read the token");
        let mut open = files::open_named(&path).or_usage(cannot)?;
        let meta = open.metadata().or_usage(cannot)?;
        if !meta.is_file() {
            return Err(Error::Usage(format!("{name}: must be a regular file with the token")));
        }
        let mode = meta.permissions().mode();
        if mode & 0o027 != 0 {
            return Err(Error::Usage(format!(
                "{name}: its mode is {:04o}, so that others can access the token; chmod 0600 it (owner {})",
                mode & 0o7777,
                meta.uid()
            )));
        }
        let mut text = String::new();
        Read::by_ref(&mut open).take(MAX + 1).read_to_string(&mut text).or_usage(cannot)?;
        let token = text.trim_end_matches(['\n', '\r']);
        if token.is_empty() || token.len() as u64 > MAX || !token.chars().all(|c| c.is_ascii_graphic()) {
            return Err(Error::Usage(format!("{name}: must have one line with the token, without spaces")));
        }
        Ok(Self(token.to_owned()))
    }

    /// Leaves a copy of `file` for the user of the unit whose first step this is. Does nothing outside of a unit.
    ///
    /// # Errors
    /// As [`Secret::read`], and [`Error::Failed`] if the copy cannot be written.
    pub fn hand_over(root: &Root, file: &Path) -> Result<()> {
        let Some(dir) = std::env::var_os(RUNTIME).filter(|_| root.is_live()) else { return Ok(()) };
        let Some(name) = file.file_name() else { return Ok(()) };
        let path = Path::new(&dir).join(name);
        if credential(root, file).is_some() {
            return Ok(());
        }
        let secret = Self::read(root, file)?;
        let cannot = || format!("{}: cannot write", path.display());
        let owner = std::fs::metadata(&dir).or_failed(cannot)?;
        let mut copy = OpenOptions::new();
        // The unit has just started, so that only root has had access to the folder.
        let mut copy = copy.write(true).create_new(true).mode(0o400).open(&path).or_failed(cannot)?;
        copy.write_all(secret.0.as_bytes()).or_failed(cannot)?;
        std::os::unix::fs::fchown(&copy, Some(owner.uid()), Some(owner.gid())).or_failed(cannot)
    }

    /// The value of the header `Authorization`: `USER:PASSWORD` is sent as such (RFC 7617), anything else is a token
    /// (RFC 6750), which has no colon.
    #[must_use]
    pub fn authorization(&self) -> String {
        if self.0.contains(':') {
            format!("Basic {}", BASE64_STANDARD.encode(&self.0))
        } else {
            self.header("Bearer")
        }
    }

    /// The value of a header: `scheme`, a space, the token.
    #[must_use]
    pub fn header(&self, scheme: &str) -> String {
        format!("{scheme} {}", self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

fn credential(root: &Root, file: &Path) -> Option<PathBuf> {
    let name = file.file_name().filter(|_| root.is_live())?;
    let dirs = CREDENTIALS.iter().filter_map(std::env::var_os);
    dirs.map(|dir| Path::new(&dir).join(name)).find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs::{self, Permissions};

    fn read(text: &str, mode: u32) -> Result<Secret> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        Secret::read(&Root::at(dir.path()), Path::new("/token"))
    }

    #[test]
    fn a_token_is_one_line_and_is_not_shown() {
        let secret = read("abc.DEF-1\n", 0o600).unwrap();
        assert_eq!(secret.header("TargetToken"), "TargetToken abc.DEF-1");
        assert_eq!(format!("{secret:?}"), "Secret");
        assert_eq!(secret.authorization(), "Bearer abc.DEF-1");
        // RFC 7617, 2.
        let password = read("Aladdin:opensesame\n", 0o600).unwrap();
        assert_eq!(password.authorization(), "Basic QWxhZGRpbjpvcGVuc2VzYW1l");
        for wrong in ["", "\n", "a b", "a\nb", "a\r\nb: c", "\u{e4}"] {
            assert_eq!(read(wrong, 0o600).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
        assert!(read(&"x".repeat(5000), 0o600).is_err());
    }

    #[test]
    fn a_token_that_others_can_access_is_refused() {
        for mode in [0o644, 0o604, 0o620, 0o602] {
            let error = read("abc", mode).unwrap_err().to_string();
            assert!(error.contains("others can access the token") && !error.contains("abc"), "{error}");
        }
        for mode in [0o600, 0o400, 0o640] {
            assert!(read("abc", mode).is_ok(), "{mode:o}");
        }
    }
}
