//! The build of a system whose image has no version of its own.

use crate::files;
use abide_core::root::Root;
use abide_core::text;
use abide_core::update::kernel::os_release;

/// What EMT's image builder writes into an image.
const IMAGE_ID: &str = "/etc/image-id";

/// The build of the running system, for people: `BUILD_NUMBER` of `/etc/image-id`, else `IMAGE_BUILD_DATE`. None where the
/// image has a version of its own.
#[must_use]
pub(super) fn of_running(root: &Root) -> Option<String> {
    if os_release(root).is_some_and(|release| !release.is_unversioned()) {
        return None;
    }
    let path = root.path(IMAGE_ID);
    let lines =
        files::read_text(&path).inspect_err(|e| log::warn!("{e}; the build is unknown")).ok().flatten()?;
    let value = |key: &str| {
        let found = lines.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        let found = text::line(found.trim().trim_matches('"'));
        (!found.is_empty()).then_some(found)
    };
    value("BUILD_NUMBER").or_else(|| value("IMAGE_BUILD_DATE"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn a_build_is_shown_where_the_image_has_no_version_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        fs::create_dir_all(dir.path().join("etc")).unwrap();
        assert_eq!(of_running(&root), None);
        let write = |name: &str, text: &str| fs::write(dir.path().join("etc").join(name), text).unwrap();
        write("image-id", "IMAGE_UUID=1\nIMAGE_BUILD_DATE=20250717073412\n");
        assert_eq!(of_running(&root).as_deref(), Some("20250717073412"));
        write("image-id", "BUILD_NUMBER=\"20250717.0734\"\nIMAGE_BUILD_DATE=20250717073412\n");
        assert_eq!(of_running(&root).as_deref(), Some("20250717.0734"));
        write("os-release", "ID=edge\nIMAGE_VERSION=1.0\n");
        assert_eq!(of_running(&root), None);
    }
}
