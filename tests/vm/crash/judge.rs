//! What must hold on the disk of a machine whose power was cut, found out without switching it on.

use abide_testing::entry::is_remembered;
use std::collections::BTreeSet;
use std::io::{self, Read};

use abide::boot::simulation::boot;
use abide_core::boot::esp::entries;
use abide_core::boot::esp::volume::{Item, ReadSeek};
use abide_core::boot::model::choice::Settings;
use abide_core::boot::model::entry::UKI_DIR;
use abide_core::boot::{BootDirs, Entry, Quirks, Volume};
use abide_core::state::{Stage, State, Store};
use abide_qemu::fat::Fat;
use abide_qemu::sectors::{SECTOR, Sectors};
use abide_qemu::slots::{ESP_START, Guest};
use abide_qemu::table::{self, Partition};

use super::slots::{PartUuids, Slots};

pub type Version = &'static str;

/// What is wrong, in one sentence.
pub type Violation = String;

/// What the loader of the tiny guest calls itself.
const LOADER: &str = "systemd-boot 257";

/// More boots than any trial has tries.
const ENOUGH: usize = 6;

/// What may be found after a cut at this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Promise {
    /// What may boot next.
    pub next: BTreeSet<Version>,
    /// One of these is the committed system.
    pub committed: BTreeSet<Version>,
    /// What may carry no counter.
    pub good: BTreeSet<Version>,
    /// What may have a failure record.
    pub may_fail: BTreeSet<Version>,
    /// What must have one.
    pub must_fail: BTreeSet<Version>,
    /// What the files with root hashes may hold, each with its slot, where the machine has such files.
    pub root_hashes: BTreeSet<String>,
}

impl Promise {
    /// A machine at rest that runs this version, and knows no other.
    pub fn of_committed(version: Version) -> Promise {
        let (next, committed, good) = ([version].into(), [version].into(), [version].into());
        Promise { next, committed, good, ..Promise::default() }
    }

    /// Everything that was there before may still be there, or what was to be after.
    pub fn between(before: &Promise, after: &Promise) -> Promise {
        let union = |a: &BTreeSet<Version>, b: &BTreeSet<Version>| a.union(b).copied().collect();
        let root_hashes = before.root_hashes.union(&after.root_hashes).cloned().collect();
        Promise {
            next: union(&before.next, &after.next),
            committed: union(&before.committed, &after.committed),
            good: union(&before.good, &after.good),
            may_fail: union(&before.may_fail, &after.may_fail),
            must_fail: before.must_fail.intersection(&after.must_fail).copied().collect(),
            root_hashes,
        }
    }
}

/// A version as it lies on the disk when it is whole.
#[derive(Debug)]
struct Known {
    version: Version,
    uki: Vec<u32>,
    uki_length: u64,
}

/// Knows every version.
#[derive(Debug)]
pub struct Judge {
    known: Vec<Known>,
    slots: Box<dyn Slots>,
    quirks: Quirks,
}

/// A disk as it was understood.
struct View {
    state: State,
    settings: Settings,
    /// The entries, each with the whole system that it boots.
    entries: Vec<(Entry, Version)>,
    partitions: Vec<Partition>,
    is_table_torn: bool,
}

/// What was found on a disk that keeps its promises.
#[derive(Debug)]
pub struct Found {
    /// What is remembered.
    pub state: State,
    /// The first partition table is invalid; the firmware mends it from the one in the last sector.
    pub is_table_torn: bool,
}

impl Judge {
    /// A judge of disks of the tiny guest whose contents have the same numbers as those of `disk`.
    pub fn new(guest: &Guest, disk: &Sectors) -> Judge {
        let ukis = guest.systems.iter().map(|system| (system.version, system.uki.as_slice()));
        Judge::of(ukis, Box::new(PartUuids::new(guest, disk)), disk)
    }

    /// The same of machines with these UKIs and slots.
    pub fn of<'a>(
        ukis: impl Iterator<Item = (Version, &'a [u8])>,
        slots: Box<dyn Slots>,
        disk: &Sectors,
    ) -> Judge {
        let known =
            ukis.map(|(version, uki)| Known { version, uki: disk.intern(uki), uki_length: uki.len() as u64 });
        Judge { known: known.collect(), slots, quirks: Quirks::of(Some(LOADER)) }
    }

    /// Judges a disk.
    pub fn check(&self, disk: &Sectors, promise: &Promise) -> Result<Found, Violation> {
        let view = self.look(disk)?;
        only_committed_systems_are_good(&view, promise)?;
        the_committed_system_is_there(&view, promise)?;
        self.the_right_system_boots_next(&view, promise)?;
        failures_are_deserved(&view.state, promise)?;
        self.slots.check_shared(disk, &view.partitions, promise)?;
        Ok(Found { state: view.state, is_table_torn: view.is_table_torn })
    }

    /// FAT must be readable, and everything that the loader would show whole.
    fn look(&self, disk: &Sectors) -> Result<View, Violation> {
        let table = table::read(disk)?;
        let fat = Fat::open(disk, ESP_START)?;
        let names = fat.list(UKI_DIR)?;
        let dirs = BootDirs { esp: Box::new(Esp { disk: disk.clone(), fat: fat.clone() }), xbootldr: None };
        let all = dirs.entries(&self.quirks).map_err(|e| e.to_string())?;
        for item in names.iter().filter(|item| item.name.to_lowercase().ends_with(".efi")) {
            if !all.iter().any(|entry| entry.name.to_string() == item.name) {
                return Err(format!("{} is shown by the loader, and is not a UKI", item.name));
            }
        }
        let mut found = Vec::new();
        for entry in all {
            let version = self.whole(disk, &fat, &table.partitions, &entry)?;
            found.push((entry, version));
        }
        let conf = entries::loader_conf(&dirs, self.quirks.single_quotes).map_err(|e| e.to_string())?;
        Ok(View {
            state: Store::open(dirs.esp.as_ref()).state(),
            settings: Settings { conf, ..Settings::default() },
            entries: found,
            partitions: table.partitions,
            is_table_torn: table.is_first_torn,
        })
    }

    /// The version that an entry boots, if its UKI and its slot are what was published.
    fn whole(
        &self,
        disk: &Sectors,
        fat: &Fat,
        partitions: &[Partition],
        entry: &Entry,
    ) -> Result<Version, Violation> {
        let item = fat.find(&entry.path())?.ok_or_else(|| format!("{} cannot be found", entry.name))?;
        let sectors = fat.sectors(&item)?;
        let is = |known: &&Known| {
            known.uki_length == item.length
                && known.uki.len() == sectors.len()
                && sectors.iter().zip(&known.uki).all(|(at, number)| disk.number(*at) == *number)
        };
        let known = self.known.iter().find(is).ok_or_else(|| format!("{} is not whole", entry.name))?;
        let whole = self.slots.check_whole(disk, partitions, known.version);
        whole.map_err(|why| format!("{} is bootable, but {why}", entry.name))?;
        Ok(known.version)
    }

    /// By the model of the loader; and it alone comes to the committed system if nothing ever reports.
    fn the_right_system_boots_next(&self, view: &View, promise: &Promise) -> Result<(), Violation> {
        let mut entries: Vec<Entry> = view.entries.iter().map(|(entry, _)| entry.clone()).collect();
        let version = |entry: &Entry| {
            let same = view.entries.iter().find(|(known, _)| known.id() == entry.id());
            same.map_or("", |(_, version)| version)
        };
        let mut settings = view.settings.clone();
        for number in 0..ENOUGH {
            let next = boot(&entries, &settings, &self.quirks).ok_or("the loader has nothing to boot")?;
            let booted = version(&next.choice.entry);
            if number == 0 && !promise.next.contains(booted) {
                return Err(format!(
                    "{booted} boots next ({}), not {:?}; there are {}",
                    next.choice.because,
                    promise.next,
                    names(&entries)
                ));
            }
            if promise.committed.contains(booted) {
                return Ok(());
            }
            (entries, settings) = (next.entries, next.settings);
        }
        Err(format!(
            "left alone the loader never comes to a committed system; it ends with {}",
            names(&entries)
        ))
    }
}

fn names(entries: &[Entry]) -> String {
    entries.iter().map(|entry| entry.name.to_string()).collect::<Vec<_>>().join(", ")
}

fn only_committed_systems_are_good(view: &View, promise: &Promise) -> Result<(), Violation> {
    for (entry, version) in view.entries.iter().filter(|(entry, _)| entry.name.counter().is_none()) {
        if !promise.good.contains(version) {
            return Err(format!("{} is good, but nobody committed it", entry.name));
        }
    }
    let Some(update) = view.state.update.as_ref().filter(|update| update.stage == Stage::Committed) else {
        return Ok(());
    };
    let of_update = || view.entries.iter().map(|(entry, _)| entry).filter(|entry| entry.id() == update.entry);
    let on_trial = of_update().any(|entry| entry.name.counter().is_some_and(|counter| counter.left > 0));
    if on_trial && !of_update().any(|entry| entry.name.counter().is_none()) {
        return Err(format!("the state says that {} is committed, but it is on trial", update.version));
    }
    Ok(())
}

fn the_committed_system_is_there(view: &View, promise: &Promise) -> Result<(), Violation> {
    let previous = view.state.update.as_ref().and_then(|update| update.previous.as_ref());
    let is_marked_good = |entry: &Entry| {
        let id = entry.id();
        entry.name.counter().is_none()
            || is_remembered(&view.state, &id)
            || previous.is_some_and(|previous| previous.entry == id)
    };
    let is_it =
        |(entry, version): &(Entry, Version)| promise.committed.contains(version) && is_marked_good(entry);
    match view.entries.iter().any(is_it) {
        true => Ok(()),
        false => {
            let all: Vec<String> = view.entries.iter().map(|(entry, _)| entry.name.to_string()).collect();
            Err(format!("none of {:?} is there as a good entry, only {all:?}", promise.committed))
        }
    }
}

fn failures_are_deserved(state: &State, promise: &Promise) -> Result<(), Violation> {
    let recorded: BTreeSet<&str> = state.failures.iter().map(|failure| failure.version.as_str()).collect();
    if let Some(version) = recorded.iter().find(|version| !promise.may_fail.contains(*version)) {
        return Err(format!("{version} has a failure record, and did not fail: {:?}", state.failures));
    }
    match promise.must_fail.iter().find(|version| !recorded.contains(*version)) {
        Some(version) => Err(format!("the failure record of {version} is gone")),
        None => Ok(()),
    }
}

/// An ESP that can only be looked at.
#[derive(Debug)]
struct Esp {
    disk: Sectors,
    fat: Fat,
}

impl Volume for Esp {
    fn list(&self, dir: &str) -> io::Result<Vec<Item>> {
        let items = self.fat.list(dir).map_err(io::Error::other)?;
        let item = |item: abide_qemu::fat::Item| Item {
            len: if item.is_dir { 0 } else { item.length },
            name: item.name,
            is_dir: item.is_dir,
            read_only: item.read_only,
        };
        Ok(items.into_iter().map(item).collect())
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        let item = self.fat.find(path).map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
        let sectors = self.fat.sectors(&item).map_err(io::Error::other)?;
        Ok(Box::new(self.disk.reader(sectors, item.length)))
    }

    fn create_dir(&self, _: &str) -> io::Result<()> {
        read_only()
    }

    fn write(&self, _: &str, _: &mut dyn Read) -> io::Result<u64> {
        read_only()
    }

    fn overwrite(&self, _: &str, _: u64, _: &[u8]) -> io::Result<()> {
        read_only()
    }

    fn sync_file(&self, _: &str) -> io::Result<()> {
        read_only()
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        read_only()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        read_only()
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        read_only()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        read_only()
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

/// The ESP of a disk as a file of its own, for other readers.
pub fn extract_esp(disk: &Sectors, to: &std::path::Path) {
    use std::os::unix::fs::FileExt;
    let table = table::read(disk).unwrap();
    let esp = table.partitions.iter().find(|slot| slot.start == ESP_START).unwrap();
    let file = std::fs::File::create(to).unwrap();
    file.set_len(esp.count * SECTOR as u64).unwrap();
    for sector in (0..esp.count).filter(|sector| disk.number(ESP_START + sector) != 0) {
        file.write_all_at(&disk.content(ESP_START + sector), sector * SECTOR as u64).unwrap();
    }
}
