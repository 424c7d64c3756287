//! What a machine proves itself with to a server: read from a file, never shown.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, OrError, Result};
use crate::root::Root;

/// The longest that is read, in bytes.
const MOST: u64 = 4096;

/// Where systemd puts what a unit is given by `LoadCredential=`.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// A token. Its debug form does not hold it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Reads `file`: one line. On the running system a credential of the unit with the file's name goes
    /// before it, so that a unit without rights can have what only root may read.
    ///
    /// # Errors
    /// [`Error::Usage`] if it cannot be read, is open to others, or holds no single line of visible ASCII.
    pub fn read(root: &Root, file: &Path) -> Result<Self> {
        let path = credential(root, file).unwrap_or_else(|| root.path(file));
        let name = path.display();
        let cannot = || format!("{name}: cannot read the token");
        let mut open = File::open(&path).or_usage(cannot)?;
        let meta = open.metadata().or_usage(cannot)?;
        if !meta.is_file() {
            return Err(Error::Usage(format!("{name}: must be a file that holds a token")));
        }
        let mode = meta.permissions().mode();
        if mode & 0o027 != 0 {
            return Err(Error::Usage(format!(
                "{name}: its mode is {:04o}: a token must not be open to others; chmod 0600 it (owner {})",
                mode & 0o7777,
                meta.uid()
            )));
        }
        let mut text = String::new();
        open.by_ref().take(MOST + 1).read_to_string(&mut text).or_usage(cannot)?;
        let token = text.trim_end_matches(['\n', '\r']);
        if token.is_empty() || token.len() as u64 > MOST || !token.chars().all(|c| c.is_ascii_graphic()) {
            return Err(Error::Usage(format!("{name}: must hold one line, the token, without spaces")));
        }
        Ok(Self(token.to_owned()))
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
    let dir = std::env::var_os(CREDENTIALS).filter(|_| root.is_live())?;
    Some(Path::new(&dir).join(file.file_name()?)).filter(|path| path.exists())
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
        for wrong in ["", "\n", "a b", "a\nb", "a\r\nb: c", "\u{e4}"] {
            assert_eq!(read(wrong, 0o600).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
        assert!(read(&"x".repeat(5000), 0o600).is_err());
    }

    #[test]
    fn a_token_that_is_open_to_others_is_refused() {
        for mode in [0o644, 0o604, 0o620, 0o602] {
            let error = read("abc", mode).unwrap_err().to_string();
            assert!(error.contains("must not be open to others") && !error.contains("abc"), "{error}");
        }
        for mode in [0o600, 0o400, 0o640] {
            assert!(read("abc", mode).is_ok(), "{mode:o}");
        }
    }
}
