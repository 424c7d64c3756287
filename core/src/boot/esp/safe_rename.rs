//! Renaming and removing on FAT, where a power cut can leave a file a second name.
//!
//! A rename that takes two writes and is cut off between them leaves both names. They share their clusters, and to
//! remove either would free the clusters of both. Or the new one has none yet (see [`Volume::rename_durably`]).

use std::io::{self, Read};

use log::warn;

use crate::boot::esp::padding;
use crate::boot::esp::volume::{Item, ReadSeek, Volume, folder};
use crate::error::{Error, OrError, Result};

/// More of them are a case for a person. A number of two digits keeps the name a short one (FAT, 8.3).
const MOST: u32 = 99;

/// Renames a file inside its folder, never over another, and makes that durable. Where a rename that was cut off
/// has left the file the new name besides, it is the old name that goes, set aside; where
/// it has left the new name without a file, that makes room.
///
/// # Errors
/// [`Error::Boot`]; if the rename itself succeeded and only the flush failed, too.
pub fn rename(volume: &dyn Volume, from: &str, to: &str) -> Result<()> {
    let cannot = || format!("{from}: cannot rename to {to}");
    match padding::rename(volume, from, to) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match look_at(volume, from, to)? {
            Found::Another => Err(e).or_boot(cannot),
            Found::Itself => set_aside(volume, from),
            Found::Nothing => {
                remove(volume, to).and_then(|()| padding::rename(volume, from, to)).or_boot(cannot)
            }
        },
        renamed => renamed.or_boot(cannot),
    }
}

/// Removes a file that no loader shows, if it is there, and makes that durable. Where a file that is not set
/// aside itself is the same, or may be, the clusters are still needed; the name is set aside then.
///
/// # Errors
/// [`Error::Boot`].
pub fn discard(volume: &dyn Volume, path: &str) -> Result<()> {
    if has_another_name(volume, path)? {
        return set_aside(volume, path);
    }
    remove(volume, path).or_boot(|| format!("{path}: cannot remove"))
}

fn remove(volume: &dyn Volume, path: &str) -> io::Result<()> {
    match volume.remove(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.and_then(|()| volume.sync_dir(folder(path))),
    }
}

fn has_another_name(volume: &dyn Volume, path: &str) -> Result<bool> {
    let dir = folder(path);
    let items = volume.list(dir).or_boot(|| format!("{dir}: cannot read"))?;
    let is_it = |item: &&Item| format!("{dir}/{}", item.name).eq_ignore_ascii_case(path);
    let Some(len) = items.iter().find(is_it).map(|item| item.len).filter(|len| *len > 0) else {
        return Ok(false);
    };
    let is_aside = |item: &Item| item.name.to_ascii_lowercase().ends_with(".tmp");
    for other in items.iter().filter(|item| !item.is_dir && item.len == len && !is_aside(item)) {
        let other = format!("{dir}/{}", other.name);
        match look_at(volume, path, &other) {
            Ok(Found::Itself) => return Ok(true),
            Ok(Found::Nothing | Found::Another) => {}
            // A cut may have freed a part of it already. Whose the rest is cannot be told.
            Err(e) => {
                warn!("{e}");
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Gives a name that is not wanted any more one that no loader shows and nobody touches again;
/// `fsck.vfat` may.
///
/// # Errors
/// [`Error::Boot`] if there are too many already, or the disk says something.
fn set_aside(volume: &dyn Volume, path: &str) -> Result<()> {
    let dir = folder(path);
    let items = volume.list(dir).or_boot(|| format!("{dir}: cannot read"))?;
    let is_free = |name: &String| !items.iter().any(|item| item.name.eq_ignore_ascii_case(name));
    let aside = (0..=MOST).map(|n| format!("shared{n}.tmp")).find(is_free).ok_or_else(|| {
        Error::Boot(format!("{dir}: too many files that share their clusters; run fsck.vfat on the ESP"))
    })?;
    let aside = format!("{dir}/{aside}");
    warn!("{path} may share its clusters with a boot entry after a power cut; it is {aside} from now on");
    volume.rename_durably(path, &aside).or_boot(|| format!("{path}: cannot rename to {aside}"))
}

/// What a name leads to, beside a file.
enum Found {
    /// A name without clusters: to remove it frees none.
    Nothing,
    /// The file itself, as far as can be told: one of the same bytes.
    Itself,
    /// Another file, or the file under the same name (upper and lower case are one on FAT).
    Another,
}

fn look_at(volume: &dyn Volume, file: &str, name: &str) -> Result<Found> {
    if file.eq_ignore_ascii_case(name) {
        return Ok(Found::Another);
    }
    let open = |path: &str| volume.open(path).or_boot(|| format!("{path}: cannot open"));
    let (mut one, mut other) = (open(file)?, open(name)?);
    compare(&mut *one, &mut *other).or_boot(|| format!("{file}: cannot compare with {name}"))
}

fn compare(file: &mut dyn ReadSeek, found: &mut dyn ReadSeek) -> io::Result<Found> {
    let (mut part, mut others, mut total) = (vec![0; 1 << 16], vec![], 0);
    loop {
        let len = file.read(&mut part)?;
        let read = part.get(..len).unwrap_or_default();
        others.clear();
        // One byte more than there should be at the end.
        found.take(len.max(1) as u64).read_to_end(&mut others)?;
        if total == 0 && others.is_empty() {
            return Ok(Found::Nothing);
        }
        if read != others.as_slice() {
            return Ok(Found::Another);
        }
        if len == 0 {
            return Ok(Found::Itself);
        }
        total += len;
    }
}
