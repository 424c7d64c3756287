//! The initramfs stage: what is this boot, and may it go on?
//!
//! A committed boot is never stopped from here: whatever goes wrong is logged,
//! and the boot goes on. On a trial the exit code counts; the units reboot on it.

use std::fs;
use std::str::FromStr;

use log::{debug, error, info, warn};

use abide_core::boot::model::osrel::OsRelease;
use abide_core::boot::{Access, BootDirs, EfiVars, LoaderVars};
use abide_core::config::BootConfig;
use abide_core::disk::Slots;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::state::boot_note::boot_id;
use abide_core::state::{BootKind, BootNote, Lock, Phase, Stage, State, Store, Verdict};
use abide_core::update::reboot;
use abide_core::update::reboot::Manner;
use abide_core::update::step::perform_all;
use abide_core::update::{Machine, trial};

use crate::{emergency, pstore, trial_units, watchdog};

/// Where the initramfs mounts the root.
const SYSROOT: &str = "/sysroot";
const PANIC: &str = "/proc/sys/kernel/panic";

/// Seconds after which a kernel that panics reboots, where its command line does not say.
const PANIC_SECONDS: &str = "10";

/// What systemd starts after switch-root without `init=` (`do_reexecute`, systemd 252 to 262),
/// but for the shell, which is of no use to a machine that is alone.
const INITS: [&str; 4] = ["/usr/lib/systemd/systemd", "/sbin/init", "/etc/init", "/bin/init"];

/// The parts of the stage, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// As soon as the ESP is there: what is this boot?
    Early,
    /// Once the root is mounted: is it the one that was staged?
    Root,
    /// The initramfs cannot go on: leave the reason behind.
    Emergency,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(word: &str) -> std::result::Result<Self, String> {
        match word {
            "early" => Ok(Self::Early),
            "root" => Ok(Self::Root),
            "emergency" => Ok(Self::Emergency),
            _ => Err(format!("'{word}' is no part of the initramfs stage; it is early, root or emergency")),
        }
    }
}

/// Runs a part of the stage.
///
/// # Errors
/// Only on a trial that must not go on; the machine then reboots.
pub fn run(root: &Root, part: Part) -> Result<()> {
    match part {
        Part::Early => early(root),
        Part::Root => self::root(root),
        Part::Emergency => emergency::emergency(root),
    }
}

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
        Ok(Outcome::GoOn) => emergency::end_if_stranded(root),
        Ok(Outcome::Refuse(why)) => {
            error!("this boot must not go on: {why}");
            reboot::request(root, Manner::Immediate)
        }
        Err(e) => {
            error!("{e}; the boot goes on as it is");
            Ok(())
        }
    }
}

/// The note of a boot with nothing under way, which is nearly every boot: the state alone
/// tells. `None` where it takes a closer look.
fn glance(root: &Root) -> Result<Option<BootNote>> {
    let vars = LoaderVars::read_device(&EfiVars::new(root));
    let dirs = BootDirs::find(root, &vars, Access::Glance)?;
    let update = Store::open(dirs.esp.as_ref()).state().update;
    let settled = update.is_none_or(|u| {
        !u.is_counted() && !matches!(u.stage, Stage::Applied | Stage::Testing | Stage::Failed)
    });
    if !settled || dirs.needs_sweep()? {
        return Ok(None);
    }
    Ok(Some(BootNote {
        boot_id: boot_id(root),
        kind: BootKind::Committed,
        attempt: None,
        attempts: None,
        slot: None,
        version: None,
        because: "no update is on trial".into(),
        counted: false,
    }))
}

enum Outcome {
    GoOn,
    Refuse(String),
}

fn find_out(root: &Root) -> Result<Outcome> {
    if let Some(note) = glance(root)? {
        info!("{:?} boot: {}", note.kind, note.because);
        note.write(root)?;
        return Ok(Outcome::GoOn);
    }
    // The early stage and an emergency may both have come to this.
    let _lock = Lock::wait(root)?;
    if BootNote::read(root).is_some() {
        return Ok(Outcome::GoOn);
    }
    let mut looked = Machine::survey_boot(root, Access::Glance)?;
    if looked.reconcile().note.kind == BootKind::Fallback {
        looked.panic = last_panic(root, &looked.state());
    }
    let finding = looked.reconcile();
    info!("{:?} boot: {}", finding.note.kind, finding.note.because);
    if finding.note.counted {
        guard(root);
        if let Err(e) = trial_units::install_for_counted(root) {
            warn!("{e}; this boot uses up a try");
        }
    }
    if finding.steps.is_empty() && finding.refuse.is_none() {
        finding.note.write(root)?;
        return Ok(Outcome::GoOn);
    }
    drop(looked);
    let on_trial = finding.note.kind == BootKind::Trial;
    if on_trial {
        // Before anything that can fail: from here on somebody else ends what hangs. The note
        // comes last, as it says that all of this is done.
        finding.note.mark(root)?;
        guard(root);
    }
    let machine = Machine::survey_boot(root, Access::Write);
    if machine.is_err() && on_trial {
        finding.note.write(root)?;
    }
    let mut machine = machine?;
    let done = perform_all(&mut machine, &finding.steps);
    if on_trial && finding.refuse.is_none() {
        machine.dirs.make_room_for_loader();
    }
    finding.note.write(root)?;
    if let Err(e) = done {
        error!("{e}");
    }
    Ok(finding.refuse.map_or(Outcome::GoOn, Outcome::Refuse))
}

/// What makes a trial that hangs or panics end by itself.
fn guard(root: &Root) {
    match fs::read_to_string(root.path(PANIC)) {
        Ok(now) if now.trim() == "0" => {
            if let Err(e) = fs::write(root.path(PANIC), PANIC_SECONDS) {
                warn!("{PANIC}: cannot write: {e}; a kernel panic will hang");
            }
        }
        Ok(_) => {}
        Err(e) => warn!("{PANIC}: cannot read: {e}"),
    }
    if let Err(e) = watchdog::arm(root) {
        warn!("{e}");
    }
    if let Err(e) = pstore::load(root) {
        debug!("{e}; a kernel that panics may leave nothing behind");
    }
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

/// Checks on a trial that the mounted root is the staged one, and hands over to
/// the units of the new system.
///
/// # Errors
/// On a trial whose root is not the staged one; the machine then reboots.
pub fn root(root: &Root) -> Result<()> {
    early(root)?;
    let Some(note) = BootNote::read(root) else {
        warn!("what this boot is was not found out");
        return Ok(());
    };
    if note.kind != BootKind::Trial {
        return Ok(());
    }
    let mut machine = Machine::survey_boot(root, Access::Write)?;
    if let Err(why) = verify_root(root, &note) {
        error!("{why}");
        give_up(&mut machine, Phase::Initramfs, &why.to_string());
        return reboot::request(root, Manner::Immediate);
    }
    if let Err(why) = find_init(root) {
        // PID 1 would freeze when it finds out, and only a watchdog would end that.
        error!("{why}; this try is lost");
        let verdict = Verdict { phase: Phase::Initramfs, reason: why.to_string(), checks: vec![] };
        trial::lose(&mut machine, verdict)?;
        return reboot::request(root, Manner::Immediate);
    }
    trial::reach(&mut machine, Phase::SwitchRoot)?;
    let sysroot = Root::at(root.path(SYSROOT));
    let config = BootConfig::load(&sysroot).unwrap_or_else(|e| {
        warn!("{e}; the defaults hold for this trial");
        BootConfig::default()
    });
    trial_units::install(root, config.assess.deadline)
}

/// The root must be the slot's partition and carry the version that was staged.
fn verify_root(root: &Root, note: &BootNote) -> Result<()> {
    if let (true, Some(slot)) = (root.is_live(), note.slot) {
        let slots = Slots::find(root, None).ok();
        let mounted = slots.map(|s| s.mounted_at(root, SYSROOT)).transpose()?.flatten();
        if mounted.is_some_and(|mounted| mounted != slot) {
            return Err(Error::Failed(format!("the mounted root is not slot {slot}")));
        }
    }
    let Some(staged) = &note.version else { return Ok(()) };
    let sysroot = Root::at(root.path(SYSROOT));
    let release = ["/etc/os-release", "/usr/lib/os-release"]
        .into_iter()
        .find_map(|p| fs::read_to_string(sysroot.resolve(p).ok()?).ok())
        .ok_or_else(|| Error::Failed("the mounted root has no os-release".into()))?;
    let carried = OsRelease::parse(&release).image_version().unwrap_or_default().to_owned();
    if carried == *staged {
        return Ok(());
    }
    Err(Error::Failed(format!("the mounted root is version {carried:?}, but {staged} was staged")))
}

/// What switch-root would start must be there. Not asked of a folder, which has no kernel to start it.
fn find_init(root: &Root) -> Result<()> {
    if !root.is_live() {
        return Ok(());
    }
    let cmdline = fs::read_to_string(root.path("/proc/cmdline")).unwrap_or_default();
    let named = cmdline.split_whitespace().filter_map(|word| word.strip_prefix("init=")).next_back();
    let candidates = named.map_or_else(|| INITS.to_vec(), |init| vec![init]);
    let sysroot = Root::at(root.path(SYSROOT));
    let is_there = |init: &&&str| sysroot.resolve(init).is_ok_and(|path| path.is_file());
    match candidates.iter().find(is_there) {
        Some(_) => Ok(()),
        None => {
            Err(Error::Failed(format!("the mounted root has no init (looked for {})", candidates.join(", "))))
        }
    }
}

fn give_up(machine: &mut Machine, phase: Phase, reason: &str) {
    let verdict = Verdict { phase, reason: reason.to_owned(), checks: vec![] };
    if let Err(e) = abide_core::update::rollback::rollback(machine, Some(verdict), 0) {
        error!("{e}; this try is lost");
    }
}
