//! What is to be written.

use crate::image::trust::Installer;
use crate::update::write::lacking::Lacking;

/// What to write.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// A path, a URL, `-`, or a folder with `SHA256SUMS`.
    pub image: &'a str,
    /// SHA-256 of the published file, if the user gave it.
    pub sha256: Option<&'a str>,
    /// The version to take from a folder, or that the image must have.
    pub version: Option<&'a str>,
    /// Who installs it.
    pub installer: Installer,
    /// The name under which the agent remembers the lists of its source; none: they are neither compared nor
    /// remembered. By hand, a folder has its own.
    pub list_name: Option<&'a str>,
    /// Whether the image may be older than the floor, and its list older than one that was seen.
    pub allow_downgrade: bool,
    /// Takes note of what is missing, where the folder need not have the full file of a root; none: it has to.
    pub lacking: Option<&'a Lacking>,
}

impl<'a> Wanted<'a> {
    /// An image that somebody has named.
    #[must_use]
    pub fn of(image: &'a str) -> Self {
        Self {
            image,
            sha256: None,
            version: None,
            installer: Installer::ByHand,
            list_name: None,
            allow_downgrade: false,
            lacking: None,
        }
    }
}
