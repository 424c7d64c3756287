//! Where an image comes from.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::config::Download;
use crate::disk::direct_reader::DirectReader;
use abide_core::error::{Error, OrError, Result};

/// A place to read an image from.
pub struct Source {
    /// As the user named it, for messages.
    pub name: String,
    /// Bytes, where it is known beforehand.
    pub len: Option<u64>,
    /// Whether it can be opened again and then gives the same bytes.
    pub repeatable: bool,
    /// The bytes.
    pub reader: Box<dyn Read + Send>,
}

impl Source {
    /// Opens `image`, a download within the limits of `download`: an `http://` or `https://` URL, `-` for standard input, or a path.
    ///
    /// # Errors
    /// [`Error::Image`] if it cannot be opened.
    pub fn open(image: &str, download: &Download) -> Result<Self> {
        Self::find(image, download)?.ok_or_else(|| {
            let status = if image.contains("://") { " (404)" } else { "" };
            Error::Image(format!("{}: there is no such image{status}", shown(image)))
        })
    }

    /// As [`Source::open`], but none if there is no such file.
    ///
    /// # Errors
    /// [`Error::Image`] if it cannot be opened.
    pub fn find(image: &str, download: &Download) -> Result<Option<Self>> {
        let scheme = image.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("http" | "https") => crate::image::http::find(image, download),
            Some("file") => Self::file(image.split_once("://").map_or(image, |(_, path)| path)),
            Some(other) if !Path::new(image).exists() => {
                Err(Error::Image(format!("{image}: '{other}' is not supported; use http, https or a path")))
            }
            _ if image == "-" => Ok(Some(Self {
                name: "standard input".into(),
                len: None,
                repeatable: false,
                reader: Box::new(std::io::stdin()),
            })),
            _ => Self::file(image),
        }
    }

    fn file(path: &str) -> Result<Option<Self>> {
        let cannot = || format!("{path}: cannot open");
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).or_image(cannot),
        };
        let meta = file.metadata().or_image(cannot)?;
        if meta.is_dir() {
            return Err(Error::Image(format!("{path}: is a folder; name an image file in it")));
        }
        Ok(Some(Self {
            name: path.to_owned(),
            len: meta.is_file().then_some(meta.len()),
            repeatable: meta.is_file(),
            reader: if meta.is_file() { Box::new(DirectReader::new(file)) } else { Box::new(file) },
        }))
    }
}

/// A URL without what it says about who asks, for messages and logs.
pub fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
    let host = host.rsplit('@').next().unwrap_or_default();
    match path {
        Some(path) => format!("{scheme}://{host}/{path}"),
        None => format!("{scheme}://{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_a_url_are_not_shown() {
        assert_eq!(shown("https://u:p@h:8/a/b?token=1#x"), "https://h:8/a/b");
        assert_eq!(shown("http://h"), "http://h");
        assert_eq!(shown("/a?b"), "/a?b");
    }
}
