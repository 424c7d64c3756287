//! Opens an image by path or URL.

use std::path::Path;

use crate::config::Download;
use crate::image::source::Source;
use crate::image::transfer::{self, Known};
use crate::url;
use abide_core::error::{Error, Result};

impl Source {
    /// Opens `image`: an `http://`, `https://` or `file://` URL, `-` for standard input, or a path.
    /// A download keeps to the limits of `download`.
    ///
    /// # Errors
    /// [`Error::Image`] if it cannot be opened.
    pub fn open(image: &str, download: &Download) -> Result<Self> {
        Self::open_known(image, download, Known::default())
    }

    /// As [`Source::open`], of an image of which something is known.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub fn open_known(image: &str, download: &Download, known: Known) -> Result<Self> {
        Self::find_known(image, download, known)?.ok_or_else(|| {
            let status = if image.contains("://") { " (404)" } else { "" };
            Error::Image(format!("{}: there is no such image{status}", url::shown(image)))
        })
    }

    fn find_known(image: &str, download: &Download, known: Known) -> Result<Option<Self>> {
        match url::scheme(image).as_deref() {
            Some("http" | "https") => {
                transfer::find_known(&transfer::Place { url: image, authorization: None }, download, known)
            }
            Some("file") => Self::file(image.split_once("://").map_or(image, |(_, path)| path)),
            Some(other) if !Path::new(image).exists() => {
                let shown = url::shown(image);
                Err(Error::Image(format!("{shown}: '{other}' is not supported; use http, https or a path")))
            }
            _ if image == "-" => Ok(Some(Self::standard_input())),
            _ => Self::file(image),
        }
    }
}
