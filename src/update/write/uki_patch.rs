//! The UKI of a release, made by a patch from the UKI of the running system.
//!
//! It has no map: it is verified as a whole before anything of it is parsed. The list vouches for the patch, and the patch
//! for the UKI, so that this works for a UKI that is published packed, too.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::PathBuf;

use log::{info, warn};

use crate::delta::{self, Header, file_names};
use crate::feed::published::ListedFile;
use crate::image::sha256::Sha256;
use crate::image::trust::Sums;
use crate::image::{Folder, Spool, Stream, names};
use crate::update::WholeMachine;
use crate::update::write::image_set::MAX_UKI;
use abide_core::boot::model::entry::EntryKind;
use abide_core::error::{Error, OrError, Result};
use abide_core::hex;
use abide_core::update::machine::Machine;

/// The UKI in this listed file, by its patch for the running version. None without a patch, or if it does not make this
/// UKI, which is logged: then the full file is read.
pub fn make(
    machine: &Machine,
    folder: &Folder,
    listed: &ListedFile,
    sums: &Sums,
    dirs: &[PathBuf],
) -> Option<Spool> {
    let running = machine.running_entry().ok().filter(|running| running.kind == EntryKind::Uki)?;
    let unpacked = names::unpacked(&listed.name);
    let name = file_names::patch(unpacked, running.version.as_deref()?);
    let sha256 = sums.get(&name)?;
    let known = (unpacked == listed.name).then_some(listed.sha256.as_str());
    let made = fetch(folder, &name, sha256, dirs).and_then(|patch| {
        let volume = machine.dirs.volume(running.partition)?;
        let old = volume.open(&running.path()).or_image(|| format!("{}: cannot read", running.path()))?;
        patched(&patch, old, known, dirs)
    });
    match made {
        Ok(uki) => {
            info!("{}: made by {name}", listed.name);
            Some(uki)
        }
        Err(e) => {
            warn!("{name}: {e}; using the full file");
            None
        }
    }
}

/// The patch, verified.
fn fetch(folder: &Folder, name: &str, sha256: &str, dirs: &[PathBuf]) -> Result<Spool> {
    let mut stream = Stream::open(folder.open(name)?, None)?;
    let mut spool = Spool::new(dirs.to_vec());
    spool.keep_to_end(MAX_UKI, |to| stream.fill(to))?;
    stream.verified(Some(sha256))?;
    Ok(spool)
}

/// The UKI that the patch makes. `known`: its SHA-256, where the list has it.
fn patched(patch: &Spool, mut old: impl Read + Seek, known: Option<&str>, dirs: &[PathBuf]) -> Result<Spool> {
    let cannot = || "cannot be used";
    let mut records = patch.reader();
    let header = Header::read(&mut records).or_image(cannot)?;
    if known.is_some_and(|known| known != hex::encode(&header.sha256)) {
        return Err(Error::Image("is for another UKI".into()));
    }
    let (mut uki, mut sha256) = (Spool::new(dirs.to_vec()), Sha256::default());
    let mut region = Cursor::new(Vec::new());
    uki.keep_to_end(MAX_UKI, |to| {
        let mut done = 0;
        while let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let count = region.read(rest).or_image(cannot)?;
            done += count;
            if count == 0 {
                if records.stream_position().or_image(cannot)? >= patch.size() {
                    break;
                }
                let bytes = next(&mut records, &header, &mut old).or_image(cannot)?;
                sha256.update(&bytes);
                region = Cursor::new(bytes);
            }
        }
        Ok(done)
    })?;
    if sha256.finish() == hex::encode(&header.sha256) {
        Ok(uki)
    } else {
        Err(Error::Unverified("does not fit the running UKI".into()))
    }
}

/// The next region of the UKI.
fn next(records: &mut impl Read, header: &Header, old: &mut (impl Read + Seek)) -> io::Result<Vec<u8>> {
    let record = delta::read_record(records, header)?;
    let mut bytes = vec![0; record.old_len()];
    let mut rest = bytes.as_mut_slice();
    for range in &record.ranges {
        let (part, after) = rest.split_at_mut(range.len as usize);
        old.seek(SeekFrom::Start(range.offset))?;
        old.read_exact(part)?;
        rest = after;
    }
    if record.frame.is_empty() {
        return Ok(bytes);
    }
    // The largest region that there is.
    let most = (header.region_size as usize).min(delta::MAX_OLD);
    delta::unpack(&record.frame, &bytes, most).map_err(io::Error::other)
}
