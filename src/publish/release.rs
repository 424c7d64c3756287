//! Publishes one release: its partitions in frames, their maps, patches for each older release, and the list.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::delta::{Map, file_names};
use crate::disk::role::Role;
use crate::feed::catalog::METADATA;
use crate::image::names::{self, Content, SUMS};
use crate::publish::deltas::{pack, write_patch};
use crate::publish::file_system;
use crate::publish::folder::{Files, Listed, update_list};
use crate::publish::metadata;
use crate::publish::raw_file::{RawFile, tempfile};
use crate::publish::split::into_set;
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
    /// Whether the release gets an entry in `feed.toml`, and the time of publication in it.
    pub feed_toml: bool,
    /// That time.
    pub published: Option<String>,
}

/// What was made, or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// The full file of a partition.
    Full {
        /// Its name.
        name: String,
        /// Its size in bytes.
        bytes: u64,
        /// The size of the unpacked partition in bytes.
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
    /// The image of a whole disk, which is published as a set instead.
    Unlisted(String),
    /// What makes patches large, in a sentence.
    Warning(String),
    /// What a machine fetches in all beside the list, in bytes.
    Total {
        /// The version that runs; none: any without a patch.
        from: Option<String>,
        /// The bytes.
        bytes: u64,
    },
    /// The list of digests.
    List {
        /// Whether it has changed, so that it must be signed again.
        changed: bool,
    },
}

/// Smaller partitions have no map: it and a patch would cost requests, and save nothing.
const SMALL: u64 = 256 << 10;

/// Publishes a release; `tell` gets what was made.
///
/// # Errors
/// [`Error::Usage`] if there is no such release; [`Error::Refused`] if it is published already with other files;
/// [`Error::Image`] if a file cannot be read; [`Error::Failed`] if one cannot be written.
pub fn publish(options: &Options, mut tell: impl FnMut(Made)) -> Result<()> {
    let folder = &options.folder;
    let mut new = new_release(options)?;
    let old = options.from.iter().map(|from| old_release(folder, from, &new)).collect::<Result<Vec<_>>>()?;
    let listed = Listed::read(folder)?;
    if let Some(disk) = into_set(&mut new, &listed)? {
        tell(Made::Unlisted(file_name(&disk)));
    }
    let mut release = Release {
        folder,
        listed: &listed,
        tell: &mut tell,
        made: Vec::new(),
        dropped: Vec::new(),
        full: 0,
        totals: vec![0; old.len()],
    };
    for (content, path) in &new.by_content {
        let old = old.iter().map(|old| (old.version.as_str(), old.by_content.get(content)));
        let old: Vec<_> = old.collect();
        match content {
            Content::Disk => {}
            Content::Uki => release.uki(path, &old)?,
            Content::Part(role) => release.part(*role, path, &old)?,
        }
    }
    let Release { mut made, dropped, full, totals, .. } = release;
    if options.feed_toml {
        metadata::add(folder, &new, options.published.as_deref())?;
        made.push(METADATA.to_owned());
    }
    tell(Made::Total { from: None, bytes: full });
    for (old, bytes) in old.into_iter().zip(totals) {
        tell(Made::Total { from: Some(old.version), bytes });
    }
    tell(Made::List { changed: update_list(folder, &listed, &made, &dropped)? });
    Ok(())
}

/// The release to publish.
fn new_release(options: &Options) -> Result<Files> {
    let Options { folder, version, .. } = options;
    let mut found = Files::in_folder(folder)?;
    let is_whole = |its: &Files| its.has_root() || its.by_content.contains_key(&Content::Disk);
    found.retain(|its| is_whole(its) && version.as_ref().is_none_or(|version| *version == its.version));
    found.pop().ok_or_else(|| {
        let which = version.as_ref().map_or_else(String::new, |version| format!(" of version {version}"));
        Error::Usage(format!(
            "{}: has no root{which}; expected a file such as edge_2.0.root.raw or edge_2.0.raw",
            folder.display()
        ))
    })
}

/// The files of an older release.
fn old_release(folder: &Path, from: &str, new: &Files) -> Result<Files> {
    let path = Path::new(from);
    let is_old = |files: &Files| files.has_root() && files.image == new.image && files.version != new.version;
    let found = if path.is_dir() {
        Files::in_folder(path)?.into_iter().rfind(is_old)
    } else if path.is_file() {
        Files::with(path)?.filter(is_old)
    } else {
        Files::in_folder(folder)?.into_iter().rfind(|files| is_old(files) && files.version == from)
    };
    found.ok_or_else(|| {
        Error::Usage(format!(
            "--from {from}: is no older release; name a version in {}, the file of a root, or a folder with one",
            folder.display()
        ))
    })
}

/// The files of one content in older releases, with their versions.
type Older<'a> = [(&'a str, Option<&'a PathBuf>)];

/// A release that is being published.
struct Release<'a> {
    folder: &'a Path,
    listed: &'a Listed,
    tell: &'a mut dyn FnMut(Made),
    /// The files to list.
    made: Vec<String>,
    /// Files that others take the place of.
    dropped: Vec<String>,
    /// Bytes that a machine fetches: without a patch, and from each older release.
    full: u64,
    totals: Vec<u64>,
}

impl Release<'_> {
    /// The full file of a partition, its map and its patches.
    fn part(&mut self, role: Role, path: &Path, older: &Older<'_>) -> Result<()> {
        let file = file_name(path);
        let unpacked = names::unpacked(&file);
        let part = RawFile::open(path, self.folder)?;
        if part.len == 0 {
            return Err(Error::Image(format!("{}: is empty", path.display())));
        }
        let (full, name) = (format!("{unpacked}.zst"), file_names::map(unpacked));
        let published = published_map(self.folder, self.listed, &full, &name)?;
        let is_root = role == Role::Root;
        if published.is_none() && !is_root && (part.len < SMALL || self.listed.lists(&[&full, &file])) {
            return self.as_it_is(path);
        }
        if let Some(warning) = file_system::warning(&part).filter(|_| is_root) {
            (self.tell)(Made::Warning(warning));
        }
        let map = match published {
            Some(map) => map,
            None => {
                self.listed.refuse_replaced(&[&full, &file])?;
                let (map, modules) = write_whole(&self.folder.join(&full), |to| pack(&part, to))?;
                if let Some(warning) = file_system::packed_modules(modules).filter(|_| is_root) {
                    (self.tell)(Made::Warning(warning));
                }
                write_whole(&self.folder.join(&name), |to| {
                    to.write_all(&map.encode()).or_failed(|| "cannot write the map")
                })?;
                map
            }
        };
        (self.tell)(Made::Full { name: full.clone(), bytes: map.full_len, unpacked: map.len });
        let frames = RawFile::open_as_is(&self.folder.join(&full))?;
        let bytes = map.full_len + self.len(&name)?;
        self.made.extend([full, name]);
        self.full += bytes;
        for (number, (from, old)) in older.iter().enumerate() {
            let fetched = match old {
                Some(old) => {
                    let old = RawFile::open(old, self.folder)?;
                    if let Some(warning) =
                        file_system::other_salt(&part, &old).filter(|_| role == Role::Verity)
                    {
                        (self.tell)(Made::Warning(format!("{from}: {warning}")));
                    }
                    self.patch(unpacked, from, map.full_len, |to| {
                        write_patch(&part, &map, &frames, &old, to)
                    })? + (bytes - map.full_len)
                }
                None => bytes,
            };
            self.add(number, fetched);
        }
        if !self.made.contains(&file) {
            self.dropped.push(file);
        }
        Ok(())
    }

    /// A UKI as it is, and its patches.
    fn uki(&mut self, path: &Path, older: &Older<'_>) -> Result<()> {
        let file = file_name(path);
        let unpacked = names::unpacked(&file);
        let full = self.len(&file)?;
        let uki = RawFile::open(path, self.folder)?;
        // Frames for regions that resemble nothing. They are in no published file.
        let mut frames = None;
        for (number, (from, old)) in older.iter().enumerate() {
            let Some(old) = old else {
                self.add(number, full);
                continue;
            };
            let (map, frames) = match &frames {
                Some(frames) => frames,
                None => frames.insert(packed_aside(&uki, self.folder)?),
            };
            let old = RawFile::open(old, self.folder)?;
            let fetched = self.patch(unpacked, from, full, |to| write_patch(&uki, map, frames, &old, to))?;
            self.add(number, fetched);
        }
        self.made.push(file);
        self.full += full;
        Ok(())
    }

    fn as_it_is(&mut self, path: &Path) -> Result<()> {
        let file = file_name(path);
        let bytes = self.len(&file)?;
        self.full += bytes;
        self.totals.iter_mut().for_each(|total| *total += bytes);
        self.made.push(file);
        Ok(())
    }

    /// Writes a patch. Returns what a machine fetches.
    fn patch(
        &mut self,
        unpacked: &str,
        from: &str,
        full: u64,
        write: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
    ) -> Result<u64> {
        let name = file_names::patch(unpacked, from);
        write_whole(&self.folder.join(&name), write)?;
        let bytes = self.len(&name)?;
        (self.tell)(Made::Patch { from: from.to_owned(), name: name.clone(), bytes, full });
        self.made.push(name);
        // A larger one is not used.
        Ok(bytes.min(full))
    }

    fn add(&mut self, number: usize, bytes: u64) {
        self.totals.get_mut(number).into_iter().for_each(|total| *total += bytes);
    }

    fn len(&self, name: &str) -> Result<u64> {
        Ok(fs::metadata(self.folder.join(name)).or_failed(|| format!("{name}: cannot read"))?.len())
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The frames of a file, in a file without a name, and their map.
fn packed_aside(file: &RawFile, temporary: &Path) -> Result<(Map, RawFile)> {
    let cannot = || format!("{}: cannot write there", temporary.display());
    let mut frames = tempfile(temporary).or_failed(cannot)?;
    let (map, _) = pack(file, &mut frames)?;
    Ok((map, RawFile::of(frames).or_failed(cannot)?))
}

/// The map of a partition that is published already.
fn published_map(folder: &Path, listed: &Listed, full: &str, map: &str) -> Result<Option<Map>> {
    if !listed.has(folder, full)? || !listed.has(folder, map)? {
        return Ok(None);
    }
    let bytes = fs::read(folder.join(map)).or_failed(|| format!("{map}: cannot read"))?;
    Map::parse(&bytes).map(Some).map_err(|e| Error::Image(format!("{map}: {e}")))
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
