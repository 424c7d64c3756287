//! Unit files below a root, without asking a running systemd.

use std::fs;
use std::path::Path;

use abide_core::root::Root;

/// The folders of unit files, the first wins (systemd.unit(5)).
const UNIT_DIRS: [&str; 6] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator",
];

/// What systemd would load under a unit's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitFile {
    /// A unit.
    Installed,
    /// A link to `/dev/null`, or an empty file.
    Masked,
    /// Nothing.
    Missing,
}

/// What systemd would load under the name `unit`.
#[must_use]
pub fn find(root: &Root, unit: &str) -> UnitFile {
    // An instance comes from its template.
    let template =
        unit.split_once('@').and_then(|(name, rest)| Some(format!("{name}@.{}", rest.rsplit_once('.')?.1)));
    for name in std::iter::once(unit).chain(template.as_deref()) {
        for dir in UNIT_DIRS {
            let path = root.path(format!("{dir}/{name}"));
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            let to_null =
                meta.is_symlink() && fs::read_link(&path).is_ok_and(|to| to == Path::new("/dev/null"));
            let is_masked = to_null || (meta.is_file() && meta.len() == 0);
            return if is_masked { UnitFile::Masked } else { UnitFile::Installed };
        }
    }
    UnitFile::Missing
}

/// Whether any folder of unit files holds `path`, such as a drop-in.
#[must_use]
pub fn exists(root: &Root, path: &str) -> bool {
    UNIT_DIRS.iter().any(|dir| root.path(format!("{dir}/{path}")).exists())
}

/// Whether a timer is enabled.
#[must_use]
pub fn is_timer_enabled(root: &Root, timer: &str) -> bool {
    let is_link =
        |dir: &str| root.path(format!("{dir}/timers.target.wants/{timer}")).symlink_metadata().is_ok();
    UNIT_DIRS.into_iter().any(is_link)
}

/// The units that `unit` requires by a link in its `.requires` folders, by name.
#[must_use]
pub fn required_by(root: &Root, unit: &str) -> Vec<String> {
    let folders = UNIT_DIRS.iter().map(|dir| root.path(format!("{dir}/{unit}.requires")));
    let files = folders.filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
    let mut names: Vec<String> = files.filter_map(|file| file.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_unit_is_what_the_first_folder_that_has_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        for folder in UNIT_DIRS {
            fs::create_dir_all(root.path(folder)).unwrap();
        }
        let put = |path: &str| fs::write(root.path(path), "[Unit]\n").unwrap();
        put("/usr/lib/systemd/system/a.service");
        put("/usr/lib/systemd/system/b.service");
        put("/usr/lib/systemd/system/c@.service");
        symlink("/dev/null", root.path("/etc/systemd/system/b.service")).unwrap();
        assert_eq!(find(&root, "a.service"), UnitFile::Installed);
        assert_eq!(find(&root, "b.service"), UnitFile::Masked);
        assert_eq!(find(&root, "c@x.service"), UnitFile::Installed);
        assert_eq!(find(&root, "d.service"), UnitFile::Missing);
    }
}
