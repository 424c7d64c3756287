//! The problems that would prevent an update or a rollback on this machine, each with its remedy.
//!
//! Each kind of finding has its file, with a pure function that takes what was read. [`survey`] reads,
//! [`fix`] repairs.

mod boot_complete;
mod clock;
mod cmdline;
mod feed;
mod finding;
mod firmware;
pub mod fix;
mod initramfs;
mod loader;
mod names;
mod panic;
mod pinned;
mod room;
mod slots;
mod survey;
mod watchdog;
mod wrong_root;

pub use finding::{Finding, Severity};

use crate::config::Config;
use crate::feed::memory::FetchState;
use crate::systemd::unit_files;
use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::state::Stage;
use abide_core::update::Machine;

use survey::Surroundings;

/// All findings, errors first. `machine` is the survey, or why it failed; `config` likewise.
#[must_use]
pub fn examine(root: &Root, config: &Result<Config>, machine: &Result<Machine>) -> Vec<Finding> {
    let mut found = vec![];
    if let Err(e) = config {
        found.push(
            Finding::error("configuration", e.to_string())
                .because("every command refuses it, and a trial with this configuration fails")
                .remedy("correct it, and verify it with `abide config`"),
        );
    }
    match machine {
        Ok(machine) => {
            found.extend(of_machine(machine));
            let tries = config.as_ref().map_or_else(|_| Config::default().assess.tries, |c| c.assess.tries);
            let loader = machine.vars.info.as_deref().unwrap_or("systemd-boot");
            found.extend(firmware::look(&crate::update::boot_options::count(machine, tries), loader));
            if let Ok(config) = config {
                let status = crate::update::status::FeedStatus::read(machine, config);
                let failures = FetchState::read(root).failures;
                found.extend(feed::look(
                    status.as_ref(),
                    unit_files::is_timer_enabled(root, feed::TIMER),
                    failures,
                ));
            }
        }
        Err(e) => found.push(
            Finding::error("no-esp", e.to_string())
                .because("the boot entries and Abide's state are on the ESP")
                .remedy("make the ESP readable that the boot loader was started from"),
        ),
    }
    found.extend(of_system(&Surroundings::read(root, machine.as_ref().ok())));
    found.sort_by_key(|f| f.severity);
    found
}

fn of_machine(machine: &Machine) -> Vec<Finding> {
    let state = machine.state();
    let on_trial = state.update.as_ref().is_some_and(|u| matches!(u.stage, Stage::Applied | Stage::Testing));
    let running = machine.running_entry();
    let mut found = loader::look(&machine.vars);
    found.extend(pinned::look(&machine.entries, &machine.settings, &machine.quirks, on_trial));
    found.extend(names::look(&machine.entries));
    found.extend(panic::look(&machine.entries));
    found.extend(cmdline::look(&machine.entries, &machine.cmdline));
    found.extend(survey::space(machine).map(room::look).unwrap_or_default());
    match machine.slots() {
        Ok(slots) => {
            let image = running.as_ref().ok().and_then(|e| e.sort_key.as_deref());
            let slot = machine.running_slot().ok();
            found.extend(slots::look(slots, slot, &survey::mounts_of_other(machine, slot)));
            found.extend(wrong_root::look(&machine.entries, slots, &state, image));
        }
        Err(e) => found.push(
            Finding::error("no-slots", "there are no two slots on this machine")
                .because("an update is written into the slot that is not running")
                .remedy(e.to_string()),
        ),
    }
    if let Err(e) = running {
        found.push(
            Finding::error("running-entry", e.to_string())
                .because("a failed update falls back to the entry of the running system; `abide apply` refuses without it")
                .remedy("put the running system's UKI back into EFI/Linux on the ESP"),
        );
    }
    found
}

fn of_system(around: &Surroundings) -> Vec<Finding> {
    let mut found = initramfs::look(around.stage_ran);
    found.extend(boot_complete::look(&around.own_units, &around.required_units, around.blesser_kept_out));
    found.extend(watchdog::look(&around.watchdogs));
    found.extend(clock::look(around.now, around.known_past));
    if let Some(at) = &around.read_only_esp {
        found.push(
            Finding::error("esp-read-only", format!("the ESP is mounted read-only at {at}"))
                .because(
                    "nothing can be applied or committed; Linux remounts a damaged file system read-only",
                )
                .remedy(format!(
                    "find the reason in `journalctl -k`, then run: mount -o remount,rw {at}, or fsck.vfat"
                )),
        );
    }
    found
}
