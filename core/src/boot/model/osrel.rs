//! The os-release file inside a UKI (`.osrel`).

use crate::boot::model::conf_file;

/// The fields that name an entry, and those that identify an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OsRelease {
    /// `PRETTY_NAME`
    pub pretty_name: Option<String>,
    /// `IMAGE_ID`
    pub image_id: Option<String>,
    /// `NAME`
    pub name: Option<String>,
    /// `ID`
    pub id: Option<String>,
    /// `IMAGE_VERSION`
    pub image_version: Option<String>,
    /// `VERSION`
    pub version: Option<String>,
    /// `VERSION_ID`
    pub version_id: Option<String>,
    /// `BUILD_ID`
    pub build_id: Option<String>,
    /// `ABIDE_SECURITY_EPOCH`: the lowest version that a machine may go back to once it has committed this image.
    pub security_epoch: Option<String>,
}

impl OsRelease {
    /// Parses the text as the loader does; later lines win.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::parse_as(text, true)
    }

    /// As [`OsRelease::parse`], by a loader to which `'` is a quote or is not.
    #[must_use]
    pub fn parse_as(text: &str, single_quotes: bool) -> Self {
        let mut it = Self::default();
        for (key, value) in conf_file::lines(text, &['='], single_quotes) {
            let field = match key {
                "PRETTY_NAME" => &mut it.pretty_name,
                "IMAGE_ID" => &mut it.image_id,
                "NAME" => &mut it.name,
                "ID" => &mut it.id,
                "IMAGE_VERSION" => &mut it.image_version,
                "VERSION" => &mut it.version,
                "VERSION_ID" => &mut it.version_id,
                "BUILD_ID" => &mut it.build_id,
                "ABIDE_SECURITY_EPOCH" => &mut it.security_epoch,
                _ => continue,
            };
            *field = Some(value.to_owned());
        }
        it
    }

    /// The entry's title; without one the loader does not show the UKI at all
    /// (`bootspec_pick_name_version_sort_key`, 252 to 262 alike; also for the two below).
    #[must_use]
    pub fn entry_title(&self) -> Option<&str> {
        first([&self.pretty_name, &self.image_id, &self.name, &self.id])
    }

    /// What the loader sorts by, newest first. Mind that `VERSION` comes before
    /// `VERSION_ID`: `VERSION="12 (bookworm)"` is what counts where there is no `IMAGE_VERSION`.
    #[must_use]
    pub fn entry_version(&self) -> Option<&str> {
        first([&self.image_version, &self.version, &self.version_id, &self.build_id])
    }

    /// The sort key.
    #[must_use]
    pub fn entry_sort_key(&self) -> Option<&str> {
        first([&self.image_id, &self.id])
    }

    /// The machine-readable version of the image: `IMAGE_VERSION`, else `VERSION_ID`, else `BUILD_ID`.
    #[must_use]
    pub fn image_version(&self) -> Option<&str> {
        first([&self.image_version, &self.version_id, &self.build_id])
    }

    /// Whether it is that of an image without a version of its own: every build of the distribution has this one.
    #[must_use]
    pub fn is_unversioned(&self) -> bool {
        self.image_version.is_none()
    }
}

fn first<const N: usize>(fields: [&Option<String>; N]) -> Option<&str> {
    fields.into_iter().find_map(Option::as_deref)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_fields_come_before_the_distributions() {
        let it =
            OsRelease::parse("ID=debian\nVERSION_ID=12\nIMAGE_ID=edge\nIMAGE_VERSION=2.0\nNAME=\"Debian\"\n");
        assert_eq!(it.entry_title(), Some("edge"));
        assert_eq!(it.entry_version(), Some("2.0"));
        assert_eq!(it.entry_sort_key(), Some("edge"));
    }

    #[test]
    fn without_image_fields_the_loader_sorts_by_the_human_readable_version() {
        let it = OsRelease::parse(
            "PRETTY_NAME='Debian GNU/Linux 12'\nID=debian\nVERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\n",
        );
        assert_eq!(it.entry_title(), Some("Debian GNU/Linux 12"));
        assert_eq!(it.entry_version(), Some("12 (bookworm)"));
        assert_eq!(it.image_version(), Some("12"));
        assert_eq!(it.entry_sort_key(), Some("debian"));
    }
}
