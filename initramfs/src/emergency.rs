//! The initramfs cannot go on: whether that ends a trial, and what is left behind.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use log::{error, warn};

use abide_core::boot::{Access, BootDirs, EfiVars, LoaderVars};
use abide_core::error::{OrError, Result};
use abide_core::root::Root;
use abide_core::state::{BootKind, BootNote, Phase, Verdict};
use abide_core::update::reboot;
use abide_core::update::reboot::Manner;
use abide_core::update::{Machine, trial};

use crate::initrd::early;

/// Exists once the initramfs has given up without knowing what this boot is.
const STRANDED: &str = "/run/abide/stranded";

/// How long an initramfs that gives up waits for the ESP, which may show up after the root has
/// failed. The unit that runs this has more.
const ESP_PATIENCE: Duration = Duration::from_secs(10);

/// The initramfs cannot go on. Finds out what this boot is, where the early stage has not come to
/// that yet, and leaves the reason why a trial ends here. Whoever runs this then reboots a trial.
///
/// # Errors
/// If the ESP cannot be written.
pub fn emergency(root: &Root) -> Result<()> {
    wait_for_esp(root);
    early(root)?;
    if BootNote::read(root).is_none() {
        // Not known yet: the early stage ends it where the ESP shows up later.
        return strand(root);
    }
    if is_trial(root) { lose(root) } else { Ok(()) }
}

fn strand(root: &Root) -> Result<()> {
    let path = root.path(STRANDED);
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).or_failed(|| format!("{}: cannot create", dir.display()))?;
    }
    fs::write(&path, "").or_failed(|| format!("{}: cannot write", path.display()))
}

/// Ends a trial that was found out to be one only after the initramfs had given up: nothing else
/// would.
///
/// # Errors
/// If the machine cannot be rebooted.
pub(super) fn end_if_stranded(root: &Root) -> Result<()> {
    if !root.path(STRANDED).exists() || !is_trial(root) {
        return Ok(());
    }
    lose(root).unwrap_or_else(|e| error!("{e}"));
    reboot::request(root, Manner::Immediate)
}

fn is_trial(root: &Root) -> bool {
    BootNote::read(root).is_some_and(|note| note.kind == BootKind::Trial)
}

/// Until the ESP is there, if what this boot is can only be told from it.
fn wait_for_esp(root: &Root) {
    if BootNote::read(root).is_some() || !root.is_live() {
        return;
    }
    let vars = LoaderVars::read_device(&EfiVars::new(root));
    let end = Instant::now() + ESP_PATIENCE;
    while let Err(e) = BootDirs::find(root, &vars, Access::Glance) {
        if Instant::now() >= end {
            warn!("{e}");
            return;
        }
        sleep(Duration::from_millis(200));
    }
}

/// Leaves the reason why this try ends in the initramfs.
fn lose(root: &Root) -> Result<()> {
    let reason = match failed_unit(root) {
        Some(unit) => format!("the initramfs could not go on: {unit} failed"),
        None => "the initramfs did not have the root ready in time".to_owned(),
    };
    warn!("{reason}; this try is lost");
    let mut machine = Machine::survey_boot(root, Access::Write)?;
    trial::lose(&mut machine, Verdict { phase: Phase::Initramfs, reason, checks: vec![] })
}

/// The first unit that has failed. What only gives up because of it has not failed itself.
fn failed_unit(root: &Root) -> Option<String> {
    if !root.is_live() {
        return None;
    }
    let words = ["list-units", "--state=failed", "--plain", "--no-legend", "--no-pager"];
    let output = Command::new("systemctl").args(words).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().next().map(str::to_owned)
}
