//! The folder in which an image is published, together with the list of digests and its signature.

use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::config::Download;
use crate::image::names::SUMS;
use crate::image::source::Source;
use crate::image::transfer::{self, Known};
use crate::url;
use abide_core::error::{Error, OrError, Result};

/// A folder on this machine or on a web server.
#[derive(Debug, Clone)]
pub struct Folder {
    place: Place,
    download: Download,
    /// The value of the header `Authorization`.
    authorization: Option<String>,
}

#[derive(Debug, Clone)]
enum Place {
    Local(PathBuf),
    /// The URL up to its last `/`, and what follows the `?`, which may be an access token.
    Remote {
        base: String,
        query: Option<String>,
    },
}

impl Folder {
    /// `place` itself, if it is a folder: one on this machine, a URL that ends with `/` or with `SHA256SUMS`.
    #[must_use]
    pub fn at(place: &str, download: &Download) -> Option<Self> {
        let download = download.clone();
        if let Some(url::Parts { base, name, query }) = url::split(place) {
            let is_folder = name.is_empty() || name == SUMS;
            return is_folder.then(|| Self::new(Place::Remote { base, query }, download));
        }
        let path = Path::new(place.strip_prefix("file://").unwrap_or(place));
        path.is_dir().then(|| Self::new(Place::Local(path.to_owned()), download))
    }

    /// The folder of an image, and the image's name in it; `None` for standard input.
    #[must_use]
    pub fn of(image: &str, download: &Download) -> Option<(Self, String)> {
        let download = download.clone();
        if image == "-" {
            return None;
        }
        if let Some(url::Parts { base, name, query }) = url::split(image) {
            return Some((Self::new(Place::Remote { base, query }, download), name));
        }
        let path = Path::new(image.strip_prefix("file://").unwrap_or(image));
        let name = path.file_name()?.to_string_lossy().into_owned();
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some((Self::new(Place::Local(folder.to_owned()), download), name))
    }

    fn new(place: Place, download: Download) -> Self {
        Self { place, download, authorization: None }
    }

    /// As [`Folder::read`] requests the files of a folder on a web server.
    #[must_use]
    pub fn with_authorization(self, authorization: Option<String>) -> Self {
        Self { authorization, ..self }
    }

    /// The name by which it is known again: its URL, or its path without links, `.` and `..`.
    #[must_use]
    pub fn identity(&self) -> String {
        match &self.place {
            Place::Local(path) => {
                fs::canonicalize(path).unwrap_or_else(|_| path.clone()).display().to_string()
            }
            Place::Remote { .. } => self.to_string(),
        }
    }

    /// Whether it is on another machine.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        matches!(self.place, Place::Remote { .. })
    }

    /// The path or URL of the file `name` of this folder, for [`Source::open`].
    #[must_use]
    pub fn join(&self, name: &str) -> String {
        match &self.place {
            Place::Local(path) => path.join(name).to_string_lossy().into_owned(),
            Place::Remote { base, query } => match query {
                Some(query) => format!("{base}{name}?{query}"),
                None => format!("{base}{name}"),
            },
        }
    }

    /// Whether the file `name` can be opened.
    ///
    /// # Errors
    /// [`Error::Image`] if not.
    pub fn must_have(&self, name: &str) -> Result<()> {
        self.open(name).map(drop)
    }

    /// Opens the file `name`.
    ///
    /// # Errors
    /// [`Error::Image`] if it cannot be opened, or there is none.
    pub fn open(&self, name: &str) -> Result<Source> {
        match self.place {
            Place::Local(_) => self
                .find(name)?
                .ok_or_else(|| Error::Image(format!("{}: there is no such image", self.join(name)))),
            // Its digest is in the list.
            Place::Remote { .. } => Source::open_known(&self.join(name), &self.download, Known::by_digest()),
        }
    }

    fn find(&self, name: &str) -> Result<Option<Source>> {
        match self.place {
            Place::Local(_) => Source::in_folder(&self.join(name)),
            Place::Remote { .. } => {
                let url = self.join(name);
                let authorization = self.authorization.as_deref();
                transfer::find(&transfer::Place { url: &url, authorization }, &self.download)
            }
        }
    }

    /// Reads a small file as a whole; `None` if there is no such file.
    ///
    /// # Errors
    /// [`Error::Image`] if it cannot be read, or is larger than `most` bytes.
    pub fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let place = self.join(name);
        if let Place::Local(_) = self.place
            && !fs::metadata(&place).is_ok_and(|meta| meta.is_file())
            && fs::symlink_metadata(&place).is_err()
        {
            return Ok(None);
        }
        let Some(source) = self.find(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let cannot = || format!("{}: cannot read", source.name);
        source.reader.take(most + 1).read_to_end(&mut bytes).or_image(cannot)?;
        if bytes.len() as u64 > most {
            return Err(Error::Image(format!("{}: is larger than {most} bytes", source.name)));
        }
        Ok(Some(bytes))
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Local(path) => write!(f, "{}", path.display()),
            Place::Remote { base, .. } => f.write_str(&url::shown(base)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_lies_beside_an_image_is_found() {
        let beside = |image: &str| {
            let (folder, name) = Folder::of(image, &Download::default()).unwrap();
            (folder.join("SHA256SUMS"), name)
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(beside("/a/b.raw"), pair("/a/SHA256SUMS", "b.raw"));
        assert_eq!(beside("b.raw"), pair("./SHA256SUMS", "b.raw"));
        assert_eq!(beside("file:///a/b"), pair("/a/SHA256SUMS", "b"));
        assert_eq!(beside("https://h/x/b.raw?key=1#f"), pair("https://h/x/SHA256SUMS?key=1", "b.raw"));
        assert_eq!(beside("https://h"), pair("https://h/SHA256SUMS", ""));
        assert!(Folder::of("-", &Download::default()).is_none());
    }

    #[test]
    fn a_folder_is_told_from_an_image() {
        let at = |place: &str| Folder::at(place, &Download::default()).map(|f| f.to_string());
        assert_eq!(at("https://u:secret@h/x/").as_deref(), Some("https://h/x/"));
        assert_eq!(at("http://h/x/SHA256SUMS").as_deref(), Some("http://h/x/"));
        assert_eq!(at("https://h/x/b.raw"), None);
        assert_eq!(at("/etc").as_deref(), Some("/etc"));
        assert_eq!(at("/etc/passwd"), None);
    }

    #[test]
    fn only_regular_files_are_read_from_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(&dir.path().to_string_lossy(), &Download::default()).unwrap();
        fs::write(dir.path().join("file"), "123").unwrap();
        assert_eq!(folder.read("file", 3).unwrap().as_deref(), Some(&b"123"[..]));
        assert_eq!(folder.read("none", 3).unwrap(), None);
        assert_eq!(folder.must_have("none").unwrap_err().exit_code(), 3);
        // A named pipe without a writer does not hang.
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
        nix::unistd::mkfifo(&dir.path().join("pipe"), mode).unwrap();
        assert!(folder.read("pipe", 3).unwrap_err().to_string().contains("not a regular file"));
        assert!(folder.must_have("pipe").unwrap_err().to_string().contains("not a regular file"));
    }
}
