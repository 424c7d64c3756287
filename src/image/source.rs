//! The published bytes of an image, from a file or standard input.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::disk::direct_reader::DirectReader;
use crate::files;
use crate::image::trust::carried::Carried;
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
        Self::opened(path, File::open(path))
    }

    /// Opens a file of a published folder, which is a regular one; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Image`] if it cannot be opened, or is anything else.
    pub fn in_folder(path: &str) -> Result<Option<Self>> {
        let source = Self::opened(path, files::open_named(Path::new(path)))?;
        match source {
            Some(source) if !source.repeatable => Err(Error::Image(format!(
                "{path}: is not a regular file; only such files are read from a folder"
            ))),
            source => Ok(source),
        }
    }

    fn opened(path: &str, file: std::io::Result<File>) -> Result<Option<Self>> {
        let cannot = || format!("{path}: cannot open");
        let file = match file {
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

    /// The signature in front of the image, if it carries one. What remains to be read begins behind it.
    ///
    /// # Errors
    /// [`Error::Image`] if it cannot be read.
    pub fn take_carried(&mut self) -> Result<Option<Carried>> {
        Carried::read(&mut self.reader).or_image(|| format!("{}: cannot read", self.name))
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
