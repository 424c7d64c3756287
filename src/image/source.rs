//! Where an image comes from.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::config::Download;
use crate::error::{Error, OrError, Result};

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
        let scheme = image.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("http" | "https") => super::http::open(image, download),
            Some("file") => Self::file(image.split_once("://").map_or(image, |(_, path)| path)),
            Some(other) if !Path::new(image).exists() => {
                Err(Error::Image(format!("{image}: '{other}' is not supported; use http, https or a path")))
            }
            _ if image == "-" => Ok(Self {
                name: "standard input".into(),
                len: None,
                repeatable: false,
                reader: Box::new(std::io::stdin()),
            }),
            _ => Self::file(image),
        }
    }

    fn file(path: &str) -> Result<Self> {
        let meta = fs::metadata(path).or_image(|| format!("{path}: cannot read"))?;
        if meta.is_dir() {
            return Err(Error::Image(format!("{path}: is a folder; name an image file in it")));
        }
        let file = File::open(path).or_image(|| format!("{path}: cannot open"))?;
        Ok(Self {
            name: path.to_owned(),
            len: meta.is_file().then_some(meta.len()),
            repeatable: meta.is_file(),
            reader: Box::new(file),
        })
    }
}
