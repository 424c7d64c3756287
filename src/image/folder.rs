//! The folder in which an image is published, together with the list of digests and its signature.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::Download;
use crate::image::names::{RELEASE_SUMS, SUMS, base_name};
use crate::image::release_list;
use crate::image::source::Source;
use crate::image::transfer::{self, Known, Resumed};
use crate::url;
use abide_core::error::{Error, OrError, Result};

/// A folder on this machine or on a web server.
#[derive(Debug, Clone)]
pub struct Folder {
    place: Place,
    /// The name of its list of digests.
    list: String,
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
    /// `place` itself, if it is a folder: one on this machine, a URL that ends with `/`, or the list of digests of either.
    #[must_use]
    pub fn at(place: &str, download: &Download) -> Option<Self> {
        let download = download.clone();
        if let Some(url::Parts { base, name, query }) = url::split(place) {
            let is_folder = name.is_empty() || is_list(&name);
            let folder = || Self::new(Place::Remote { base, query }, download);
            return is_folder
                .then(folder)
                .map(|folder| if name.is_empty() { folder } else { folder.with_list(&name) });
        }
        let path = Path::new(place.strip_prefix("file://").unwrap_or(place));
        if path.is_dir() {
            return Some(Self::new(Place::Local(path.to_owned()), download));
        }
        let (folder, name) = Self::of(place, &download).filter(|(_, name)| is_list(name))?;
        path.is_file().then(|| folder.with_list(&name))
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
        Self { place, list: SUMS.to_owned(), download, authorization: None }
    }

    /// The folder with another list of digests.
    #[must_use]
    pub fn with_list(self, name: &str) -> Self {
        Self { list: name.to_owned(), ..self }
    }

    /// The name of its list of digests.
    #[must_use]
    pub fn list(&self) -> &str {
        &self.list
    }

    /// The folder with the list that it has: one of a release, as mkosi writes it, where there is no `SHA256SUMS`.
    /// `image` and `version`: of the wanted release, as far as they are known.
    ///
    /// # Errors
    /// [`Error::Image`] if it has several that may be meant, or cannot be read.
    pub fn with_own_list(self, image: Option<&str>, version: Option<&str>) -> Result<Self> {
        if self.list != SUMS {
            return Ok(self);
        }
        let list = match (&self.place, image, version) {
            (Place::Local(path), ..) if !path.join(SUMS).exists() => {
                release_list::newest(path, image, version)
                    .map_err(|e| Error::Image(format!("{self}: {e}")))?
            }
            (Place::Remote { .. }, Some(image), Some(version)) => {
                let list = format!("{image}_{version}{RELEASE_SUMS}");
                (self.find(SUMS)?.is_none() && self.find(&list)?.is_some()).then_some(list)
            }
            _ => None,
        };
        Ok(match list {
            Some(list) => self.with_list(&list),
            None => self,
        })
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

    /// The path or URL by which [`Folder::at`] finds it again, with its list.
    #[must_use]
    pub fn place(&self) -> String {
        self.join(if self.list == SUMS { "" } else { &self.list })
    }

    /// The path or URL of the file `name` of this folder, for [`Source::open`]. On this machine a file of a subfolder may
    /// be in the folder itself: in the cache, or where it was copied without subfolders. Its digest is verified in any case.
    #[must_use]
    pub fn join(&self, name: &str) -> String {
        match &self.place {
            Place::Local(path) => {
                let own = path.join(name);
                let is_flat = name.contains('/') && !own.exists();
                let found = if is_flat { path.join(base_name(name)) } else { own };
                found.to_string_lossy().into_owned()
            }
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

    /// Opens the part of the file `name` from byte `from` to before `until`; something else verifies what is read. Sets
    /// `is_whole` if the server sends everything from the first byte on; then what follows can be read, too.
    ///
    /// # Errors
    /// [`Error::Image`] if it cannot be opened, or ends before.
    pub fn open_part(&self, name: &str, from: u64, until: u64, is_whole: &Arc<AtomicBool>) -> Result<Source> {
        let place = self.join(name);
        let shorter = || Error::Image(format!("{}: ends before byte {from}", url::shown(&place)));
        match self.place {
            Place::Local(_) => {
                let mut source = self.open(name)?;
                let skipped = io::copy(&mut (&mut source.reader).take(from), &mut io::sink())
                    .or_image(|| format!("{}: cannot read", source.name))?;
                is_whole.store(true, Ordering::Relaxed);
                if skipped == from { Ok(source) } else { Err(shorter()) }
            }
            Place::Remote { .. } => {
                let authorization = self.authorization.as_deref();
                let known =
                    Known { from, until: Some(until), is_whole: is_whole.clone(), ..Known::by_digest() };
                match transfer::resume_known(
                    &transfer::Place { url: &place, authorization },
                    &self.download,
                    known,
                )? {
                    Resumed::Rest(source) => Ok(source),
                    Resumed::Nothing => {
                        Err(Error::Image(format!("{}: there is no such file (404)", url::shown(&place))))
                    }
                    Resumed::Shorter => Err(shorter()),
                    Resumed::TooLarge(e) => Err(e),
                }
            }
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

/// Whether this is the name of a list of digests.
fn is_list(name: &str) -> bool {
    name == SUMS || name.ends_with(RELEASE_SUMS)
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
    fn the_list_of_a_release_is_found_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let at = |place: &str| Folder::at(place, &Download::default()).unwrap();
        let url = at("https://h/x/edge_2.0.SHA256SUMS?key=1");
        assert_eq!(
            (url.list(), url.place()),
            ("edge_2.0.SHA256SUMS", "https://h/x/edge_2.0.SHA256SUMS?key=1".into())
        );
        let place = dir.path().to_string_lossy();
        let own = |image: Option<&str>, version: Option<&str>| {
            at(&place).with_own_list(image, version).map(|folder| folder.list().to_owned())
        };
        assert_eq!(own(None, None).unwrap(), SUMS);
        for name in ["edge_1.9", "edge_1.10", "edge_1.10_ppc64le"] {
            fs::write(dir.path().join(format!("{name}.SHA256SUMS")), "").unwrap();
        }
        assert_eq!(own(None, None).unwrap(), "edge_1.10.SHA256SUMS");
        assert_eq!(own(Some("edge"), Some("1.9")).unwrap(), "edge_1.9.SHA256SUMS");
        fs::write(dir.path().join("other_3.SHA256SUMS"), "").unwrap();
        assert_eq!(own(Some("edge"), None).unwrap(), "edge_1.10.SHA256SUMS");
        assert!(own(None, None).unwrap_err().to_string().contains("edge and other"));
        fs::write(dir.path().join(SUMS), "").unwrap();
        assert_eq!(own(Some("edge"), None).unwrap(), SUMS);
        let named = at(&dir.path().join("edge_1.9.SHA256SUMS").to_string_lossy());
        assert_eq!((named.list(), named.to_string()), ("edge_1.9.SHA256SUMS", place.to_string()));
    }

    #[test]
    fn a_file_of_a_subfolder_may_lie_in_the_folder_itself() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(&dir.path().to_string_lossy(), &Download::default()).unwrap();
        fs::write(dir.path().join("a.raw"), "flat").unwrap();
        assert_eq!(folder.read("v1/a.raw", 9).unwrap().as_deref(), Some(&b"flat"[..]));
        fs::create_dir(dir.path().join("v1")).unwrap();
        fs::write(dir.path().join("v1/a.raw"), "deep").unwrap();
        assert_eq!(folder.read("v1/a.raw", 9).unwrap().as_deref(), Some(&b"deep"[..]));
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
