//! Making the loader choose another entry, checked against the loader's model first.

use log::warn;

use crate::boot::names::{self, untried};
use crate::boot::simulation::boot;
use abide_core::boot::model::choice::{Settings, choose};
use abide_core::boot::model::name::EntryName;
use abide_core::boot::{Entry, LoaderVars, Quirks};
use abide_core::disk::SlotName;
use abide_core::error::{Error, Result};
use abide_core::state::{Installed, State};

use abide_core::update::machine::Machine;
use abide_core::update::renames::{find, rename};
use abide_core::update::step::Step;

/// How often a suffix is tried before a reinstall of one version gives up.
const MAX_SUFFIX: u32 = 99;

/// What must change so that an entry is tried next, and the running one afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// The entry on trial, named as it will be.
    pub entry: Entry,
    /// The running entry, where it must be renamed to `+0-0` for the trial.
    pub demoted: Option<Entry>,
}

/// The loader at that time: the settings that override its counters, and its version.
#[derive(Debug, Clone, Copy)]
pub struct Loader<'a> {
    /// `loader.conf` and the variables.
    pub settings: &'a Settings,
    /// The version's peculiarities.
    pub quirks: &'a Quirks,
}

/// Finds the switch to `new`, which carries no counter yet and need not be
/// among `entries`, away from the entry `running`.
///
/// The loader's model is asked what it would do: boot `new` as long as it has tries, then `running`. If
/// that requires it, the running entry is demoted.
///
/// # Errors
/// [`Error::Refused`] with the model's reason if the loader would do something else.
pub fn plan_switch(
    loader: Loader<'_>,
    entries: &[Entry],
    new: &Entry,
    running: &str,
    tries: u32,
) -> Result<Switch> {
    let running = find(entries, running).ok_or_else(|| {
        Error::Refused(format!(
            "the running system's boot entry {running} is not on the ESP; there would be nothing to fall back to"
        ))
    })?;
    let trial = new.renamed(new.name.with_counter(Some(untried(tries))));
    let others = entries.iter().filter(|e| e.id() != new.id());
    // Profiles of one UKI share its name.
    let renamed = others.map(|e| if is_file_of(e, new) { e.renamed(trial.name.clone()) } else { e.clone() });
    let mut after: Vec<Entry> = renamed.collect();
    after.push(trial.clone());

    let Err(why) = does_what_is_meant(loader, &after, &trial, running) else {
        return Ok(Switch { entry: trial, demoted: None });
    };
    let demoted = running.renamed(running.name.with_counter(Some(untried(0))));
    for entry in after.iter_mut().filter(|e| is_file_of(e, running)) {
        *entry = entry.renamed(demoted.name.clone());
    }
    match does_what_is_meant(loader, &after, &trial, running) {
        Ok(()) => Ok(Switch { entry: trial, demoted: Some(demoted) }),
        Err(_) => Err(why),
    }
}

/// The switch to a system whose UKI is not among `entries` yet, or is there as it was installed: `new` is its first
/// profile, `others` are the further ones. The variables that `apply` clears count as cleared.
///
/// # Errors
/// As [`plan_switch`], and [`Error::Refused`] if the loader does not count boots.
pub fn plan_trial(
    machine: &Machine,
    entries: &[Entry],
    new: &Entry,
    others: Vec<Entry>,
    running: &Entry,
    tries: u32,
) -> Result<Switch> {
    refuse_uncounted(&machine.vars)?;
    let settings = machine.settings_for_trial();
    let loader = Loader { settings: &settings, quirks: &machine.quirks };
    // Each of its profiles may be what the loader chooses, and no other file has its name.
    let before = entries.iter().filter(|entry| !is_file_of(entry, new)).cloned();
    plan_switch(loader, &before.chain(others).collect::<Vec<_>>(), new, &running.id(), tries)
}

/// Whether two entries are profiles of one UKI, or the same.
fn is_file_of(one: &Entry, other: &Entry) -> bool {
    one.name.id() == other.name.id()
}

/// Asks the model: does `trial` boot until its tries are used up, and `running` then?
fn does_what_is_meant(loader: Loader<'_>, entries: &[Entry], trial: &Entry, running: &Entry) -> Result<()> {
    let (mut entries, mut settings) = (entries.to_vec(), loader.settings.clone());
    let tries = trial.name.counter().map_or(0, |c| c.left);
    for number in 1..=tries + 1 {
        let wanted = if number <= tries { trial.id() } else { running.id() };
        let Some(next) = boot(&entries, &settings, loader.quirks) else {
            return Err(Error::Refused("the boot loader would find no entry at all".into()));
        };
        let chosen = next.choice.entry.id();
        // The system before may be started in any of its profiles, as it is now.
        let is_running = number > tries && is_file_of(&next.choice.entry, running);
        if chosen != wanted && !is_running {
            return Err(Error::Refused(format!(
                "the boot loader would boot {chosen} instead of {wanted} at boot {number} from now: {}",
                next.choice.because
            )));
        }
        (entries, settings) = (next.entries, next.settings);
    }
    Ok(())
}

/// Refuses a loader that reports that it does not count boots: it would boot a failing update forever.
///
/// # Errors
/// [`Error::Refused`] if it reports that. If it reports nothing about it, this is logged.
pub fn refuse_uncounted(vars: &LoaderVars) -> Result<()> {
    match vars.boot_counting() {
        Some(true) => Ok(()),
        Some(false) => Err(Error::Refused(format!(
            "the boot loader ({}) reports that it does not count boots: a trial that does not start would be \
             booted forever; install systemd-boot with `bootctl install`",
            vars.info.as_deref().unwrap_or("unknown")
        ))),
        None => {
            warn!(
                "the boot loader does not report whether it counts boots (LoaderFeatures); if it does not, a trial that \
                 does not start is booted forever"
            );
            Ok(())
        }
    }
}

/// Asks the model whether `wanted` is what boots from now on, once `entries` are there.
///
/// # Errors
/// [`Error::Refused`] with the model's reason if the loader would boot something else.
pub fn refuse_unless_next(loader: Loader<'_>, entries: &[Entry], wanted: &str) -> Result<()> {
    match choose(entries, loader.settings, loader.quirks) {
        Some(next) if next.entry.name.id() == wanted => Ok(()),
        Some(next) => Err(Error::Refused(format!(
            "the boot loader would boot {} instead of {wanted} from now on: {}",
            next.entry.id(),
            next.because
        ))),
        None => Err(Error::Refused("the boot loader would find no entry at all".into())),
    }
}

/// The state in which the running system is known to be good, whatever its entry will be called.
#[must_use]
pub fn remember_running(state: &State, slot: SlotName, running: &Entry) -> State {
    let mut next = state.clone();
    if state.installed(slot).is_none_or(|known| known.entry != running.id()) {
        next.set_installed(
            slot,
            Some(Installed {
                version: running.version.clone().unwrap_or_default(),
                digest: None,
                entry: running.id(),
                verified: None,
                unversioned: running.unversioned,
            }),
        );
    }
    next
}

/// The id of the UKI with this stem.
#[must_use]
pub fn entry_id(stem: &str) -> String {
    format!("{stem}.efi").to_lowercase()
}

/// Whether the running system has the entry, or is started through the file, of this stem.
#[must_use]
pub fn is_taken(stem: &str, running: &Entry) -> bool {
    let starts = running.starts.as_deref().and_then(|file| file.rsplit('/').next());
    let starts = starts.and_then(EntryName::parse).map(|name| name.id());
    running.name.id() == entry_id(stem) || starts == Some(entry_id(stem))
}

/// The stem of a new entry's file name: `<image>_<version>`, with `_2`, `_3`, …
/// where the running entry has that id already.
///
/// `_` and not `-`: the loader drops `_` when it compares ids, so `x_2` sorts
/// before `x`; a `-` marks a release and sorts after it
/// (`strverscmp_improved`, systemd 252 to 262; tried on all of them).
///
/// # Errors
/// [`Error::Refused`] if no free name is found.
pub fn free_stem(image_id: &str, version: &str, taken: impl Fn(&str) -> bool) -> Result<String> {
    let plain = names::stem(image_id, version);
    if !taken(&plain) {
        return Ok(plain);
    }
    (2..=MAX_SUFFIX)
        .map(|n| format!("{plain}_{n}"))
        .find(|stem| !taken(stem))
        .ok_or_else(|| Error::Refused(format!("{plain}: no free name for another entry of this version")))
}

/// The step that demotes the running entry, if the switch needs it and it is not done yet.
#[must_use]
pub fn demote(entries: &[Entry], switch: &Switch) -> Option<Step> {
    let demoted = switch.demoted.as_ref()?;
    let now = find(entries, &demoted.id())?;
    (now.name != demoted.name).then(|| rename(now, &demoted.name.to_string()))
}
