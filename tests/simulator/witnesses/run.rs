//! One command in one situation, and what came of it.

use abide::boot::simulation::boot;
use abide::config::Scripts;
use abide::update::WholeMachine;
use abide::update::{apply, commit, rearm, rollback, unhealthy};
use abide_core::boot::model::choice::Settings;
use abide_core::boot::model::entry::UKI_DIR;
use abide_core::boot::{LoaderVars, Quirks};
use abide_core::config::OnFailure;
use abide_core::disk::SlotName;
use abide_core::error::{Error, Result};
use abide_core::state::{Phase, State, Verdict};
use abide_core::update::finding::Boot;
use abide_core::update::step::perform_all;
use abide_core::update::trial::Ended;
use abide_core::update::{Machine, trial};

use super::machine::View;
use super::memory::Memory;
use super::oracle;
use super::situation::{Situation, cmdline, id, uki_of, version};
use crate::world::tries;
use crate::write;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// The initramfs stage, and every boot after it until the machine stays up.
    Boot,
    Write,
    Apply,
    Commit,
    Rollback,
    /// The checks of a trial fail.
    Fail,
    /// The tries of a committed system that is healthy.
    Rearm,
    /// The checks of a committed system fail.
    Unhealthy,
    /// systemd-bless-boot, where it is let.
    Bless,
}

pub const COMMANDS: [Command; 9] = [
    Command::Boot,
    Command::Write,
    Command::Apply,
    Command::Commit,
    Command::Rollback,
    Command::Fail,
    Command::Rearm,
    Command::Unhealthy,
    Command::Bless,
];

/// What came of it.
pub struct Done {
    pub esp: Memory,
    pub state: State,
    pub overwritten: Option<SlotName>,
    pub refused: bool,
}

/// The most boots that a machine takes until it stays up: all tries, as many refusals as are allowed,
/// and the one after.
const MOST_BOOTS: usize = 12;

/// Runs the command, and judges it. Whether anything was changed on the ESP or in a slot.
///
/// # Errors
/// What is wrong.
pub fn run(situation: &Situation, command: Command, view: &View) -> std::result::Result<bool, String> {
    let before = view.esp.copy();
    let view = View { esp: before.copy(), ..view.clone() };
    if command == Command::Boot {
        let is_trial = matches!(view.machine().finding().boot, Boot::Trial { .. });
        let ends = if is_trial { &[Trial::Dies, Trial::Sick, Trial::Healthy][..] } else { &[Trial::Dies] };
        for trial in ends.iter().copied() {
            let view = View { esp: before.copy(), ..view.clone() };
            boot_until_up(situation, &view, trial)?;
        }
        return Ok(false);
    }
    if command == Command::Bless {
        let lets_others = view.lets_others_bless();
        oracle::judge_consent(situation, lets_others)?;
        return Ok(lets_others);
    }
    let mut overwritten = None;
    let done = act(&view, command, &mut overwritten);
    let refused = matches!(done, Err(Error::Refused(_) | Error::Nothing(_) | Error::Failed(_)));
    let done = Done { esp: view.esp.clone(), state: view.state(), overwritten, refused };
    oracle::judge(situation, command, &before, &done)?;
    Ok(overwritten.is_some() || before.names(UKI_DIR) != done.esp.names(UKI_DIR))
}

fn verdict() -> Verdict {
    Verdict { phase: Phase::Checks, reason: "it is sick".into(), checks: vec![] }
}

/// As a command that changes something begins.
fn change(view: &View) -> Result<Machine> {
    let mut machine = view.machine();
    let steps = machine.reconcile().steps;
    perform_all(&mut machine, &steps)?;
    Ok(machine)
}

fn act(view: &View, command: Command, overwritten: &mut Option<SlotName>) -> Result<()> {
    let mut machine = change(view)?;
    match command {
        Command::Boot | Command::Bless => Ok(()),
        Command::Write => {
            let target = abide::update::write::target(&machine)?;
            // An image for whichever slot Abide takes for the other one.
            let bytes = uki_of(target.slot, true);
            let plan = write::plan(&machine, &bytes, "00")?;
            write::begin_at(&mut machine, &plan, &bytes)?;
            *overwritten = Some(target.slot);
            Ok(())
        }
        Command::Apply => apply::apply(&mut machine, tries(), None, &Scripts::default()).map(drop),
        Command::Commit => commit::commit(&mut machine, None).map(drop),
        Command::Rollback => rollback::rollback(&mut machine, None, tries(), &Scripts::default()).map(drop),
        Command::Fail => trial::end(&mut machine, verdict(), OnFailure::Rollback).map(drop),
        Command::Rearm => rearm::rearm(&mut machine, tries()).map(drop),
        Command::Unhealthy => {
            unhealthy::fail(&mut machine, "it is sick", vec![], tries(), &Scripts::default()).map(drop)
        }
    }
}

/// What becomes of a trial's boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// The power goes, or the kernel, and nobody says why.
    Dies,
    Sick,
    Healthy,
}

/// How a boot ended.
enum End {
    Up,
    Reboot,
}

fn boot_until_up(situation: &Situation, view: &View, trial: Trial) -> std::result::Result<(), String> {
    let mut view = view.clone();
    for number in 0..MOST_BOOTS {
        let before = view.esp.copy();
        let end = one_boot(&view, trial).map_err(|e| e.to_string())?;
        if number == 0 {
            let done = Done { esp: view.esp.clone(), state: view.state(), overwritten: None, refused: false };
            let command = if trial == Trial::Healthy { Command::Commit } else { Command::Boot };
            oracle::judge(situation, command, &before, &done)?;
        }
        match end {
            End::Up => return Ok(()),
            End::Reboot => match next(situation, &view, number) {
                Some(next) => view = next,
                None => return Err("the machine reboots although there is nothing to boot".into()),
            },
        }
    }
    Err(format!("after {MOST_BOOTS} boots the machine still reboots ({trial:?})"))
}

fn one_boot(view: &View, trial: Trial) -> Result<End> {
    let mut machine = view.machine();
    let course = machine.reconcile();
    perform_all(&mut machine, &course.steps)?;
    if course.refuse.is_some() {
        return Ok(End::Reboot);
    }
    if !matches!(course.finding.boot, Boot::Trial { .. }) {
        return Ok(End::Up);
    }
    match trial {
        Trial::Dies => Ok(End::Reboot),
        Trial::Healthy => commit::commit(&mut machine, None).map(|_| End::Up),
        Trial::Sick => Ok(match trial::end(&mut machine, verdict(), OnFailure::Rollback)? {
            Ended::Reboot => End::Reboot,
            Ended::Stay(_) | Ended::NotOnTrial => End::Up,
        }),
    }
}

/// The next boot, through the loader: everything that the machine sees is right again.
fn next(situation: &Situation, view: &View, number: usize) -> Option<View> {
    let machine = view.machine();
    let next = boot(&machine.entries, &Settings::default(), &Quirks::NEWEST)?;
    let was = &next.choice.entry;
    let now = next.entries.iter().find(|e| e.id() == was.id())?;
    view.esp.rename_file(&was.path(), &now.path());
    let slot = SlotName::ALL.into_iter().find(|slot| id(*slot) == was.id())?;
    let vars = LoaderVars { selected: view.vars.selected.as_ref().map(|_| was.id()), ..view.vars.clone() };
    Some(View {
        cmdline: cmdline(slot, situation.rooted),
        vars,
        mounted: view.mounted.map(|_| slot),
        kexec: view.kexec.map(|_| false),
        release: view.release.as_ref().map(|_| version(slot).to_owned()),
        note: None,
        boot_id: format!("boot-{number}"),
        ..view.clone()
    })
}
