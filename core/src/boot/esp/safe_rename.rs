//! Renaming and removing on FAT, where a power cut can leave two names of one file.
//!
//! A rename that takes two writes and is interrupted between them leaves both names. They share their clusters, and
//! removing either would free the clusters of both. Or the new name has no clusters yet (see
//! [`Volume::rename_durably`]). A name that is set aside because of this is marked as removed later ([`aliases`]).

use std::io::{self, Read};

use log::warn;

use crate::boot::esp::volume::{Item, ReadSeek, Volume, parent};
use crate::boot::esp::{aliases, padding};
use crate::error::{Error, OrError, Result};

/// More of them need a manual repair.
const MOST: u32 = 99;

/// Renames a file inside its directory, never over another, and makes that durable. Where an interrupted rename
/// has left both names, the old one is set aside; where it has left the new name without clusters, that name is
/// removed first.
///
/// # Errors
/// [`Error::Boot`]; if the rename itself succeeded and only the flush failed, too.
pub fn rename(volume: &dyn Volume, from: &str, to: &str) -> Result<()> {
    let cannot = || format!("{from}: cannot rename to {to}");
    match padding::rename(volume, from, to) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match compare_names(volume, from, to)? {
            OtherName::Different => Err(e).or_boot(cannot),
            OtherName::Same => set_aside(volume, from),
            OtherName::Empty => {
                remove(volume, to).and_then(|()| padding::rename(volume, from, to)).or_boot(cannot)
            }
        },
        renamed => renamed.or_boot(cannot),
    }
}

/// Removes a file that no loader shows, if it exists, and makes that durable. Where another name has the same
/// content, or might have, the clusters may be shared and still be needed; this name is then set aside. Names that
/// are set aside already do not count.
///
/// # Errors
/// [`Error::Boot`].
pub fn discard(volume: &dyn Volume, path: &str) -> Result<()> {
    if may_share_clusters(volume, path)? {
        return set_aside(volume, path);
    }
    remove(volume, path).or_boot(|| format!("{path}: cannot remove"))
}

fn remove(volume: &dyn Volume, path: &str) -> io::Result<()> {
    match volume.remove(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.and_then(|()| volume.sync_dir(parent(path))),
    }
}

fn may_share_clusters(volume: &dyn Volume, path: &str) -> Result<bool> {
    let dir = parent(path);
    let items = volume.list(dir).or_boot(|| format!("{dir}: cannot read"))?;
    let is_it = |item: &&Item| format!("{dir}/{}", item.name).eq_ignore_ascii_case(path);
    let Some(len) = items.iter().find(is_it).map(|item| item.len).filter(|len| *len > 0) else {
        return Ok(false);
    };
    let is_aside = |item: &Item| item.name.to_ascii_lowercase().ends_with(".tmp");
    for other in items.iter().filter(|item| !item.is_dir && item.len == len && !is_aside(item)) {
        let other = format!("{dir}/{}", other.name);
        match compare_names(volume, path, &other) {
            Ok(OtherName::Same) => return Ok(true),
            Ok(OtherName::Empty | OtherName::Different) => {}
            // An interrupted removal may have freed a part of it. It is unknown which file owns the rest.
            Err(e) => {
                warn!("{e}");
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Renames a file that is no longer needed to a name that no loader shows and that Abide leaves alone, until it may write
/// to the device itself ([`aliases`]).
///
/// # Errors
/// [`Error::Boot`] if there are too many already, or the rename fails.
fn set_aside(volume: &dyn Volume, path: &str) -> Result<()> {
    let dir = parent(path);
    let items = volume.list(dir).or_boot(|| format!("{dir}: cannot read"))?;
    let is_free = |name: &String| !items.iter().any(|item| item.name.eq_ignore_ascii_case(name));
    let aside = (0..=MOST).map(aliases::name).find(is_free).ok_or_else(|| {
        Error::Boot(format!(
            "{dir}: too many files that share their clusters; unmount the ESP and run this again, which removes them"
        ))
    })?;
    let aside = format!("{dir}/{aside}");
    warn!("{path} may share its clusters with a boot entry after a power cut; renaming it to {aside}");
    volume.rename_durably(path, &aside).or_boot(|| format!("{path}: cannot rename to {aside}"))
}

/// How the file of another name relates to a file.
enum OtherName {
    /// It has no clusters: removing it frees none.
    Empty,
    /// It has the same content, so that both may share their clusters.
    Same,
    /// It has other content, or is the same name (FAT ignores the case).
    Different,
}

fn compare_names(volume: &dyn Volume, file: &str, other: &str) -> Result<OtherName> {
    if file.eq_ignore_ascii_case(other) {
        return Ok(OtherName::Different);
    }
    let open = |path: &str| volume.open(path).or_boot(|| format!("{path}: cannot open"));
    let (mut one, mut two) = (open(file)?, open(other)?);
    compare(&mut *one, &mut *two).or_boot(|| format!("{file}: cannot compare with {other}"))
}

fn compare(file: &mut dyn ReadSeek, other: &mut dyn ReadSeek) -> io::Result<OtherName> {
    let (mut part, mut others, mut total) = (vec![0; 1 << 16], vec![], 0);
    loop {
        let len = file.read(&mut part)?;
        let read = part.get(..len).unwrap_or_default();
        others.clear();
        // At the end of the file, one byte more than there should be.
        other.take(len.max(1) as u64).read_to_end(&mut others)?;
        if total == 0 && others.is_empty() {
            return Ok(OtherName::Empty);
        }
        if read != others.as_slice() {
            return Ok(OtherName::Different);
        }
        if len == 0 {
            return Ok(OtherName::Same);
        }
        total += len;
    }
}
