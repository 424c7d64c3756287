//! Second names of one file.
//!
//! On FAT a rename that takes two writes and is cut off between them leaves both names, which share their
//! clusters. To remove either would free the clusters of both.

use std::io::{self, Read};

use log::warn;

use super::entry::Entry;
use super::volume::{ReadSeek, Volume};
use crate::error::{Error, OrError, Result};

/// More of them are a case for a person.
const MOST: u32 = 9;

/// Gives a name that is not wanted any more one that no loader shows and nobody touches again;
/// `fsck.vfat` may. `path` is a file in the folder `dir`.
///
/// # Errors
/// [`Error::Boot`] if there are too many already, or the disk says something.
pub fn set_aside(volume: &dyn Volume, dir: &str, path: &str) -> Result<()> {
    let items = volume.list(dir).or_boot(|| format!("{dir}: cannot read"))?;
    let is_free = |name: &String| !items.iter().any(|item| item.name.eq_ignore_ascii_case(name));
    let aside = (0..=MOST).map(|n| format!("shared{n}.tmp")).find(is_free).ok_or_else(|| {
        Error::Boot(format!("{dir}: too many files that share their clusters; run fsck.vfat on the ESP"))
    })?;
    let aside = format!("{dir}/{aside}");
    warn!("{path} may share its clusters with a boot entry after a power cut; it is {aside} from now on");
    volume.rename_durably(path, &aside).or_boot(|| format!("{path}: cannot rename to {aside}"))
}

/// Whether two entries of one volume are names of one file, as far as can be told: of the same bytes. A
/// name that a cut has left without any (see [`Volume::rename_durably`]) is none.
///
/// # Errors
/// [`Error::Boot`] if they cannot be read.
pub fn is_one_file(volume: &dyn Volume, one: &Entry, other: &Entry) -> Result<bool> {
    let (one, other) = (one.path(), other.path());
    // Upper and lower case are one name on FAT.
    if one.eq_ignore_ascii_case(&other) {
        return Ok(false);
    }
    let open = |path: &String| volume.open(path).or_boot(|| format!("{path}: cannot open"));
    let (mut a, mut b) = (open(&one)?, open(&other)?);
    have_the_same_bytes(&mut *a, &mut *b).or_boot(|| format!("{one}: cannot compare with {other}"))
}

fn have_the_same_bytes(a: &mut dyn ReadSeek, b: &mut dyn ReadSeek) -> io::Result<bool> {
    let (mut part, mut others, mut total) = (vec![0; 1 << 16], vec![], 0);
    loop {
        let len = a.read(&mut part)?;
        let read = part.get(..len).unwrap_or_default();
        others.clear();
        // One byte more than there should be at the end.
        b.take(len.max(1) as u64).read_to_end(&mut others)?;
        if read != others.as_slice() {
            return Ok(false);
        }
        if len == 0 {
            return Ok(total > 0);
        }
        total += len;
    }
}
