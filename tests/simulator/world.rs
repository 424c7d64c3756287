//! The machine around the disk: the slots, the good systems, and the operator's goals.

use std::collections::BTreeSet;
use std::rc::Rc;

use abide_core::boot::model::choice::Settings;
use abide_core::boot::model::entry::{BootPartition, UKI_DIR};
use abide_core::boot::{BootDirs, Entry, Quirks, Volume};
use abide_core::disk::{Layout, Slot, SlotName, Slots};
use abide_core::root::Root;
use abide_testing::uki;

use super::disk::{Content, Disk, Geometry, Image, XBOOTLDR};
use super::mutation::Mutation;
use super::volume::Fat;

pub type Version = &'static str;
/// A copy of the operating system.
pub type System = (SlotName, Version);

/// How many disturbances one life has; more on demand.
pub fn disturbances() -> u8 {
    std::env::var("ABIDE_SIMULATOR_DEPTH").ok().and_then(|n| n.parse().ok()).unwrap_or(2)
}

/// Tries that an update is given: disturbances alone never use them up.
pub fn tries() -> u32 {
    u32::from(disturbances() + 1).max(3)
}

/// How a trial ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quality {
    /// It is healthy.
    Good,
    /// Its kernel never gets as far as the initramfs stage.
    NeverReports,
    /// It crashes after the initramfs stage began.
    DiesInInitramfs,
    /// Its root is not what was staged.
    WrongRoot,
    /// Its checks fail, and the configuration says to roll back.
    Sick,
    /// Its checks fail, and the configuration says to try again.
    SickRetry,
    /// An operator rolls it back.
    Unwanted,
}

/// What the operator wants, one thing after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Goal {
    Update(Version, Quality),
    /// The version that runs from slot a, into slot b.
    Reinstall(Version),
    /// Back to the other slot, which holds this version.
    Rollback(Version),
    Forget(Version),
    /// The committed version fails from now on in this way, and the machine must recover.
    Break(Version, Quality),
}

/// Facts that an observer knows and the machine does not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// Systems that were kept and are still whole.
    pub good: BTreeSet<System>,
    /// A commit of this system has been asked for.
    pub commit_begun: Option<System>,
    /// The trial of the current goal has been given up by someone.
    pub given_up: bool,
    /// A committed system that does not boot any more.
    pub broken: Option<System>,
    /// Which goal is next.
    pub goal: usize,
}

/// What a slot consists of where the machine makes the dm-verity tree itself; elsewhere the last two have nothing to say.
/// Each part is of a version, or incomplete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Parts {
    pub root: Option<Version>,
    pub tree: Option<Version>,
    /// What the tree must have in the file on the file system that both slots share.
    pub root_hash: Option<Version>,
}

impl Parts {
    /// All of one version.
    pub fn of(version: Version) -> Self {
        Self { root: Some(version), tree: Some(version), root_hash: Some(version) }
    }
}

/// A machine without power.
#[derive(Debug, Clone)]
pub struct World {
    pub image: Image,
    pub slots: [Parts; 2],
    pub ghost: Ghost,
}

pub fn index(slot: SlotName) -> usize {
    usize::from(slot == SlotName::B)
}

impl World {
    /// `version` runs from slot a, and nothing was ever updated. Its entry lies on the ESP, or on an
    /// XBOOTLDR.
    pub fn new(version: Version, is_on_xbootldr: bool) -> Self {
        let mut disk = Disk::new(Image::default(), Geometry::OneSector);
        disk.create_dir(UKI_DIR);
        let dir = format!("{}{UKI_DIR}", if is_on_xbootldr { XBOOTLDR } else { "" });
        disk.create_dir(&dir);
        disk.write(&format!("{dir}/edge_{version}.efi"), bytes_of((SlotName::A, version)).to_vec());
        Self {
            image: disk.shut_down(),
            slots: [Parts::of(version), Parts::default()],
            ghost: Ghost {
                good: BTreeSet::from([(SlotName::A, version)]),
                commit_begun: None,
                given_up: false,
                broken: None,
                goal: 0,
            },
        }
    }

    /// The name on the disk decides whether a commit that was begun has happened.
    pub fn settle_commit(&mut self) {
        let Some(system) = self.ghost.commit_begun.take() else { return };
        let happened = self
            .entries()
            .filter(|path| !path.contains('+'))
            .any(|path| self.system_at(&path) == Some(system));
        if happened {
            self.ghost.good.insert(system);
        }
    }

    /// The files that the loader may show.
    pub fn entries(&self) -> impl Iterator<Item = String> {
        let dirs = ["", XBOOTLDR].map(|at| format!("{at}{UKI_DIR}"));
        let names = dirs.into_iter().flat_map(|dir| {
            self.image.list(&dir).map(|(name, _)| format!("{dir}/{name}")).collect::<Vec<String>>()
        });
        names.filter(|path| path.ends_with(".efi"))
    }

    /// The system that a file boots, if the file is whole.
    pub fn system_at(&self, path: &str) -> Option<System> {
        system_in(&self.image, path)
    }

    /// Whether the system's slot is whole.
    pub fn is_whole(&self, system: System) -> bool {
        self.slots[index(system.0)] == Parts::of(system.1)
    }

    /// The disk, to be looked at.
    pub fn fat(&self) -> Fat {
        Fat::new(Disk::new(self.image.clone(), Geometry::OneSector), Mutation::None)
    }
}

/// The system that a file boots, if the file is whole.
pub fn system_in(image: &Image, path: &str) -> Option<System> {
    if !image.is_sound(path) {
        return None;
    }
    let Some(Content::Bytes(blob)) = image.content(path) else { return None };
    CATALOG.with(|all| all.iter().find(|(_, known)| **known == blob.bytes).map(|(system, _)| *system))
}

pub fn dirs(fat: &Fat) -> BootDirs {
    let xbootldr = fat.xbootldr().map(|volume| Box::new(volume) as Box<dyn Volume>);
    BootDirs { esp: Box::new(fat.clone()), xbootldr }
}

/// Where an entry is on the disk.
pub fn place(entry: &Entry) -> String {
    let at = if entry.partition == BootPartition::Xbootldr { XBOOTLDR } else { "" };
    format!("{at}{}", entry.path())
}

pub fn entries(fat: &Fat, quirks: &Quirks) -> Vec<Entry> {
    dirs(fat).entries(quirks).unwrap()
}

pub fn settings() -> Settings {
    Settings::default()
}

/// What the loader calls itself; its version decides what it does.
pub const NEWEST: &str = "systemd-boot 262";

pub fn quirks(loader: &str) -> Quirks {
    Quirks::of(Some(loader))
}

pub fn root() -> Root {
    Root::at("/nonexistent")
}

const VERSIONS: [Version; 4] = ["1.0", "2.0", "3.0", "4.0"];

thread_local! {
    static CATALOG: Vec<(System, Rc<Vec<u8>>)> = [SlotName::A, SlotName::B]
        .into_iter()
        .flat_map(|slot| VERSIONS.map(|version| ((slot, version), Rc::new(build(slot, version)))))
        .collect();
}

fn build(slot: SlotName, version: Version) -> Vec<u8> {
    uki("edge", version, &cmdline(slot))
}

/// The UKI that boots a system.
pub fn bytes_of(system: System) -> Rc<Vec<u8>> {
    CATALOG.with(|all| all.iter().find(|(s, _)| *s == system).map(|(_, b)| Rc::clone(b)).unwrap())
}

pub fn cmdline(slot: SlotName) -> String {
    format!("root=PARTLABEL=rootfs_{slot} panic=10")
}

pub fn slots() -> Slots {
    let slot = |name: SlotName| Slot {
        name,
        device: format!("/nonexistent/{name}").into(),
        node: format!("/dev/{name}"),
        label: format!("rootfs_{name}"),
        partuuid: None,
        fs_uuid: None,
        fs_label: None,
        size: 1 << 20,
        verity: None,
        verity_sig: None,
        boot_uuid: None,
        luks: None,
        own_tree: None,
    };
    Slots { a: slot(SlotName::A), b: slot(SlotName::B), layout: Layout::default() }
}
