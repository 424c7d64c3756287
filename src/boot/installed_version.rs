//! The version by which an image is installed.

use abide_core::boot::model::osrel::OsRelease;

/// `IMAGE_VERSION`; without it, `VERSION` where that is `VERSION_ID` with more digits behind it (`3.0.20250717` behind `3.0`),
/// else as [`OsRelease::image_version`].
#[must_use]
pub fn installed_version(release: &OsRelease) -> Option<&str> {
    let is_word = |text: &&str| text.chars().all(|c| c.is_ascii_alphanumeric() || "._~^-".contains(c));
    let longer = release.version.as_deref().filter(|version| {
        let base = release.version_id.as_deref().unwrap_or_default();
        let more = version.strip_prefix(base).and_then(|more| more.strip_prefix('.'));
        !base.is_empty() && more.is_some_and(|more| !more.is_empty() && is_word(&more))
    });
    release.image_version.as_deref().or(longer).or_else(|| release.image_version())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_behind_the_distributions_version_is_the_images_version() {
        let version = |text: &str| {
            let it = OsRelease::parse(text);
            (installed_version(&it).map(str::to_owned), it.is_unversioned())
        };
        let build = "VERSION=\"3.0.20250717\"\nVERSION_ID=\"3.0\"\n";
        assert_eq!(version(build), (Some("3.0.20250717".into()), true));
        assert_eq!(version(&format!("{build}IMAGE_VERSION=7\n")), (Some("7".into()), false));
        for other in ["3.01", "3.0.", "3.0 (x)", "3.0.1 LTS", "4.0.1"] {
            let text = format!("VERSION=\"{other}\"\nVERSION_ID=3.0\n");
            assert_eq!(version(&text), (Some("3.0".into()), true), "{other}");
        }
    }
}
