//! What a feed lists of an image that cannot be installed: its newest release may be among that.

use crate::boot::names::is_same_image;
use crate::image::names::base_name;
use abide_core::boot::model::version::compare;

/// The most of them that are remembered.
const MAX: usize = 64;

/// What is listed and cannot be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unusable {
    /// Image, version and architecture.
    releases: Vec<(String, String, Option<&'static str>)>,
    /// Files whose names say nothing to this program.
    files: Vec<String>,
}

impl Unusable {
    /// Adds a release.
    pub fn add(&mut self, image: &str, version: &str, arch: Option<&'static str>) {
        if self.releases.len() < MAX {
            self.releases.push((image.to_owned(), version.to_owned(), arch));
        }
    }

    /// Adds a file.
    pub fn add_file(&mut self, name: &str) {
        if self.files.len() < MAX {
            self.files.push(name.to_owned());
        }
    }

    /// The newest that is newer than `running`, by its version or its file name.
    #[must_use]
    pub fn newer(&self, image: &str, arch: &str, running: &str) -> Option<String> {
        let fits = |(its, _, of): &&(String, String, Option<&str>)| {
            is_same_image(its, image) && of.is_none_or(|of| of == arch)
        };
        let releases = self.releases.iter().filter(fits);
        let releases = releases.map(|(_, version, _)| (version.as_str(), format!("{image} {version}")));
        let files =
            self.files.iter().filter_map(|name| Some((version_in(base_name(name), image)?, name.clone())));
        let newer = releases.chain(files).filter(|(version, _)| compare(version, running).is_gt());
        newer.max_by(|(a, _), (b, _)| compare(a, b)).map(|(_, shown)| shown)
    }
}

/// The version in the name of a file of this image, with any ending; none if there is no number.
fn version_in<'n>(name: &'n str, image: &str) -> Option<&'n str> {
    let rest = name.strip_prefix(image)?.strip_prefix(['_', '-'])?;
    let is_end = |(at, c): &(usize, char)| {
        *c == '_'
            || *c == '.'
                && !rest.get(at + 1..).is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit()))
    };
    let end = rest.char_indices().find(is_end).map_or(rest.len(), |(at, _)| at);
    rest.get(..end).filter(|version| version.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_that_cannot_be_used_is_named() {
        let mut unusable = Unusable::default();
        unusable.add("edge", "2.0", None);
        unusable.add("edge", "4.0", Some("none"));
        unusable.add("other", "9.0", None);
        assert_eq!(unusable.newer("edge", "x86-64", "1.0").as_deref(), Some("edge 2.0"));
        assert_eq!(unusable.newer("edge", "x86-64", "2.0"), None);
        for name in ["README", "edge_notes.txt", "edge_3.0_x86.vmdk"] {
            unusable.add_file(name);
        }
        assert_eq!(unusable.newer("edge", "x86-64", "2.0").as_deref(), Some("edge_3.0_x86.vmdk"));
    }
}
