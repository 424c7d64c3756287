//! The whole status: the loader, this boot, the slots, the update in flight.

use std::fs;
use std::io::ErrorKind;

use serde::Serialize;

use crate::boot::secure_boot::SecureBoot;
use crate::config::Config;
use crate::update::WholeMachine;
use crate::update::applied_by_other;
use crate::update::refusal::failure_of_system;
use crate::update::status::feed::FeedStatus;
use crate::update::status::slot::SlotStatus;
use crate::update::status::update::UpdateStatus;
use crate::uptime;
use abide_core::boot::model::name::fold_id;
use abide_core::disk::SlotName;
use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::state::{BootKind, Failure, State, lock, lock_holder};
use abide_core::update::machine::Machine;
use abide_core::update::reconcile::Course;
use abide_core::update::step::Step;

/// The whole status; its JSON form is a contract (`"schema": 1`).
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Version of this format; fields are added, never renamed or dropped.
    pub schema: u32,
    /// The boot loader as it introduced itself.
    pub loader: LoaderStatus,
    /// What this boot is.
    pub boot: BootStatus,
    /// Both slots; empty where none were found.
    pub slots: Vec<SlotStatus>,
    /// The update in flight, or the last one.
    pub update: Option<UpdateStatus>,
    /// Images that are refused.
    pub failures: Vec<Failure>,
    /// The feed, if one is configured.
    pub feed: Option<FeedStatus>,
}

/// `loader`
#[derive(Debug, Clone, Serialize)]
pub struct LoaderStatus {
    /// `LoaderInfo`, such as `systemd-boot 257.13`.
    pub name: Option<String>,
    /// Whether the loader reports that it counts boots.
    pub boot_counting: Option<bool>,
    /// Whether Secure Boot is on, so that UKIs are checked before they are installed.
    pub secure_boot: Option<bool>,
    /// Id of the entry that it booted.
    pub entry: Option<String>,
}

/// `boot`
#[derive(Debug, Clone, Serialize)]
pub struct BootStatus {
    /// `committed`, `trial`, `fallback` or `unknown`.
    pub kind: BootKind,
    /// On a trial: which try this is, from 1.
    pub attempt: Option<u32>,
    /// On a trial: how many tries there are.
    pub attempts: Option<u32>,
    /// On a trial: seconds until the deadline.
    pub deadline_in: Option<u64>,
    /// The evidence for `kind`.
    pub because: String,
}

impl Status {
    /// Reads the status of the machine. `window_left` is how many seconds of the test window are left,
    /// if the assessment has recorded that.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if `/proc` cannot be read.
    pub fn read(machine: &Machine, config: &Config, window_left: Option<u64>) -> Result<Self> {
        let Course { mut note, steps, .. } = machine.reconcile();
        if let Some(contradiction) =
            applied_by_other::uncommitted(machine).filter(|_| note.kind != BootKind::Unknown)
        {
            (note.kind, note.because) = (BootKind::Unknown, contradiction.to_string());
        }
        let state = reconciled(&steps).unwrap_or_else(|| machine.state());
        let on_trial = note.kind == BootKind::Trial;
        let running = machine.running_slot().ok();
        let slot = |name| SlotStatus::read(machine, &state, name, running, on_trial);
        let window_left = window_left.unwrap_or(config.assess.test_window.as_secs());
        let feed = FeedStatus::read(machine, config);
        let update = state.update.as_ref().map(|u| {
            let is_refused =
                failure_of_system(&state, Some(&u.version), u.digest.as_deref(), &u.entry).is_some();
            let is_cut_off = is_locked(&machine.root) == Some(false);
            UpdateStatus::new(u, running, on_trial, window_left, is_refused, is_cut_off)
        });
        Ok(Self {
            schema: 1,
            loader: LoaderStatus {
                name: machine.vars.info.clone(),
                boot_counting: machine.vars.boot_counting(),
                secure_boot: match SecureBoot::read(&machine.root) {
                    SecureBoot::On(_) => Some(true),
                    SecureBoot::Off => Some(false),
                    SecureBoot::Unknown(_) => None,
                },
                entry: machine.vars.selected.as_deref().map(fold_id),
            },
            boot: BootStatus {
                kind: note.kind,
                attempt: note.attempt,
                attempts: note.attempts,
                deadline_in: on_trial.then(|| {
                    let passed = uptime::read(&machine.root).unwrap_or_default().as_secs();
                    config.assess.deadline.as_secs().saturating_sub(passed)
                }),
                because: note.because,
            },
            slots: machine.slots.iter().flat_map(|_| SlotName::ALL).map(slot).collect(),
            update: UpdateStatus::with_feed(update, feed.as_ref()),
            failures: state.failures.into_iter().filter(|f| !f.forgiven).collect(),
            feed,
        })
    }
}

/// The state as `steps` will leave it: what the next stage would save is true already.
fn reconciled(steps: &[Step]) -> Option<State> {
    steps
        .iter()
        .rev()
        .find_map(|step| if let Step::Save(state) = step { Some((**state).clone()) } else { None })
}

/// Whether another process changes the machine; `None` if that is unknown. Nothing is opened or locked: a reader must not turn
/// a writer away.
fn is_locked(root: &Root) -> Option<bool> {
    match fs::metadata(root.path(lock::PATH)) {
        Ok(meta) => lock_holder::pid_of(root, &meta).map(|pid| pid.is_some()),
        Err(e) => (e.kind() == ErrorKind::NotFound).then_some(false),
    }
}
