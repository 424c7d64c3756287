//! All findings of a machine: what is read for each kind of finding, and what its file makes of it.

use std::time::SystemTime;

use crate::boot::initramfs_stage;
use crate::config::Config;
use crate::doctor::boot_complete::Units;
use crate::doctor::finding::Finding;
use crate::doctor::{
    addons, boot_complete, clock, cmdline, configuration, esp, esp_check, feed, firmware, initramfs, layout,
    loader, mounted, names, panic, pinned, proxy, room, root_hash, running_entry, second_table, secure_boot,
    slots, trust, watchdog, wrong_root,
};
use crate::feed::memory::FetchState;
use crate::image::trust::Keys;
use crate::systemd::unit_files;
use crate::update::{WholeMachine, applied_by_other};
use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::state::Stage;
use abide_core::update::Machine;
use abide_core::update::finding::Kind;

/// All findings, errors first. `machine` is what was read, or why reading failed; `config` likewise.
#[must_use]
pub fn examine(root: &Root, config: &Result<Config>, machine: &Result<Machine>) -> Vec<Finding> {
    let mut found = vec![];
    match config {
        Ok(config) => {
            let (keys, now) = (Keys::load(root), SystemTime::now());
            found.extend(trust::look(&trust::Evidence { config, keys, now }));
            found.extend(proxy::look(config));
        }
        Err(e) => found.push(configuration::refused(e)),
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
                found.extend(feed::volatile(status.as_ref(), &mounted::read(root)));
            }
        }
        Err(e) => found.push(esp::none(e)),
    }
    found.extend(of_system(root, machine.as_ref().ok()));
    found.sort_by_key(|f| f.severity);
    found
}

fn of_machine(machine: &Machine) -> Vec<Finding> {
    let state = machine.state();
    let on_trial = state.update.as_ref().is_some_and(|u| matches!(u.stage, Stage::Applied | Stage::Testing));
    let running = machine.running_entry();
    let mut found = loader::look(&machine.vars);
    // That tool needs its default: until the commit, it leads back to the good system.
    let pinned = pinned::look(&machine.entries, &machine.settings, &machine.quirks, on_trial);
    let is_needed = applied_by_other::uncommitted(machine).is_some();
    found.extend(pinned.into_iter().filter(|finding| !is_needed || !finding.fixable));
    found.extend(names::look(&machine.entries));
    found.extend(addons::read(machine));
    found.extend(esp::few_clusters(machine));
    found.extend(panic::look(&machine.entries));
    found.extend(secure_boot::read(machine));
    found.extend(cmdline::look(&machine.entries, &machine.root.kernel_cmdline()));
    found.extend(room::read(machine).map(room::look).unwrap_or_default());
    match machine.slots() {
        Ok(slots) => {
            let image = running.as_ref().ok().and_then(|e| e.sort_key.as_deref());
            let slot = machine.running_slot().ok();
            found.extend(layout::look(&slots.layout));
            found.extend(root_hash::look(&root_hash::read(machine)));
            found.extend(slots::look(slots, slot, &slots::mounts_of_other(machine, slot)));
            found.extend(second_table::look(&second_table::read(&machine.root, slots)));
            found.extend(wrong_root::look(&machine.entries, slots, &state, image));
        }
        Err(e) => found.push(slots::none(&e)),
    }
    match (running, machine.finding().contradiction()) {
        (Err(_), Some(doubt)) if doubt.kind == Kind::SameUuid => {
            found.push(running_entry::contradiction(doubt))
        }
        (Err(e), _) => found.push(running_entry::unknown(&e)),
        (Ok(_), Some(contradiction)) => found.push(running_entry::contradiction(contradiction)),
        (Ok(_), None) => {}
    }
    found
}

fn of_system(root: &Root, machine: Option<&Machine>) -> Vec<Finding> {
    let mut found = initramfs::look(initramfs_stage::ran(root));
    found.extend(boot_complete::look(&Units::read(root)));
    found.extend(watchdog::look(&watchdog::read(root)));
    found.extend(clock::look(clock::now(), clock::known_past(root, machine.map(Machine::state).as_ref())));
    found.extend(esp::read_only(root));
    let fstab = std::fs::read_to_string(root.path("/etc/fstab")).unwrap_or_default();
    found.extend(esp_check::look(&fstab, &mounted::read(root), &root.kernel_cmdline()));
    found
}
