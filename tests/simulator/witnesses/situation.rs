//! What a machine can be in, and what it sees of that.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use abide_core::boot::{BootDirs, Entry, LoaderVars, Quirks};
use abide_core::disk::SlotName;
use abide_core::state::{
    BootKind, BootNote, Failure, Installed, Phase, Previous, Reboots, Stage, State, Store, TrialBoot, Uki,
    Update, Verdict,
};
use abide_core::update::STAGED_UKI;
use abide_testing::uki;
use sha2::{Digest, Sha256};

use super::memory::Memory;

/// The name of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Name {
    Plain,
    /// `+2-1`
    Left,
    /// `+0-3`
    Spent,
    Absent,
}

impl Name {
    pub const ALL: [Self; 4] = [Self::Plain, Self::Left, Self::Spent, Self::Absent];
}

/// What `LoaderEntrySelected` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vars {
    /// The entry of the kernel that runs.
    Right,
    /// The other slot's entry.
    Stale,
    Absent,
}

/// What tells which root is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sight {
    /// The mount, and os-release.
    Mount,
    /// os-release alone: the root is an overlay.
    Release,
    /// Nothing.
    Blind,
}

/// The update in the state, and its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Memo {
    Lost,
    Writing(SlotName),
    Staged(SlotName),
    Applied(SlotName),
    /// This boot is noted as a try.
    Testing(SlotName),
    /// An earlier boot is.
    Tested(SlotName),
    GivenUp(SlotName),
    Committed(SlotName),
    /// Committed, and its boots are counted.
    Counted(SlotName),
    Failed(SlotName),
}

/// The note in `/run/abide`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Noted {
    /// What the stage before finds with the same witnesses.
    Right,
    Absent,
    /// It speaks of another boot.
    OtherBoot,
    /// It says that this boot began as a trial of the kernel's slot.
    Trial,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Situation {
    /// The slot that the root is mounted from.
    pub runs: SlotName,
    /// The slot whose UKI this kernel came from.
    pub kernel: SlotName,
    /// Whether the UKIs name their root.
    pub rooted: bool,
    pub sight: Sight,
    pub vars: Vars,
    pub kexec: Option<bool>,
    pub names: [Name; 2],
    pub memo: Memo,
    pub note: Noted,
}

pub const BOOT_ID: &str = "this-boot";

pub fn version(slot: SlotName) -> &'static str {
    if slot == SlotName::A { "1.0" } else { "2.0" }
}

pub fn id(slot: SlotName) -> String {
    format!("edge_{}.efi", version(slot))
}

pub fn index(slot: SlotName) -> usize {
    usize::from(slot == SlotName::B)
}

pub fn root(slot: SlotName) -> String {
    format!("root=PARTLABEL=rootfs_{slot}")
}

pub fn cmdline(slot: SlotName, rooted: bool) -> String {
    if rooted { format!("{} panic=10", root(slot)) } else { "panic=10".to_owned() }
}

/// An ESP, and what is on it.
pub struct Disk {
    pub esp: Memory,
    pub entries: Vec<Entry>,
    pub state: State,
}

/// What a disk depends on.
type DiskKey = ([Name; 2], Memo, bool);

thread_local! {
    static DISKS: RefCell<HashMap<DiskKey, Rc<Disk>>> = RefCell::default();
    static UKIS: HashMap<(SlotName, bool), Rc<Vec<u8>>> = SlotName::ALL
        .into_iter()
        .flat_map(|slot| [true, false].map(|rooted| (slot, rooted)))
        .map(|(slot, rooted)| {
            ((slot, rooted), Rc::new(uki("edge", version(slot), &cmdline(slot, rooted))))
        })
        .collect();
}

pub fn uki_of(slot: SlotName, rooted: bool) -> Rc<Vec<u8>> {
    UKIS.with(|ukis| Rc::clone(&ukis[&(slot, rooted)]))
}

impl Situation {
    pub fn all() -> impl Iterator<Item = Self> {
        let slots = SlotName::ALL;
        let truths = slots.into_iter().flat_map(move |runs| {
            slots.into_iter().flat_map(move |kernel| [true, false].map(|rooted| (runs, kernel, rooted)))
        });
        let sights = [Sight::Mount, Sight::Release, Sight::Blind];
        let vars = [Vars::Right, Vars::Stale, Vars::Absent];
        let kexec = [Some(false), Some(true), None];
        let names: Vec<[Name; 2]> = Name::ALL.iter().flat_map(|a| Name::ALL.map(|b| [*a, b])).collect();
        let notes = [Noted::Right, Noted::Absent, Noted::OtherBoot, Noted::Trial];
        truths.flat_map(move |(runs, kernel, rooted)| {
            let names = names.clone();
            sights.into_iter().flat_map(move |sight| {
                let names = names.clone();
                vars.into_iter().flat_map(move |vars| {
                    let names = names.clone();
                    kexec.into_iter().flat_map(move |kexec| {
                        let names = names.clone();
                        names.into_iter().flat_map(move |names| {
                            Memo::all().into_iter().flat_map(move |memo| {
                                notes.into_iter().map(move |note| Self {
                                    runs,
                                    kernel,
                                    rooted,
                                    sight,
                                    vars,
                                    kexec,
                                    names,
                                    memo,
                                    note,
                                })
                            })
                        })
                    })
                })
            })
        })
    }

    pub fn cmdline(&self) -> String {
        cmdline(self.kernel, self.rooted)
    }

    /// The slot whose entry the loader's variables name.
    pub fn selected(&self) -> Option<SlotName> {
        match self.vars {
            Vars::Right => Some(self.kernel),
            Vars::Stale => Some(self.kernel.other()),
            Vars::Absent => None,
        }
    }

    pub fn loader_vars(&self) -> LoaderVars {
        LoaderVars {
            info: Some("systemd-boot 262".into()),
            features: Some(1 << 4),
            selected: self.selected().map(id),
            ..LoaderVars::default()
        }
    }

    pub fn mounted(&self) -> Option<SlotName> {
        (self.sight == Sight::Mount).then_some(self.runs)
    }

    pub fn release(&self) -> Option<String> {
        (self.sight != Sight::Blind).then(|| version(self.runs).to_owned())
    }

    /// Whether the note of this boot says so.
    pub fn began_as_trial(&self) -> bool {
        self.note == Noted::Trial
    }

    /// The note of this boot, if it is not what the stage before would find.
    pub fn made_up_note(&self) -> Option<BootNote> {
        let trial = |boot_id: &str| BootNote {
            kind: BootKind::Trial,
            attempt: Some(1),
            attempts: Some(3),
            slot: Some(self.kernel),
            version: Some(version(self.kernel).to_owned()),
            ..BootNote::committed(boot_id.to_owned(), String::new())
        };
        match self.note {
            Noted::Right | Noted::Absent => None,
            Noted::OtherBoot => Some(trial("another-boot")),
            Noted::Trial => Some(trial(BOOT_ID)),
        }
    }

    /// The ESP, and what is remembered on it.
    pub fn disk(&self) -> Rc<Disk> {
        DISKS.with(|disks| {
            let mut disks = disks.borrow_mut();
            let key = (self.names, self.memo, self.rooted);
            let disk = disks.entry(key).or_insert_with(|| {
                let state = self.state();
                let esp = self.esp(&state);
                let dirs = BootDirs { esp: Box::new(esp.clone()), xbootldr: None };
                Rc::new(Disk { entries: dirs.entries(&Quirks::NEWEST).unwrap(), esp, state })
            });
            Rc::clone(disk)
        })
    }

    fn esp(&self, state: &State) -> Memory {
        let esp = Memory::default();
        for slot in SlotName::ALL {
            let end = match self.names[index(slot)] {
                Name::Plain => ".efi",
                Name::Left => "+2-1.efi",
                Name::Spent => "+0-3.efi",
                Name::Absent => continue,
            };
            esp.put(&format!("EFI/Linux/edge_{}{end}", version(slot)), uki_of(slot, self.rooted));
        }
        if let Memo::Staged(slot) = self.memo {
            esp.put(STAGED_UKI, uki_of(slot, self.rooted));
        }
        if *state != State::default() {
            Store::open(&esp).save(&esp, state).unwrap();
            // The other generation holds nothing, which takes longest to be read.
            esp.drop_file("EFI/abide/state.1");
        }
        esp
    }

    fn state(&self) -> State {
        let mut state = State::default();
        let Some((slot, stage)) = self.memo.update() else { return state };
        let remember = |state: &mut State, slot: SlotName| {
            let known = Installed {
                version: version(slot).into(),
                digest: None,
                entry: id(slot),
                verified: None,
                unversioned: false,
            };
            state.set_installed(slot, Some(known));
        };
        remember(&mut state, slot.other());
        if stage == Stage::Committed {
            remember(&mut state, slot);
        }
        let verdict = matches!(self.memo, Memo::GivenUp(_) | Memo::Failed(_)).then(|| Verdict {
            phase: Phase::Checks,
            reason: "it is sick".into(),
            checks: vec![],
        });
        if verdict.is_some() {
            state.remember(Failure {
                version: version(slot).into(),
                digest: None,
                attempts: 1,
                phase: Phase::Checks,
                reason: "it is sick".into(),
                checks: vec![],
                time: String::new(),
                times: 1,
                forgiven: false,
                unversioned: false,
                entry: None,
            });
        }
        let boot = |boot_id: &str| TrialBoot {
            boot_id: boot_id.into(),
            attempt: 1,
            phase: Phase::Initramfs,
            time: String::new(),
            end: None,
        };
        let boots = match self.memo {
            Memo::Testing(_) => vec![boot(BOOT_ID)],
            Memo::Tested(_) | Memo::GivenUp(_) | Memo::Failed(_) => vec![boot("an-earlier-boot")],
            _ => vec![],
        };
        let is_bootable = stage >= Stage::Applied;
        let bytes = uki_of(slot, self.rooted);
        state.update = Some(Update {
            image_id: "edge".into(),
            version: version(slot).into(),
            digest: None,
            slot,
            stage,
            uki: Some(Uki {
                sha256: abide_core::hex::encode(&Sha256::digest(bytes.as_slice())),
                size: bytes.len() as u64,
            }),
            root: abide_core::disk::RootArg::parse(&root(slot)).unwrap().to_string(),
            entry: if is_bootable { id(slot) } else { String::new() },
            tries: if is_bootable { 3 } else { 0 },
            applied_in: if is_bootable { "the-boot-before".into() } else { String::new() },
            previous: is_bootable.then(|| Previous {
                slot: slot.other(),
                entry: id(slot.other()),
                version: Some(version(slot.other()).into()),
                demoted: self.names[index(slot.other())] != Name::Plain,
            }),
            boots,
            verdict,
            ended: None,
            counted: matches!(self.memo, Memo::Counted(_)),
            excused: false,
            root_hash: None,
            verified: None,
            floor: None,
            reboots: Reboots::default(),
            unversioned: false,
        });
        state
    }
}

impl Memo {
    fn all() -> Vec<Self> {
        let of = |slot| {
            [
                Self::Writing(slot),
                Self::Staged(slot),
                Self::Applied(slot),
                Self::Testing(slot),
                Self::Tested(slot),
                Self::GivenUp(slot),
                Self::Committed(slot),
                Self::Counted(slot),
                Self::Failed(slot),
            ]
        };
        [Self::Lost].into_iter().chain(SlotName::ALL.into_iter().flat_map(of)).collect()
    }

    /// The update's slot and stage.
    pub fn update(self) -> Option<(SlotName, Stage)> {
        Some(match self {
            Self::Lost => return None,
            Self::Writing(slot) => (slot, Stage::Writing),
            Self::Staged(slot) => (slot, Stage::Staged),
            Self::Applied(slot) => (slot, Stage::Applied),
            Self::Testing(slot) | Self::Tested(slot) | Self::GivenUp(slot) => (slot, Stage::Testing),
            Self::Committed(slot) | Self::Counted(slot) => (slot, Stage::Committed),
            Self::Failed(slot) => (slot, Stage::Failed),
        })
    }

    /// Whether the update is on trial, or will be: the loader counts for Abide.
    pub fn is_open_trial_of(self, slot: SlotName) -> bool {
        matches!(self, Self::Applied(s) | Self::Testing(s) | Self::Tested(s) if s == slot)
    }
}
