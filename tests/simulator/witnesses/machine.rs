//! Building what Abide sees, with the old mistakes put back on demand.

use abide::assess::consent::is_left_to_others;
use abide::update::WholeMachine;
use abide::update::write::refuse_to_overwrite;
use abide_core::boot::{BootDirs, LoaderVars};
use abide_core::disk::{RootArg, SlotName};
use abide_core::state::{BootNote, Store};
use abide_core::update::finding::{Finding, Witnesses};
use abide_core::update::reconcile::Evidence;
use abide_core::update::{Machine, Sources};

use super::memory::Memory;
use super::situation::{BOOT_ID, Noted, Situation, id, root};
use crate::world;

/// A mistake of an earlier Abide, by what it makes the machine believe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// After a kexec the loader's variables decide, and not the command line.
    VariablesAlone,
    /// After a soft-reboot the mount alone decides.
    MountAlone,
    /// Where the state knows of no update, whatever runs is committed.
    StateAlone,
    /// Where Abide's stage ran, nobody else may bless.
    NoteKeepsOthersOut,
    /// Where Abide's stage did not run, everybody may bless.
    NoNoteLetsOthersIn,
}

impl Fault {
    pub const ALL: [Self; 5] = [
        Self::VariablesAlone,
        Self::MountAlone,
        Self::StateAlone,
        Self::NoteKeepsOthersOut,
        Self::NoNoteLetsOthersIn,
    ];
}

/// A boot as the machine sees it.
#[derive(Debug, Clone)]
pub struct View {
    pub cmdline: String,
    pub vars: LoaderVars,
    pub mounted: Option<SlotName>,
    pub kexec: Option<bool>,
    pub release: Option<String>,
    pub note: Option<BootNote>,
    pub boot_id: String,
    pub esp: Memory,
    pub fault: Fault,
}

impl View {
    /// What is seen in a situation.
    pub fn of(situation: &Situation, fault: Fault) -> Self {
        let mut view = Self {
            cmdline: situation.cmdline(),
            vars: situation.loader_vars(),
            mounted: situation.mounted(),
            kexec: situation.kexec,
            release: situation.release(),
            note: situation.made_up_note(),
            boot_id: BOOT_ID.into(),
            esp: situation.disk().esp.copy(),
            fault,
        };
        match (fault, situation.selected()) {
            (Fault::VariablesAlone, Some(selected)) => {
                view.cmdline = root(selected);
                (view.mounted, view.kexec, view.release) = (None, None, None);
            }
            (Fault::MountAlone, _) => {
                view.cmdline = root(situation.runs);
                (view.vars.selected, view.kexec, view.release) = (None, None, None);
            }
            _ => {}
        }
        if situation.note == Noted::Right {
            view.note = Some(view.machine().reconcile().note);
        }
        view
    }

    /// What the witnesses say, and which slots may be overwritten: without a disk.
    pub fn glance(&self, situation: &Situation) -> (Finding, [bool; 2]) {
        let (disk, slots) = (situation.disk(), world::slots());
        let kernel = RootArg::parse(&self.cmdline);
        let witnesses = Witnesses {
            kernel: kernel.as_ref(),
            mounted: self.mounted,
            selected: self.vars.selected.as_deref(),
            counted: self.vars.boot_count_path.as_deref().filter(|_| self.kexec != Some(true)),
            kexec: self.kexec,
            version: self.release.as_deref(),
            entries: &disk.entries,
            slots: Some(&slots),
            state: &disk.state,
            foreign: None,
            note: self.note.as_ref().filter(|note| note.boot_id == self.boot_id),
            boot_id: &self.boot_id,
        };
        let finding = Evidence { witnesses, now: "", panic: None }.reconcile().finding;
        (finding, SlotName::ALL.map(|slot| refuse_to_overwrite(&witnesses, slot).is_ok()))
    }

    /// Reads it.
    pub fn machine(&self) -> Machine {
        let sources = Sources {
            dirs: BootDirs { esp: Box::new(self.esp.clone()), xbootldr: None },
            vars: self.vars.clone(),
            cmdline: self.cmdline.clone(),
            boot_id: self.boot_id.clone(),
            note: self.note.clone(),
            slots: Some(world::slots()),
            mounted: self.mounted,
            kexec: self.kexec,
            version: self.release.clone(),
            now: "2026-01-01T00:00:00Z".into(),
        };
        let mut machine = Machine::read_sources(&world::root(), sources).unwrap();
        if self.fault == Fault::StateAlone && machine.state().update.is_none() {
            let runs = RootArg::parse(&self.cmdline).and_then(|root| world::slots().of_root(&root));
            for entry in machine.entries.iter_mut().filter(|e| runs.is_some_and(|slot| e.id() == id(slot))) {
                *entry = entry.renamed(entry.name.with_counter(None));
            }
        }
        machine
    }

    /// Whether the system's own blesser would be let through now.
    pub fn lets_others_bless(&self) -> bool {
        match self.fault {
            Fault::NoteKeepsOthersOut => self.note.is_none(),
            Fault::NoNoteLetsOthersIn if self.note.is_none() => true,
            _ => is_left_to_others(&self.machine().finding()),
        }
    }

    /// What is remembered now.
    pub fn state(&self) -> abide_core::state::State {
        Store::open(&self.esp).state()
    }
}
