//! Whether an image is the build that runs. Where an installer wrote the running system, its digest is unknown, and an
//! image of the same build cannot be written beside it: both slots would have one UUID.

use std::io::{self, Read, Seek, SeekFrom};

use crate::update::WholeMachine;
use crate::update::write::open_image::ReadSeek;
use abide_core::boot::Entry;
use abide_core::boot::model::entry::EntryKind;
use abide_core::error::{OrError, Result};
use abide_core::state::Installed;
use abide_core::update::machine::Machine;
use abide_core::update::step::{Effects, Step};

/// Bytes that are compared at once.
const BLOCK: usize = 64 << 10;

/// Whether an image's UKI is the one that runs, byte for byte: it names the root of this one build.
///
/// # Errors
/// [`abide_core::error::Error::Boot`] if one of them cannot be read.
pub fn is_it(machine: &Machine, running: &Entry, uki: Box<dyn ReadSeek + '_>) -> Result<bool> {
    if running.kind != EntryKind::Uki {
        return Ok(false);
    }
    let path = running.path();
    let own =
        machine.dirs.volume(running.partition)?.open(&path).or_boot(|| format!("{path}: cannot open"))?;
    is_same(own, uki).or_boot(|| format!("{path}: cannot compare it with the image's UKI"))
}

/// Remembers that this digest is that of the running system.
///
/// # Errors
/// [`abide_core::error::Error::Boot`] if the state cannot be saved.
pub fn remember(machine: &mut Machine, running: &Entry, digest: &str) -> Result<()> {
    let (slot, id) = (machine.running_slot()?, running.id());
    let mut state = machine.state();
    let known = state.installed(slot).filter(|known| known.entry == id).cloned();
    let installed = known.unwrap_or_else(|| Installed {
        version: running.version.clone().unwrap_or_default(),
        digest: None,
        entry: id,
        verified: None,
        unversioned: running.unversioned,
    });
    if installed.digest.as_deref() == Some(digest) {
        return Ok(());
    }
    state.set_installed(slot, Some(Installed { digest: Some(digest.to_owned()), ..installed }));
    machine.perform(&Step::Save(Box::new(state)))
}

fn is_same(mut a: impl Read + Seek, mut b: impl Read + Seek) -> io::Result<bool> {
    if a.seek(SeekFrom::End(0))? != b.seek(SeekFrom::End(0))? {
        return Ok(false);
    }
    a.rewind()?;
    b.rewind()?;
    let (mut left, mut right) = (Vec::with_capacity(BLOCK), Vec::with_capacity(BLOCK));
    loop {
        left.clear();
        right.clear();
        a.by_ref().take(BLOCK as u64).read_to_end(&mut left)?;
        b.by_ref().take(BLOCK as u64).read_to_end(&mut right)?;
        if left != right || left.is_empty() {
            return Ok(left == right);
        }
    }
}
