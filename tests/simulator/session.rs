//! One boot: from power-on to the end of power, with everything that a cut may leave on the way.

use abide::boot::simulation::after_boot;
use abide::config::Scripts;
use abide::update::refusal::failure_of;
use abide::update::{apply, commit, forget, rearm, rollback};
use abide_core::boot::Entry;
use abide_core::boot::LoaderVars;
use abide_core::boot::model::choice::choose;
use abide_core::boot::model::entry::UKI_DIR;
use abide_core::boot::model::order::loader_id;
use abide_core::config::OnFailure;
use abide_core::disk::SlotName;
use abide_core::error::{Error, Result};
use abide_core::state::{BootKind, BootNote, FailedCheck, Phase, Stage, Store, Verdict};
use abide_core::update::step::perform_all;
use abide_core::update::{Machine, Sources, trial};

use super::check::Violation;
use super::disk::{Disk, Geometry};
use super::mutation::Mutation;
use super::volume::Fat;
use super::world::{
    Goal, Quality, System, World, cmdline, dirs, entries, place, quirks, root, settings, slots, system_in,
    tries,
};
use super::write::write;

/// Actions on the machine from outside during one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
    /// Nothing.
    Off,
    /// Somebody chooses this entry of the loader's menu, by its number in the order of the names.
    Menu(usize),
    /// Somebody reboots in mid-trial.
    Reboot,
    /// The operator writes anew what is staged already; that is no disturbance.
    Rewrite,
}

impl Hand {
    /// How much of the disturbances that a life has it takes.
    pub fn cost(self) -> u8 {
        u8::from(matches!(self, Self::Menu(_) | Self::Reboot))
    }
}

/// What cannot be changed about one exploration.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    pub goals: &'a [Goal],
    pub geometry: Geometry,
    pub mutation: Mutation,
    /// The firmware shows no variables.
    pub blind: bool,
    /// `[assess] rearm`
    pub rearm: bool,
    /// What the loader calls itself.
    pub loader: &'static str,
    /// What fails leaves more than the state has room for.
    pub full: bool,
}

/// The result of a boot.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Where the machine may be after a cut, and during what.
    pub cuts: Vec<(World, String)>,
    /// Where it is if nothing disturbs it; none once the operator's goal is reached.
    pub next: Option<World>,
    /// What happened, for people.
    pub log: Vec<String>,
    /// The points at which the power could have gone, by what was being done.
    pub points: Vec<(String, usize)>,
}

pub struct Session<'a> {
    rules: Rules<'a>,
    pub fat: Fat,
    pub world: World,
    running: Entry,
    /// `LoaderEntrySelected`
    selected: String,
    system: System,
    note: Option<BootNote>,
    boot_id: String,
    out: Outcome,
}

/// Runs one boot. `None` if the hand has nothing to do in it.
pub fn power_on(
    world: &World,
    rules: Rules<'_>,
    hand: Hand,
) -> std::result::Result<Option<Outcome>, Violation> {
    let fat = Fat::new(Disk::new(world.image.clone(), rules.geometry), rules.mutation);
    let quirks = quirks(rules.loader);
    let all = entries(&fat, &quirks);
    let first = choose(&all, &settings(), &quirks).ok_or("1: the loader has nothing to boot")?.entry;
    let chosen = match hand {
        Hand::Menu(n) => match all.get(n) {
            Some(entry) if *entry != first => entry.clone(),
            _ => return Ok(None),
        },
        _ => first,
    };
    let name = after_boot(&chosen, &quirks);
    let running = chosen.renamed(name);
    let (from, to) = (place(&chosen), place(&running));
    if from != to && !fat.disk.borrow().view().names.contains_key(&to) {
        let mut disk = fat.disk.borrow_mut();
        disk.rename_by_firmware(&from, &to);
        disk.sync_dir(to.rsplit_once('/').map_or("", |(dir, _)| dir));
    }
    let system = system_in(fat.disk.borrow().view(), &to)
        .ok_or_else(|| format!("2: the loader booted {}, which is not whole", running.name))?;
    if !world.is_whole(system) {
        return Err(format!("2: the loader booted {}, whose slot is not whole", running.name));
    }
    let update = Store::open(&fat).state().update;
    if hand == Hand::Rewrite && update.as_ref().is_none_or(|u| u.stage != Stage::Staged) {
        return Ok(None);
    }
    let boots = update.map_or(0, |u| u.boots.len());
    let mut session = Session {
        rules,
        fat,
        world: world.clone(),
        boot_id: format!("boot-{boots}"),
        selected: loader_id(&chosen, &quirks),
        running,
        system,
        note: None,
        out: Outcome::default(),
    };
    session.harvest(&format!("the loader counts {}", chosen.name));
    let done = session.run(hand);
    done.map_err(|why| {
        let disk = session.fat.disk.borrow();
        let files: Vec<String> = disk.view().list(UKI_DIR).map(|(name, _)| name.to_owned()).collect();
        format!("{why}\n  in ({hand:?}): {}\n  at the end: {files:?}", session.out.log.join(", "))
    })?;
    Ok(Some(session.out))
}

impl Session<'_> {
    /// Keeps what a cut may have left since the last time.
    pub fn harvest(&mut self, during: &str) {
        let cuts = self.fat.disk.borrow_mut().cuts();
        self.out.log.push(during.to_owned());
        self.out.points.push((during.to_owned(), cuts.points));
        for image in cuts.images {
            self.out.cuts.push((World { image, ..self.world.clone() }, during.to_owned()));
        }
    }

    pub fn machine(&self) -> Result<Machine> {
        let vars = LoaderVars {
            info: Some(self.rules.loader.into()),
            selected: (!self.rules.blind).then(|| self.selected.clone()),
            ..LoaderVars::default()
        };
        Machine::read_sources(
            &root(),
            Sources {
                dirs: dirs(&self.fat),
                vars,
                cmdline: cmdline(self.system.0),
                boot_id: self.boot_id.clone(),
                note: self.note.clone(),
                slots: Some(slots()),
                mounted: Some(self.system.0),
                kexec: Some(false),
                version: Some(self.system.1.to_owned()),
                now: "2026-01-01T00:00:00Z".into(),
            },
        )
    }

    /// As a command that changes something begins.
    pub fn change(&self) -> Result<Machine> {
        let mut machine = self.machine()?;
        let steps = machine.reconcile().steps;
        perform_all(&mut machine, &steps)?;
        Ok(machine)
    }

    /// Does something with the machine, with everything that a cut in it may leave.
    fn act<T>(&mut self, what: &str, act: impl FnOnce(&mut Machine) -> Result<T>) -> Result<T> {
        let done = self.change().and_then(|mut machine| act(&mut machine));
        self.fat.release();
        self.harvest(what);
        if let Err(e) = &done {
            self.out.log.push(format!("  {e}"));
        }
        done
    }

    fn end(&mut self) {
        self.out.next = Some(World { image: self.fat.disk.borrow().shut_down(), ..self.world.clone() });
    }

    /// The power fails before anything else is written.
    fn die(&mut self) {
        self.end();
    }

    /// How a broken committed system ends.
    fn breaks(&self) -> Option<Quality> {
        self.world.ghost.broken.filter(|broken| *broken == self.system)?;
        self.rules.goals.iter().find_map(|goal| match goal {
            Goal::Break(version, quality) if *version == self.system.1 => Some(*quality),
            _ => None,
        })
    }

    fn quality(&self) -> Quality {
        match self.rules.goals.get(self.world.ghost.goal) {
            Some(Goal::Update(version, quality)) if *version == self.system.1 => *quality,
            _ => Quality::Good,
        }
    }

    fn run(&mut self, hand: Hand) -> std::result::Result<(), Violation> {
        let is_new = !self.world.ghost.good.contains(&self.system);
        let breaks = self.breaks();
        if is_new && self.quality() == Quality::NeverReports || breaks == Some(Quality::NeverReports) {
            self.die();
            return Ok(());
        }
        let finding = self.early().map_err(|e| format!("8: the initramfs stage failed: {e}"))?;
        let Some(kind) = finding else {
            self.end();
            return Ok(());
        };
        if breaks.is_some() {
            self.die();
            return Ok(());
        }
        if kind == BootKind::Trial {
            return self.on_trial(hand);
        }
        if hand == Hand::Reboot {
            self.end();
            return Ok(());
        }
        if is_new && self.world.ghost.commit_begun != Some(self.system) {
            // A failed image that was chosen by hand, or a trial whose entry has gone.
            if kind == BootKind::Committed {
                return Err(format!("4: {:?} takes itself for committed", self.system));
            }
            self.end();
            return Ok(());
        }
        self.operate(hand)
    }

    /// The initramfs stage; none if it ends the boot.
    fn early(&mut self) -> Result<Option<BootKind>> {
        let finding = self.machine()?.reconcile();
        if finding.note.kind == BootKind::Committed && self.world.ghost.commit_begun == Some(self.system) {
            self.world.ghost.good.insert(self.system);
        }
        self.note = Some(finding.note.clone());
        let mut machine = self.machine()?;
        let done = perform_all(&mut machine, &finding.steps);
        drop(machine);
        self.fat.release();
        self.harvest(&format!(
            "initrd on {} ({:?}: {})",
            self.running.name, finding.note.kind, finding.note.because
        ));
        done?;
        let again = self.machine()?.reconcile();
        let before = self.fat.disk.borrow().view().clone();
        perform_all(&mut self.machine()?, &again.steps)?;
        if *self.fat.disk.borrow().view() != before {
            return Err(Error::Failed(format!("reconcile is not idempotent: {:?}", again.steps)));
        }
        Ok(finding.refuse.is_none().then_some(finding.note.kind))
    }

    fn on_trial(&mut self, hand: Hand) -> std::result::Result<(), Violation> {
        let checks = if self.rules.full { many_checks() } else { vec![] };
        let verdict = |phase| Verdict { phase, reason: "it is sick".into(), checks: checks.clone() };
        let stuck = |e: Error| format!("8: {e}");
        match self.quality() {
            Quality::NeverReports | Quality::DiesInInitramfs => {
                self.die();
                return Ok(());
            }
            Quality::WrongRoot => {
                self.world.ghost.given_up = true;
                self.act("initrd gives up", |m| {
                    rollback::rollback(m, Some(verdict(Phase::Initramfs)), 0, &Scripts::default())
                })
                .map_err(stuck)?;
                self.end();
                return Ok(());
            }
            _ => {}
        }
        for phase in [Phase::SwitchRoot, Phase::Userspace, Phase::Checks] {
            self.act("a breadcrumb", |m| trial::reach(m, phase)).map_err(stuck)?;
        }
        if hand == Hand::Reboot {
            self.act("an orderly reboot", abide::update::trial::interrupt).map_err(stuck)?;
            self.end();
            return Ok(());
        }
        match self.quality() {
            Quality::Sick => {
                self.world.ghost.given_up = true;
                self.act("assess gives up", |m| trial::end(m, verdict(Phase::Checks), OnFailure::Rollback))
                    .map_err(stuck)?;
                self.end();
            }
            Quality::SickRetry => {
                self.act("assess wants another try", |m| {
                    trial::end(m, verdict(Phase::Checks), OnFailure::Retry)
                })
                .map_err(stuck)?;
                self.end();
            }
            Quality::Unwanted => {
                self.world.ghost.given_up = true;
                self.act("rollback of the trial", |m| {
                    rollback::rollback(m, None, tries(), &Scripts::default())
                })
                .map_err(stuck)?;
                self.end();
            }
            _ => {
                self.world.ghost.commit_begun = Some(self.system);
                self.act("commit", |m| commit::commit(m, None)).map_err(stuck)?;
                self.world.ghost.good.insert(self.system);
                self.world.ghost.commit_begun = None;
                self.harvest("committed");
                return self.operate(hand);
            }
        }
        Ok(())
    }

    /// Whether the operator's goal is reached.
    fn has(&self, goal: Goal, machine: &Machine) -> bool {
        let failed = |version| failure_of(&machine.state(), Some(version), None).is_some();
        match goal {
            Goal::Update(version, Quality::Good) | Goal::Rollback(version) => self.system.1 == version,
            Goal::Update(version, _) => failed(version),
            Goal::Reinstall(version) => self.system == (SlotName::B, version),
            Goal::Forget(version) => !failed(version),
            Goal::Break(version, _) => self.system.1 != version && failed(version),
        }
    }

    /// On a good system: the operator repeats the commands until the goal is reached.
    fn operate(&mut self, hand: Hand) -> std::result::Result<(), Violation> {
        self.world.ghost.commit_begun = None;
        self.world.ghost.good.insert(self.system);
        let stuck = |e: Error| format!("8: {e}");
        if self.rules.rearm {
            self.act("rearm", |m| rearm::rearm(m, tries())).map_err(stuck)?;
        }
        loop {
            let Some(goal) = self.rules.goals.get(self.world.ghost.goal).copied() else { return Ok(()) };
            let machine = self.machine().map_err(stuck)?;
            if self.has(goal, &machine) {
                self.world.ghost.goal += 1;
                self.world.ghost.given_up = false;
                if let Some(Goal::Break(version, _)) = self.rules.goals.get(self.world.ghost.goal) {
                    self.world.ghost.broken = (self.system.1 == *version).then_some(self.system);
                }
                self.harvest("the next goal");
                continue;
            }
            match goal {
                Goal::Update(version, _) | Goal::Reinstall(version) => {
                    self.update(version, hand).map_err(stuck)?
                }
                Goal::Rollback(_) => {
                    self.act("rollback to the other slot", |m| {
                        rollback::rollback(m, None, tries(), &Scripts::default())
                    })
                    .map_err(stuck)?;
                }
                Goal::Forget(version) => {
                    let which = forget::Which::Image(version.to_owned());
                    self.act("forget", |m| forget::forget(m, &which)).map_err(stuck)?;
                    continue;
                }
                Goal::Break(..) => {}
            }
            self.end();
            return Ok(());
        }
    }

    /// `apply`, or where there is nothing to apply, `write` and `apply`.
    fn update(&mut self, version: &'static str, hand: Hand) -> Result<()> {
        let update = self.machine()?.state().update;
        let is_begun = update.is_some_and(|u| u.version == version && u.stage != Stage::Committed);
        if is_begun
            && hand != Hand::Rewrite
            && self.act("apply", |m| apply::apply(m, tries(), None, &Scripts::default())).is_ok()
        {
            return Ok(());
        }
        write(self, version)?;
        self.act("apply", |m| apply::apply(m, tries(), None, &Scripts::default())).map(drop)
    }

    /// The slot that `write` goes to.
    pub fn target(&self) -> abide_core::disk::SlotName {
        self.system.0.other()
    }

    pub fn mutation(&self) -> Mutation {
        self.rules.mutation
    }
}

/// Failed checks whose texts are longer than what is kept, so many that their records do not fit into the state.
fn many_checks() -> Vec<FailedCheck> {
    let check =
        |n| FailedCheck { name: format!("check-{n}"), reason: "r".repeat(600), output: "\n".repeat(600) };
    (0..20).map(check).collect()
}
