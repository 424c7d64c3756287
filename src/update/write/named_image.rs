//! What the name of an image's file says that it is.

use crate::boot::names::is_same_image;
use crate::image::names::Name;
use abide_core::error::{Error, Result};

/// Image and version by the file's name. The signature of a list vouches for the two together, so that an old image under
/// a new name must not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedImage {
    /// The file, for messages.
    file: String,
    image: String,
    version: String,
    /// Whether the name alone may tell which image it is: it was chosen by its name, from a list.
    is_listed: bool,
}

impl NamedImage {
    /// A file of a list.
    #[must_use]
    pub fn listed(file: &str, version: &str) -> Self {
        let image = Name::parse(file).map(|name| name.image.to_owned()).unwrap_or_default();
        Self { file: file.to_owned(), image, version: version.to_owned(), is_listed: true }
    }

    /// A file that was given by its own name; none if that is not `<image>_<version>` with endings.
    #[must_use]
    pub fn given(file: &str) -> Option<Self> {
        let name = Name::parse(file).filter(|name| name.stem.contains(&format!("{}_", name.image)))?;
        let (image, version) = (name.image.to_owned(), name.version.to_owned());
        Some(Self { file: file.to_owned(), image, version, is_listed: false })
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The same, for a name that is signed: it alone tells which image it is.
    #[must_use]
    pub fn strictly(self) -> Self {
        Self { is_listed: true, ..self }
    }

    /// Refuses the name `given` of the file if it is that of another version than the signed one.
    ///
    /// # Errors
    /// [`Error::Refused`]
    pub fn refuse_name(&self, given: &str) -> Result<()> {
        let other = Self::given(given);
        match other.map(|other| other.refuse_other(&self.image, &self.version)) {
            Some(Err(_)) => Err(Error::Refused(format!(
                "{given}: is signed as {}; publish it under its own name",
                self.file
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses an image that is not the one in the name. Of a file that was given by its name, a name of one's own
    /// (`my_new.raw`) says nothing: it counts where it begins with the image's id, and may have more behind the version
    /// (`edge_3.0-signed.raw`).
    ///
    /// # Errors
    /// [`Error::Refused`]
    pub fn refuse_other(&self, image_id: &str, version: &str) -> Result<()> {
        let more = self.version.strip_prefix(version);
        let is_fine = match more {
            Some("") => true,
            _ if self.is_listed => false,
            Some(more) if more.starts_with(['-', '_', '+']) => true,
            _ => !is_same_image(&self.image, image_id),
        };
        if is_fine {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "{}: the version in its os-release, {version}, is not the one in its name, {}; publish it under its own",
            self.file, self.version
        )))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_old_image_under_a_new_name_is_refused_wherever_it_comes_from() {
        for named in
            [NamedImage::listed("edge_3.0.raw.zst", "3.0"), NamedImage::given("edge_3.0.raw").unwrap()]
        {
            assert!(named.refuse_other("edge", "3.0").is_ok());
            assert_eq!(named.refuse_other("edge", "1.0").unwrap_err().exit_code(), 6);
        }
    }

    #[test]
    fn a_name_of_ones_own_says_nothing() {
        for name in ["my_new.raw", "edge_1.0-signed.raw.gz", "edge_1.0_lab.raw"] {
            assert!(NamedImage::given(name).unwrap().refuse_other("edge", "1.0").is_ok(), "{name}");
        }
        for name in ["edge_1.0.1.raw", "edge_1.0~rc1.raw", "edge_new.raw"] {
            assert!(NamedImage::given(name).unwrap().refuse_other("edge", "1.0").is_err(), "{name}");
        }
        assert!(NamedImage::listed("edge_1.0-signed.raw", "1.0-signed").refuse_other("edge", "1.0").is_err());
        for name in ["disk.raw", "-", "edge-readonly-3.0.1-signed.raw.gz"] {
            assert_eq!(NamedImage::given(name), None, "{name}");
        }
    }
}
