//! The early part: what is this boot?

use log::{debug, error, info, warn};

use abide_core::boot::{Access, BootDirs, EfiVars, LoaderVars};
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::state::boot_note::boot_id;
use abide_core::state::lock::BRIEFLY;
use abide_core::state::{BootKind, BootNote, Lock, Stage, State, Store, Update};
use abide_core::update::Machine;
use abide_core::update::finding::Kind;
use abide_core::update::finding::blind::is_counted;
use abide_core::update::reboot;
use abide_core::update::reconcile::Course;
use abide_core::update::step::perform_all;

use crate::{end_of_hangs, pstore, stranded, trial_units};

/// Finds out what this boot is, leaves the note in `/run/abide`, and on a trial
/// the breadcrumb on the ESP. Done once per boot; later calls do nothing. One that was killed
/// half-way is done again.
///
/// # Errors
/// Only on a trial that must not go on; the machine then reboots.
pub fn early(root: &Root) -> Result<()> {
    if BootNote::read(root).is_some() {
        return Ok(());
    }
    match find_out(root) {
        Ok(None) => stranded::end_if_marked(root),
        Ok(Some(why)) => {
            error!("this boot must not continue: {why}");
            reboot::at_once(root)
        }
        Err(e) => {
            error!("{e}; the boot continues");
            Ok(())
        }
    }
}

/// The note of a boot with nothing under way, which is nearly every boot: the state tells, and that no
/// name has a counter that it does not know. `None` where it takes a closer look.
fn glance(root: &Root) -> Result<Option<BootNote>> {
    let vars = LoaderVars::read_device(&EfiVars::new(root));
    let dirs = BootDirs::find(root, &vars, Access::Glance)?;
    let store = Store::open(dirs.esp.as_ref());
    let is_over = |u: &Update| !u.is_counted() && !u.is_open() && u.stage != Stage::Failed;
    let is_settled = store.foreign().is_none() && store.current().update.as_ref().is_none_or(is_over);
    if !is_settled || dirs.needs_sweep()? || has_counter(&dirs)? {
        return Ok(None);
    }
    Ok(Some(BootNote::committed(boot_id(root), "no update is on trial".into())))
}

/// Whether an entry has tries, or had some, although the state says that nothing is under way: another tool may have
/// begun a trial.
fn has_counter(dirs: &BootDirs) -> Result<bool> {
    let names = dirs.names()?;
    Ok(names.iter().any(|name| name.counter().is_some_and(|c| c.left > 0 || c.done > 0)))
}

/// What is done once it is known what this boot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Leave only the markers for the units: from here on somebody else ends what hangs.
    Mark,
    /// Have a boot that hangs or panics end by itself.
    Guard,
    /// Bring in the unit that gives a healthy committed system its tries back.
    BringInCounted,
    /// Change the ESP as the finding says.
    Change,
    /// Leave the note, which says that all before it is done.
    Note,
}

/// What to do about a finding, in order.
fn plan(course: &Course) -> Vec<Act> {
    let mut acts = vec![];
    if course.note.counted {
        acts.extend([Act::Guard, Act::BringInCounted]);
    }
    if !course.steps.is_empty() || course.refuse.is_some() {
        if course.note.kind == BootKind::Trial {
            // Before anything that can fail.
            acts.extend([Act::Mark, Act::Guard]);
        }
        acts.push(Act::Change);
    }
    acts.push(Act::Note);
    acts
}

/// Finds out what this boot is and acts on it. The reason not to go on with it, if there is one.
fn find_out(root: &Root) -> Result<Option<String>> {
    if let Some(note) = glance(root)? {
        info!("{:?} boot: {}", note.kind, note.because);
        note.write(root)?;
        return Ok(None);
    }
    // The early stage and an emergency may both have come to this.
    let _lock = Lock::wait(root, BRIEFLY)?;
    if BootNote::read(root).is_some() {
        return Ok(None);
    }
    let mut course = look(root)?;
    match course.finding.contradiction() {
        None => info!("{:?} boot: {}", course.note.kind, course.note.because),
        // Without a note, the deadline ends a boot that the loader counted.
        Some(found) if found.kind == Kind::ForeignState && is_counted(root) => {
            return Err(Error::Boot(found.to_string()));
        }
        Some(found) => warn!("cannot determine whether this boot is a trial: {found}"),
    }
    for act in plan(&course) {
        perform(root, &mut course, act)?;
    }
    Ok(course.refuse)
}

/// Reads what the boot is told from, without mounting the ESP.
fn look(root: &Root) -> Result<Course> {
    let mut machine = Machine::read_boot(root, Access::Glance)?;
    if machine.reconcile().note.kind == BootKind::Fallback {
        machine.panic = last_panic(root, &machine.state());
    }
    Ok(machine.reconcile())
}

fn perform(root: &Root, course: &mut Course, act: Act) -> Result<()> {
    match act {
        Act::Mark => course.note.mark(root)?,
        Act::Guard => end_of_hangs::guard(root),
        Act::BringInCounted => {
            if let Err(e) = trial_units::install_for_counted(root) {
                warn!("{e}; this boot uses up a try");
            }
        }
        Act::Change => change(root, course)?,
        Act::Note => course.note.write(root)?,
    }
    Ok(())
}

/// Changes the ESP. A change that fails is made by a later boot.
///
/// # Errors
/// If the ESP cannot be opened. The note is left all the same on a trial, which somebody must end.
fn change(root: &Root, course: &mut Course) -> Result<()> {
    let on_trial = course.note.kind == BootKind::Trial;
    let machine = Machine::read_boot(root, Access::Write);
    if machine.is_err() && on_trial {
        course.note.write(root)?;
    }
    let mut machine = machine?;
    if let Err(e) = perform_all(&mut machine, &course.steps) {
        error!("{e}");
    }
    if course.refuse.is_none() {
        if on_trial {
            machine.dirs.make_room_for_loader();
        }
    } else if let Err(why) = machine.reboot_leads_elsewhere() {
        // What was to be changed could not be.
        course.stay_up(why);
    }
    Ok(())
}

/// What a kernel left behind that panicked in one of the boots of the trial that has just failed.
fn last_panic(root: &Root, state: &State) -> Option<String> {
    let update = state.update.as_ref()?;
    let first = update.boots.iter().find_map(|b| Some(&b.time).filter(|t| !t.is_empty()));
    // A committed system's crashes come after its commit.
    let since = update.ended.as_ref().filter(|_| update.is_counted()).or(first)?;
    if let Err(e) = pstore::load(root) {
        debug!("{e}");
    }
    pstore::last_panic(root, since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use abide_core::update::finding::{Boot, Finding};

    fn course(kind: BootKind, refuse: Option<&str>) -> Course {
        Course {
            finding: Finding { boot: Boot::Committed, entry: None, slot: None },
            note: BootNote { kind, ..BootNote::committed(String::new(), String::new()) },
            steps: vec![],
            refuse: refuse.map(Into::into),
        }
    }

    #[test]
    fn a_trial_can_end_by_itself_before_the_esp_is_touched() {
        let acts = plan(&course(BootKind::Trial, Some("it was given up")));
        assert_eq!(acts, [Act::Mark, Act::Guard, Act::Change, Act::Note]);
    }

    #[test]
    fn a_boot_with_nothing_to_change_never_opens_the_esp_to_write() {
        assert_eq!(plan(&course(BootKind::Committed, None)), [Act::Note]);
    }

    #[test]
    fn a_counted_committed_system_gets_the_unit_that_restores_its_tries() {
        let mut counted = course(BootKind::Committed, None);
        counted.note.counted = true;
        assert_eq!(plan(&counted), [Act::Guard, Act::BringInCounted, Act::Note]);
    }
}
