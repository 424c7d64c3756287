//! The published bytes of an image, from a file or standard input.

use std::fs::File;
use std::io::{ErrorKind, Read};

use crate::disk::direct_reader::DirectReader;
use abide_core::error::{Error, OrError, Result};

/// An opened image that was not read yet.
pub struct Source {
    /// As the user named it, for messages.
    pub name: String,
    /// Its length in bytes, if known.
    pub len: Option<u64>,
    /// Whether it can be opened again and then gives the same bytes.
    pub repeatable: bool,
    /// The bytes.
    pub reader: Box<dyn Read + Send>,
}

impl Source {
    /// Opens a file; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Image`] if it cannot be opened.
    pub fn file(path: &str) -> Result<Option<Self>> {
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

    /// Standard input.
    #[must_use]
    pub fn standard_input() -> Self {
        Self {
            name: "standard input".into(),
            len: None,
            repeatable: false,
            reader: Box::new(std::io::stdin()),
        }
    }
}
