//! Publishes one release: its full root in frames, the map, a patch for each older release, and the list.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::delta::{Map, file_names};
use crate::disk::role::Role;
use crate::image::names::{self, Content, Name, SUMS};
use crate::publish::deltas::{pack_root, write_patch};
use crate::publish::folder::{Listed, files, roots, update_list};
use crate::publish::root_file::RootFile;
use abide_core::error::{Error, OrError, Result};

/// What to publish.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder with the files of the release, which becomes the published one.
    pub folder: PathBuf,
    /// Older releases to make patches from: a version in the folder, a root, or a folder with one.
    pub from: Vec<String>,
    /// The version to publish; by default the newest in the folder.
    pub version: Option<String>,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// The full root.
    Full {
        /// Its name.
        name: String,
        /// Its size in bytes.
        bytes: u64,
        /// The size of the unpacked root in bytes.
        unpacked: u64,
    },
    /// A patch.
    Patch {
        /// The version it is for.
        from: String,
        /// Its name.
        name: String,
        /// Its size in bytes.
        bytes: u64,
        /// The size of the full file in bytes.
        full: u64,
    },
    /// The list of digests.
    List {
        /// Whether it has changed, so that it must be signed again.
        changed: bool,
    },
}

/// zstd's levels. The build leaves out what higher ones need, which bring little: what a patch finds are the old bytes.
const FULL_LEVEL: i32 = 9;
const PATCH_LEVEL: i32 = 12;

/// Publishes a release; `tell` gets what was made.
///
/// # Errors
/// [`Error::Usage`] if there is no such release; [`Error::Refused`] if it is published already with other files;
/// [`Error::Image`] if a root cannot be read; [`Error::Failed`] if a file cannot be written.
pub fn publish(options: &Options, mut tell: impl FnMut(&Made)) -> Result<()> {
    let folder = &options.folder;
    let (version, path) = new_root(options)?;
    let old = options.from.iter().map(|from| old_root(folder, from, &version)).collect::<Result<Vec<_>>>()?;
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let unpacked = names::unpacked(&file);
    let listed = Listed::read(folder)?;
    let root = RootFile::open(&path, folder)?;
    if root.len == 0 {
        return Err(Error::Image(format!("{}: is empty", path.display())));
    }
    let full = format!("{unpacked}.zst");
    let name = file_names::map(unpacked);
    let map = match published_map(folder, &listed, &full, &name)? {
        Some(map) => map,
        None => {
            listed.refuse_replaced(&[&full, &file])?;
            let map = write_whole(&folder.join(&full), |to| pack_root(&root, FULL_LEVEL, to))?;
            write_whole(&folder.join(&name), |to| {
                to.write_all(&map.encode()).or_failed(|| "cannot write the map")
            })?;
            map
        }
    };
    tell(&Made::Full { name: full.clone(), bytes: map.full_len, unpacked: map.len });
    let mut made = vec![full, name];
    for (from, path) in old {
        let name = file_names::patch(unpacked, &from);
        let old = RootFile::open(&path, folder)?;
        write_whole(&folder.join(&name), |to| write_patch(&root, &map, &old, PATCH_LEVEL, to))?;
        let bytes = fs::metadata(folder.join(&name)).or_failed(|| format!("{name}: cannot read"))?.len();
        tell(&Made::Patch { from, name: name.clone(), bytes, full: map.full_len });
        made.push(name);
    }
    made.extend(parts_beside(folder, &file, &version)?);
    let dropped = if made.contains(&file) { vec![] } else { vec![file] };
    tell(&Made::List { changed: update_list(folder, &listed, &made, &dropped)? });
    Ok(())
}

/// The root to publish.
fn new_root(options: &Options) -> Result<(String, PathBuf)> {
    let Options { folder, version, .. } = options;
    let mut found = roots(folder)?;
    found.retain(|(its, _)| version.as_ref().is_none_or(|version| version == its));
    // Behind packed ones of the same version: the unpacked one.
    found.pop().ok_or_else(|| {
        let which = version.as_ref().map_or_else(String::new, |version| format!(" of version {version}"));
        Error::Usage(format!(
            "{}: has no root{which}; expected a file such as edge_2.0.root.raw",
            folder.display()
        ))
    })
}

/// The root of an older release, and its version.
fn old_root(folder: &Path, from: &str, new: &str) -> Result<(String, PathBuf)> {
    let path = Path::new(from);
    let found = if path.is_dir() {
        roots(path)?.into_iter().rfind(|(version, _)| version != new)
    } else if path.is_file() {
        let version = path.file_name().and_then(|name| Some(Name::parse(name.to_str()?)?.version.to_owned()));
        version.map(|version| (version, path.to_owned()))
    } else {
        roots(folder)?.into_iter().rfind(|(version, _)| version == from)
    };
    found.filter(|(version, _)| version != new).ok_or_else(|| {
        Error::Usage(format!(
            "--from {from}: is no older release; name a version in {}, the file of a root, or a folder with one",
            folder.display()
        ))
    })
}

/// The map of a release that is published already.
fn published_map(folder: &Path, listed: &Listed, full: &str, map: &str) -> Result<Option<Map>> {
    if !listed.has(folder, full)? || !listed.has(folder, map)? {
        return Ok(None);
    }
    let bytes = fs::read(folder.join(map)).or_failed(|| format!("{map}: cannot read"))?;
    Map::parse(&bytes).map(Some).map_err(|e| Error::Image(format!("{map}: {e}")))
}

/// The other files of the release: its UKI and verity parts.
fn parts_beside(folder: &Path, root: &str, version: &str) -> Result<Vec<String>> {
    let own = Name::parse(root);
    let is_part = |name: &Name<'_>| {
        let is_of_release =
            name.version == version && own.as_ref().is_some_and(|own| own.image == name.image);
        is_of_release && !matches!(name.content, Content::Disk | Content::Part(Role::Root))
    };
    let mut beside = files(folder)?;
    beside.retain(|name| Name::parse(name).is_some_and(|name| is_part(&name)));
    Ok(beside)
}

/// Writes a file under another name first, so that it is complete or not there.
fn write_whole<T>(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<T>) -> Result<T> {
    let new = path.with_file_name(format!("{}.new", path.file_name().unwrap_or_default().to_string_lossy()));
    let cannot = || format!("{}: cannot write", path.display());
    let mut to = BufWriter::with_capacity(1 << 20, File::create(&new).or_failed(cannot)?);
    let written = write(&mut to)?;
    to.into_inner()
        .map_err(std::io::IntoInnerError::into_error)
        .or_failed(cannot)?
        .sync_all()
        .or_failed(cannot)?;
    fs::rename(&new, path).or_failed(cannot)?;
    Ok(written)
}

/// How the list is signed.
#[must_use]
pub fn how_to_sign(folder: &Path) -> String {
    format!("sign it: gpg --detach-sign {0}/{SUMS}, or minisign -S -m {0}/{SUMS}", folder.display())
}
