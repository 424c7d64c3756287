//! What a machine learns from a list of images for good.

use std::time::SystemTime;

use log::{info, warn};

use crate::agent::context::RunContext;
use crate::agent::install::lock;
use crate::config::Trust;
use crate::events::{Event, EventKind, publish};
use crate::feed::memory::InstallState;
use crate::files;
use crate::image::trust::keys::warning_days;
use crate::image::trust::signer::day_of;
use crate::image::trust::{KEY_LIST, KeyList, Keys, LEARNED};
use crate::update::WholeMachine;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::state::{SeenList, State};
use abide_core::update::machine::Machine;
use abide_core::update::step::{Effects, Step};

/// Remembers the lists of images that were accepted.
///
/// # Errors
/// [`Error::Busy`] if another command is running; if the state cannot be saved.
pub fn remember_lists(context: RunContext<'_>, lists: Vec<SeenList>) -> Result<()> {
    let _lock = lock(context)?;
    let mut machine = Machine::open_to_change(context.root, context.config.slots.as_ref())?;
    let state = machine.state();
    machine.perform(&Step::Save(Box::new(State { lists, ..state })))
}

/// Changes the keys as the publisher's list says. An older list than the machine has changes nothing.
///
/// # Errors
/// [`Error::Unverified`] if the list cannot be read, or would leave too few keys; [`Error::Failed`] if it cannot be stored.
pub fn change_keys(root: &Root, trust: &Trust, bytes: &[u8]) -> Result<()> {
    let list = KeyList::parse(KEY_LIST, bytes)
        .map_err(|e| Error::Unverified(format!("the list of keys is not used: {e}")))?;
    if let Some(known) = files::read(&root.path(LEARNED))? {
        let serial = KeyList::learned(root)?.map_or(0, |known| known.serial);
        if known != bytes && list.serial <= serial {
            warn!(
                "the feed's {KEY_LIST} is not used: its serial {} is not higher than {serial}",
                list.serial
            );
        }
        if list.serial <= serial {
            return Ok(());
        }
    }
    let left = Keys::installed(root)?.with_list(&list).usable(SystemTime::now());
    if left < usize::try_from(trust.required).unwrap_or(usize::MAX) {
        return Err(Error::Unverified(format!(
            "the feed's {KEY_LIST} is not used: it would leave {left} valid keys, and [trust] requires the signatures of {}",
            trust.required
        )));
    }
    files::replace(&root.path(LEARNED), bytes)?;
    info!("the keys are changed as the feed's {KEY_LIST} with the serial {} says", list.serial);
    Ok(())
}

/// Announces that the last key expires soon, once at 90, 30 and 7 days before.
pub fn announce_expiry(context: RunContext<'_>, memory: &mut InstallState) {
    let (root, now) = (context.root, SystemTime::now());
    // What is wrong with the keys was reported when the run began.
    let last = Keys::load(root).ok().and_then(|keys| keys.last_expiry(now));
    let due = last.as_ref().and_then(|(_, ends)| warning_days(*ends, now));
    let is_new = due.is_some() && due != memory.key_warning;
    memory.key_warning = due;
    if let Some((file, ends)) = last.filter(|_| is_new) {
        let reason = format!("the last valid key, {file}, expires on {}; add a newer one", day_of(ends));
        let event = Event::of_running(root, EventKind::KeyExpires, &memory.version);
        publish(root, context.config, &Event { reason, ..event });
    }
}
