//! Which files make up the configuration, in the order in which they are read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{OrError, Result};
use crate::root::Root;

/// The main files; the second changes single keys of the first.
const MAIN: [&str; 2] = ["/usr/lib/abide/abide.toml", "/etc/abide/abide.toml"];

/// The folders of fragments. Of files with the same name, that in the last folder wins.
const FRAGMENTS: [&str; 3] = ["/usr/lib/abide/abide.d", "/run/abide/abide.d", "/etc/abide/abide.d"];

/// The files to read, first to last. `main` replaces both main files and must exist.
///
/// # Errors
/// [`crate::error::Error::Usage`] if a folder of fragments exists but cannot be read.
pub fn find(root: &Root, main: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut files = match main {
        Some(main) => vec![main.to_path_buf()],
        None => existing(root, MAIN.iter().map(Path::new))?,
    };
    let mut fragments: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for folder in FRAGMENTS {
        for name in names(root, folder)? {
            fragments.insert(name.clone(), Path::new(folder).join(name));
        }
    }
    fragments.retain(|_, path| !is_masked(root, path));
    files.extend(existing(root, fragments.values().map(PathBuf::as_path))?);
    Ok(files)
}

fn existing<'p>(root: &Root, paths: impl Iterator<Item = &'p Path>) -> Result<Vec<PathBuf>> {
    let resolved: Vec<PathBuf> = paths.map(|path| root.resolve(path)).collect::<Result<_>>()?;
    Ok(resolved.into_iter().filter(|path| path.exists()).collect())
}

fn names(root: &Root, folder: &str) -> Result<Vec<OsString>> {
    let dir = root.resolve(folder)?;
    let what = || format!("{}: cannot read the configuration fragments", dir.display());
    let entries = match fs::read_dir(&dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.or_usage(what)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.or_usage(what)?.file_name();
        if Path::new(&name).extension().is_some_and(|e| e == "toml") {
            names.push(name);
        }
    }
    Ok(names)
}

/// A link to `/dev/null` masks a fragment, as in systemd's own folders.
fn is_masked(root: &Root, path: &Path) -> bool {
    root.resolve(path).is_ok_and(|target| target == root.path("/dev/null"))
}
