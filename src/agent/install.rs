//! The steps that change the machine: write, apply, reboot.

use jiff::Timestamp;
use log::{info, warn};

use crate::agent::context::RunContext;
use crate::agent::give_up::{MAX_REBOOTS, MAX_REFUSALS, MAX_REQUESTS};
use crate::agent::memory::AgentMemory;
use crate::agent::mode::Mode;
use crate::agent::notice::Notice;
use crate::events::{Event, EventKind, publish};
use crate::feed::cache::Cache;
use crate::feed::memory::InstallState;
use crate::feed::policy::Candidate;
use crate::feed::request::Request;
use crate::health;
use crate::image::trust::Installer;
use crate::systemd::reboot;
use crate::update::WholeMachine;
use crate::update::apply;
use crate::update::write::{Lacking, Missing, Wanted, write};
use abide_core::boot::model::choice::choose;
use abide_core::error::{Error, Result};
use abide_core::state::lock::PATIENTLY;
use abide_core::state::{Lock, State};
use abide_core::update::machine::Machine;
use abide_core::update::step::{Effects, Step};
use abide_core::update::trial::ask_for_reboot;

/// Where an image is installed from.
pub enum InstallFrom<'a> {
    /// The cache.
    Cache(&'a Cache),
    /// A folder of this machine.
    Folder(String),
}

/// Where an image is installed from, and the name under which its list is remembered.
pub struct Source<'a> {
    /// The folder.
    pub from: InstallFrom<'a>,
    /// None: its lists are not remembered.
    pub list_name: Option<&'a str>,
}

impl InstallFrom<'_> {
    fn path(&self) -> String {
        match self {
            Self::Cache(cache) => cache.dir().to_string_lossy().into_owned(),
            Self::Folder(path) => path.clone(),
        }
    }

    /// Removes the files of all releases from the cache.
    fn sweep(&self) -> Result<()> {
        match self {
            Self::Cache(cache) => cache.sweep(&[]),
            Self::Folder(_) => Ok(()),
        }
    }
}

/// Writes a release into the other slot.
///
/// # Errors
/// Those of [`write`].
pub fn write_release(
    context: RunContext<'_>,
    source: &Source<'_>,
    memory: &mut AgentMemory,
    candidate: &Candidate,
    notify: &mut dyn FnMut(Notice<'_>),
) -> Result<()> {
    let lacking = Lacking::default();
    let written = write_slot(context, source, candidate, &lacking, notify);
    let from = &source.from;
    let state = &mut memory.install;
    if let (Err(e), Some(missing), InstallFrom::Cache(cache)) = (&written, lacking.take(), from)
        && request(context, cache, state, missing)?
    {
        info!("{e}; it is fetched");
        return Ok(());
    }
    match &written {
        Ok(()) => {
            (state.refused, state.requests, state.begun) = (0, 0, false);
            state.written = Some(memory.fetch.polls);
            // The files are no longer needed: the slot was read back.
            from.sweep()?;
        }
        Err(Error::Busy(_)) => {}
        Err(e) => {
            let is_refused = matches!(e, Error::Refused(_));
            if is_refused {
                // What refuses it may change, such as the room on the ESP or the firmware's keys: tried again later.
                (state.refused, state.refused_at) = (MAX_REFUSALS, Some(Timestamp::now().as_second()));
            } else {
                (state.refused, state.refused_at) = (state.refused.saturating_add(1), None);
            }
            // Files that do not match their digest are fetched again. Others would be the same again.
            if matches!(e, Error::Unverified(_)) || !is_refused && state.refused >= MAX_REFUSALS {
                // Nothing of it is here any more: what is missing then is requested anew.
                state.requests = 0;
                from.sweep()?;
            }
        }
    }
    written
}

/// Leaves a request for what is missing, for the part of the agent that can fetch it. Returns whether the write is to be tried
/// again then. The request is counted first: an interruption cannot make it endless.
fn request(
    context: RunContext<'_>,
    cache: &Cache,
    state: &mut InstallState,
    missing: Missing,
) -> Result<bool> {
    state.requests = state.requests.saturating_add(1);
    state.write(context.root)?;
    let regions = if state.requests == 1 { missing.regions } else { Request::whole() };
    cache.ask(&missing.full, &regions)?;
    Ok(state.requests <= MAX_REQUESTS)
}

fn write_slot(
    context: RunContext<'_>,
    source: &Source<'_>,
    candidate: &Candidate,
    lacking: &Lacking,
    notify: &mut dyn FnMut(Notice<'_>),
) -> Result<()> {
    let (root, config) = (context.root, context.config);
    let version = &candidate.release.version;
    let _lock = lock(context)?;
    let mut machine = Machine::open_to_change(root, config.slots.as_ref())?;
    if candidate.retry {
        warn!("{version} failed before and is tried again");
        let mut state = machine.state();
        forgive(&mut state, version, &candidate.release.digest);
        machine.perform(&Step::Save(Box::new(state)))?;
    }
    let folder = source.from.path();
    let wanted = Wanted {
        version: Some(version),
        installer: Installer::Agent,
        list_name: source.list_name,
        lacking: matches!(source.from, InstallFrom::Cache(_)).then_some(lacking),
        ..Wanted::of(&folder)
    };
    let written = match write(&mut machine, &wanted, config, |progress| notify(Notice::Writing(progress))) {
        // It is up to date; the machine knows the digest now.
        Err(Error::Nothing(why)) => {
            info!("{why}");
            return Ok(());
        }
        written => written?,
    };
    notify(Notice::Staged(&written));
    announce_update(context, &machine, EventKind::Staged);
    Ok(())
}

/// Makes the staged update boot next.
///
/// # Errors
/// Those of [`apply::apply`]; [`Error::Failed`] if another update was staged meanwhile.
pub fn apply_release(
    context: RunContext<'_>,
    state: &mut InstallState,
    candidate: &Candidate,
    notify: &mut dyn FnMut(Notice<'_>),
) -> Result<()> {
    let (root, config) = (context.root, context.config);
    // From here on a source can no longer withdraw it.
    state.begun = true;
    state.write(root)?;
    let _lock = lock(context)?;
    let mut machine = Machine::open_to_change(root, config.slots.as_ref())?;
    // The checks that pass now are the baseline of the trial. There are none below a folder, which has no services.
    let baseline = root.is_live().then(|| health::baseline::take(root, config, &machine.state().baseline));
    let applied = apply::apply(&mut machine, config.assess.tries, baseline, &config.scripts)?;
    if applied.version != candidate.release.version {
        let version = applied.version;
        return Err(Error::Failed(format!(
            "{version} was staged meanwhile by another command; it boots next"
        )));
    }
    notify(Notice::Applied(&applied.version));
    announce_update(context, &machine, EventKind::Applied);
    Ok(())
}

/// Reboots into the applied update. The reboot is counted before it is requested, also on the ESP, so that the number
/// of reboots is limited even if the boot loader boots another entry and nothing else survives a reboot. One that
/// systemd refuses does not count for the agent; the next run requests it again.
///
/// # Errors
/// [`Error::Refused`] if the update would not boot next, or did not after [`MAX_REBOOTS`]; if the count cannot be saved
/// or the reboot cannot be requested.
pub fn reboot(context: RunContext<'_>, state: &mut InstallState) -> Result<()> {
    prepare_reboot(context)?;
    state.reboots = state.reboots.saturating_add(1);
    state.write(context.root)?;
    info!("rebooting into {}", state.version);
    let asked = reboot::request(context.root, reboot::Manner::Orderly);
    if asked.is_err() {
        state.reboots = state.reboots.saturating_sub(1);
        state.write(context.root)?;
    }
    asked
}

/// Makes sure that the update boots next, as somebody may have pinned another entry since it was applied, and counts the
/// reboot on the ESP.
fn prepare_reboot(context: RunContext<'_>) -> Result<()> {
    let config = context.config;
    let _lock = lock(context)?;
    let mut machine = Machine::open_to_change(context.root, config.slots.as_ref())?;
    let Some(update) = machine.state().update else { return Ok(()) };
    let next = choose(&machine.entries, &machine.settings, &machine.quirks);
    if next.is_none_or(|next| next.entry.id() != update.entry) {
        apply::apply(&mut machine, config.assess.tries, None, &config.scripts)?;
    }
    if ask_for_reboot(&mut machine)? > MAX_REBOOTS && context.mode == Mode::Scheduled {
        return Err(Error::Refused(format!(
            "the boot loader has not booted {} after {MAX_REBOOTS} reboots; `abide list` shows what boots next",
            update.version
        )));
    }
    Ok(())
}

/// Allows another attempt of an image. Its record stays until the image is committed.
fn forgive(state: &mut State, version: &str, digest: &str) {
    for failure in state.failures.iter_mut().filter(|f| f.is_of(Some(version), Some(digest))) {
        failure.forgiven = true;
    }
}

/// Excludes other commands; a scheduled run waits for them.
///
/// # Errors
/// [`Error::Busy`] if another one is running.
pub fn lock(context: RunContext<'_>) -> Result<Lock> {
    match context.mode {
        Mode::Scheduled => Lock::wait(context.root, PATIENTLY),
        _ => Lock::take(context.root),
    }
}

fn announce_update(context: RunContext<'_>, machine: &Machine, kind: EventKind) {
    if let Some(update) = &machine.state().update {
        publish(context.root, context.config, &Event::of_update(context.root, kind, update));
    }
}

#[cfg(test)]
mod tests {
    use abide_core::state::{Failure, Phase};

    use super::*;
    use crate::update::refusal::failure_of;

    #[test]
    fn an_image_that_is_forgiven_is_not_refused_and_still_on_record() {
        let failure = Failure {
            version: "3.0".into(),
            digest: Some("ab".into()),
            attempts: 3,
            phase: Phase::Loader,
            reason: "it never came up".into(),
            checks: vec![],
            time: "2026-01-02T03:04:05Z".into(),
            times: 1,
            forgiven: false,
            unversioned: false,
            entry: None,
        };
        let mut state = State::default();
        state.remember(failure.clone());
        forgive(&mut state, "3.0", "ab");
        assert_eq!((failure_of(&state, Some("3.0"), None), state.failures.len()), (None, 1));
        state.remember(failure);
        assert_eq!(failure_of(&state, Some("3.0"), None).map(|f| f.times), Some(2));
    }
}
