//! What `abide status` says, as data: EVE's vocabulary over Abide's state.

use serde::Serialize;

use crate::config::Config;
use abide_core::disk::SlotName;
use abide_core::error::Result;
use abide_core::state::{BootKind, BootNote, Failure, Stage, State, Update};

use crate::update::feed_report;
use crate::update::feed_report::FeedReport;
use abide_core::update::machine::Machine;
use abide_core::update::step::Step;

/// The whole report; its JSON form is a contract (`"schema": 1`).
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of this format; fields are added, never renamed or dropped.
    pub schema: u32,
    /// The boot loader as it introduced itself.
    pub loader: LoaderReport,
    /// What this boot is.
    pub boot: BootReport,
    /// Both slots; empty where none were found.
    pub slots: Vec<SlotReport>,
    /// The update in flight, or the last one.
    pub update: Option<UpdateReport>,
    /// Images that are refused.
    pub failures: Vec<Failure>,
    /// The feed that is followed; none where none is.
    pub feed: Option<FeedReport>,
}

/// `loader`
#[derive(Debug, Clone, Serialize)]
pub struct LoaderReport {
    /// `LoaderInfo`, such as `systemd-boot 257.13`.
    pub name: Option<String>,
    /// Whether it says that it counts boots.
    pub boot_counting: Option<bool>,
    /// Id of the entry that it booted.
    pub entry: Option<String>,
}

/// `boot`
#[derive(Debug, Clone, Serialize)]
pub struct BootReport {
    /// `committed`, `trial`, `fallback` or `unknown`.
    pub kind: BootKind,
    /// Which try, from 1; on a trial.
    pub attempt: Option<u32>,
    /// Of how many.
    pub attempts: Option<u32>,
    /// Seconds until the deadline; on a trial.
    pub deadline_in: Option<u64>,
    /// How that was told.
    pub because: String,
}

/// One of `slots`
#[derive(Debug, Clone, Serialize)]
pub struct SlotReport {
    /// `a` or `b`.
    pub name: SlotName,
    /// Whether this boot came from it.
    pub running: bool,
    /// EVE's `unused`, `updating`, `inprogress` or `active`.
    pub state: &'static str,
    /// The version that it holds.
    pub version: Option<String>,
    /// SHA-256 of the image that was written to it.
    pub digest: Option<String>,
    /// Path of its boot entry on the ESP or XBOOTLDR.
    pub entry: Option<String>,
    /// Whether it holds a system that was kept and has not failed since: for the other slot,
    /// whether there is one to go back to.
    pub good: bool,
}

/// `update`
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateReport {
    /// Version of the image.
    pub version: String,
    /// SHA-256 of the published image.
    pub digest: Option<String>,
    /// Boots that it is given; 0 before it is applied.
    pub tries: u32,
    /// EVE's BaseOsStatus.
    pub user_status: &'static str,
    /// EVE's BaseOsSubStatus.
    pub sub_status: &'static str,
    /// Seconds of the test window that are left, while testing; percent, while downloading.
    pub sub_status_progress: u64,
    /// The same for people.
    pub sub_status_str: String,
    /// Why it failed.
    pub sw_err: Option<SwErr>,
}

/// `swErr`, EVE's ErrorInfo
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SwErr {
    /// What happened.
    pub description: String,
    /// When; RFC 3339 UTC.
    pub timestamp: String,
    /// How bad.
    pub severity: &'static str,
    /// What would make another attempt possible.
    pub retry_condition: String,
}

/// Looks at the machine and says what it is. `window_left` is how many seconds of the
/// test window are left, where the assessment tells.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if `/proc` cannot be read.
pub fn report(machine: &Machine, config: &Config, window_left: Option<u64>) -> Result<Report> {
    let finding = machine.reconcile();
    // What the next stage would remember is already true.
    let state = finding
        .steps
        .iter()
        .rev()
        .find_map(|step| if let Step::Save(state) = step { Some((**state).clone()) } else { None })
        .unwrap_or_else(|| machine.state());
    let note = machine.note.clone().filter(|n| still_holds(n, &state)).unwrap_or(finding.note);
    let on_trial = note.kind == BootKind::Trial;
    let running = machine.running_slot().ok();
    let slots = match &machine.slots {
        Some(_) => SlotName::ALL.iter().map(|name| slot(machine, &state, *name, running, on_trial)).collect(),
        None => vec![],
    };
    let window_left = window_left.unwrap_or(config.assess.test_window.as_secs());
    let feed = feed_report::read(machine, config);
    let update = state.update.as_ref().map(|u| {
        let is_refused = state.failure_of(Some(&u.version), u.digest.as_deref()).is_some();
        update(u, running, on_trial, window_left, is_refused)
    });
    let update = feed_report::with_feed(update, feed.as_ref());
    Ok(Report {
        schema: 1,
        loader: LoaderReport {
            name: machine.vars.info.clone(),
            boot_counting: machine.vars.boot_counting(),
            entry: machine.selected(),
        },
        boot: BootReport {
            kind: note.kind,
            attempt: note.attempt,
            attempts: note.attempts,
            deadline_in: on_trial
                .then(|| config.assess.deadline.as_secs().saturating_sub(uptime(machine).unwrap_or(0))),
            because: note.because,
        },
        slots,
        update,
        failures: state.failures.into_iter().filter(|f| !f.forgiven).collect(),
        feed,
    })
}

/// The note of the initramfs stage says what the boot was; a commit since then ends the trial.
fn still_holds(note: &BootNote, state: &State) -> bool {
    note.kind != BootKind::Trial || state.update.as_ref().is_some_and(|u| u.stage == Stage::Testing)
}

fn uptime(machine: &Machine) -> Option<u64> {
    let text = std::fs::read_to_string(machine.root.path("/proc/uptime")).ok()?;
    text.split('.').next()?.parse().ok()
}

fn slot(
    machine: &Machine,
    state: &State,
    name: SlotName,
    running: Option<SlotName>,
    on_trial: bool,
) -> SlotReport {
    let entry = machine.entry_of_slot(name);
    let update = state.update.as_ref().filter(|u| u.slot == name);
    let in_flight = update.filter(|u| u.stage < Stage::Committed && u.verdict.is_none());
    let is_running = running == Some(name);
    let word = match (is_running, in_flight) {
        (true, _) if on_trial => "inprogress",
        (true, _) => "active",
        (false, Some(_)) => "updating",
        (false, None) => "unused",
    };
    let installed = state.installed(name);
    let shown = entry.as_ref();
    let good = shown.is_some_and(|e| {
        let digest = installed.filter(|i| i.entry == e.id()).and_then(|i| i.digest.as_deref());
        (e.name.counter().is_none() || state.is_known_good(&e.id()))
            && state.failure_of(e.version.as_deref(), digest).is_none()
    });
    SlotReport {
        name,
        running: is_running,
        state: word,
        version: in_flight
            .map(|u| u.version.clone())
            .or_else(|| shown.and_then(|e| e.version.clone()))
            .or_else(|| installed.map(|i| i.version.clone())),
        digest: update
            .filter(|u| u.stage > Stage::Writing)
            .and_then(|u| u.digest.clone())
            .or_else(|| installed.and_then(|i| i.digest.clone())),
        entry: shown.map(|e| e.path()),
        good,
    }
}

fn update(
    update: &Update,
    running: Option<SlotName>,
    on_trial: bool,
    window_left: u64,
    is_refused: bool,
) -> UpdateReport {
    let (user_status, sub_status, text) = match update.stage {
        _ if update.verdict.is_some() => ("FAILED", "NONE", String::new()),
        Stage::Writing => ("UPDATING", "UPDATE_INITIALIZING", "Initializing update".into()),
        Stage::Staged => ("DOWNLOAD_DONE", "NONE", "Downloaded and verified".into()),
        Stage::Testing if on_trial => {
            ("UPDATING", "UPDATE_TESTING", format!("Testing for {window_left} more seconds"))
        }
        Stage::Applied | Stage::Testing => ("UPDATING", "UPDATE_REBOOTING", "About to reboot".into()),
        Stage::Committed if running == Some(update.slot) => ("UPDATED", "NONE", String::new()),
        Stage::Committed => ("FALLBACK", "NONE", String::new()),
        Stage::Failed => ("FAILED", "NONE", String::new()),
    };
    let testing = sub_status == "UPDATE_TESTING";
    UpdateReport {
        version: update.version.clone(),
        digest: update.digest.clone(),
        tries: update.tries,
        user_status,
        sub_status,
        sub_status_progress: if testing { window_left } else { 0 },
        sub_status_str: text,
        sw_err: update.verdict.as_ref().map(|verdict| SwErr {
            description: format!("{} (phase {})", verdict.reason, verdict.phase.as_str()),
            timestamp: update.ended.clone().unwrap_or_default(),
            severity: "ERROR",
            retry_condition: match is_refused {
                true => format!("a newer version, or `abide forget {}`", update.version),
                false => "write it again".to_owned(),
            },
        }),
    }
}
