//! Renaming on FAT, where a power cut can leave a second name behind.
//!
//! A rename that takes two writes and is cut off between them leaves both names. They share their clusters, and to
//! remove either would free the clusters of both. Or the new one has none yet (see [`Volume::rename_durably`]).

use std::io::{self, Read};

use log::warn;

use super::volume::{ReadSeek, Volume};
use crate::error::{Error, OrError, Result};

/// More of them are a case for a person.
const MOST: u32 = 9;

/// Renames a file inside its folder, never over another, and makes that durable. Where a rename that was cut off
/// has left the file the new name besides, it is the old name that goes, [set aside](set_aside); where
/// it has left the new name without a file, that makes room.
///
/// # Errors
/// [`Error::Boot`]; if the rename itself succeeded and only the flush failed, too.
pub fn rename(volume: &dyn Volume, from: &str, to: &str) -> Result<()> {
    let cannot = || format!("{from}: cannot rename to {to}");
    match volume.rename_durably(from, to) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match in_the_way(volume, from, to)? {
            InTheWay::Another => Err(e).or_boot(cannot),
            InTheWay::Itself => set_aside(volume, from),
            InTheWay::Nothing => {
                let (dir, _) = to.rsplit_once('/').unwrap_or(("", to));
                volume
                    .remove(to)
                    .and_then(|()| volume.sync_dir(dir))
                    .and_then(|()| volume.rename_durably(from, to))
                    .or_boot(cannot)
            }
        },
        renamed => renamed.or_boot(cannot),
    }
}

/// Gives a name that is not wanted any more one that no loader shows and nobody touches again;
/// `fsck.vfat` may.
///
/// # Errors
/// [`Error::Boot`] if there are too many already, or the disk says something.
pub fn set_aside(volume: &dyn Volume, path: &str) -> Result<()> {
    let (dir, _) = path.rsplit_once('/').unwrap_or(("", path));
    let items = volume.list(dir).or_boot(|| format!("{dir}: cannot read"))?;
    let is_free = |name: &String| !items.iter().any(|item| item.name.eq_ignore_ascii_case(name));
    let aside = (0..=MOST).map(|n| format!("shared{n}.tmp")).find(is_free).ok_or_else(|| {
        Error::Boot(format!("{dir}: too many files that share their clusters; run fsck.vfat on the ESP"))
    })?;
    let aside = format!("{dir}/{aside}");
    warn!("{path} may share its clusters with a boot entry after a power cut; it is {aside} from now on");
    volume.rename_durably(path, &aside).or_boot(|| format!("{path}: cannot rename to {aside}"))
}

/// What has the name that a file is to get.
enum InTheWay {
    /// A name without clusters: to remove it frees none.
    Nothing,
    /// The file itself, as far as can be told: one of the same bytes.
    Itself,
    /// Another file, or the file under the same name (upper and lower case are one on FAT).
    Another,
}

fn in_the_way(volume: &dyn Volume, from: &str, to: &str) -> Result<InTheWay> {
    if from.eq_ignore_ascii_case(to) {
        return Ok(InTheWay::Another);
    }
    let open = |path: &str| volume.open(path).or_boot(|| format!("{path}: cannot open"));
    let (mut file, mut found) = (open(from)?, open(to)?);
    compare(&mut *file, &mut *found).or_boot(|| format!("{from}: cannot compare with {to}"))
}

fn compare(file: &mut dyn ReadSeek, found: &mut dyn ReadSeek) -> io::Result<InTheWay> {
    let (mut part, mut others, mut total) = (vec![0; 1 << 16], vec![], 0);
    loop {
        let len = file.read(&mut part)?;
        let read = part.get(..len).unwrap_or_default();
        others.clear();
        // One byte more than there should be at the end.
        found.take(len.max(1) as u64).read_to_end(&mut others)?;
        if total == 0 && others.is_empty() {
            return Ok(InTheWay::Nothing);
        }
        if read != others.as_slice() {
            return Ok(InTheWay::Another);
        }
        if len == 0 {
            return Ok(InTheWay::Itself);
        }
        total += len;
    }
}
