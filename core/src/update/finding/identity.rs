//! Which system runs: its entry and its slot.

use crate::boot::Entry;
use crate::boot::model::entry::EntryKind;
use crate::disk::{RootArg, SlotName};

use super::contradiction::{Contradiction, Kind};
use super::witnesses::Witnesses;
use crate::update::kept::is_kept;
use crate::update::renames::{best, find};

/// The system that runs, as far as the witnesses agree on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The entry that it was started from.
    pub entry: Option<&'a Entry>,
    /// Its slot, where the slots are known.
    pub slot: Option<SlotName>,
    /// Every slot that, according to any witness, is running: nothing may be written to these.
    pub named: Vec<SlotName>,
    /// Why it is not certain.
    pub doubt: Option<Contradiction>,
}

impl<'a> Identity<'a> {
    /// Compares the witnesses.
    #[must_use]
    pub fn of(witnesses: &Witnesses<'a>) -> Self {
        let (entry, doubt) = match entry(witnesses) {
            Ok(entry) => (entry.map(|entry| main_profile(witnesses, entry)), None),
            Err(doubt) => (None, Some(doubt)),
        };
        let kernel = witnesses.kernel.and_then(|root| witnesses.slot_of(root));
        let of_entry = entry.and_then(|entry| witnesses.slot_of_entry(entry));
        let by_command_line = if witnesses.kernel.is_some() { kernel } else { of_entry };
        let doubt = same_uuid(witnesses)
            .or(doubt)
            .or_else(|| mounted_elsewhere(witnesses.mounted, by_command_line))
            .or_else(|| entry.and_then(|entry| other_version(witnesses, entry, by_command_line)));
        Self {
            entry,
            slot: witnesses.mounted.or(by_command_line),
            named: named(witnesses, by_command_line),
            doubt,
        }
    }

    /// Whether the system was started from the entry with this id.
    #[must_use]
    pub fn is_of(&self, id: &str) -> bool {
        self.doubt.is_none() && self.entry.is_some_and(|entry| entry.id() == id)
    }
}

/// The slots that any witness names, the loader's possibly stale variable included.
fn named(witnesses: &Witnesses<'_>, by_command_line: Option<SlotName>) -> Vec<SlotName> {
    let selected = witnesses.selected.and_then(|id| find(witnesses.entries, id));
    let by_loader = selected
        .filter(|_| witnesses.kexec != Some(true))
        .and_then(Witnesses::root_of)
        .and_then(|root| witnesses.slot_of(&root));
    let all = [witnesses.mounted, by_command_line, by_loader];
    SlotName::ALL.into_iter().filter(|slot| all.contains(&Some(*slot))).collect()
}

/// The entry that the kernel came from: the one that the loader names if it boots the kernel's root,
/// else the only one that boots that root.
fn entry<'a>(witnesses: &Witnesses<'a>) -> Result<Option<&'a Entry>, Contradiction> {
    let named = selected(witnesses);
    let kernel = witnesses.kernel;
    let boots_it = |entry: &&Entry| {
        let root = Witnesses::root_of(entry);
        match kernel {
            Some(kernel) => root.is_some_and(|root| witnesses.is_same_root(&root, kernel)),
            None => {
                witnesses.mounted.is_some() && root.and_then(|r| witnesses.slot_of(&r)) == witnesses.mounted
            }
        }
    };
    let of_root: Vec<&Entry> = witnesses.entries.iter().filter(boots_it).collect();
    // An entry without a root may have been given one elsewhere (an addon, SMBIOS), unless another one names it.
    let fits = |entry: &&&Entry| {
        kernel.is_none() || boots_it(entry) || Witnesses::root_of(entry).is_none() && of_root.is_empty()
    };
    // Of two names the loader says which it counted.
    let is_counted = |entry: &&&Entry| witnesses.counted == Some(entry.path().as_str());
    if let Some(entry) = named
        .iter()
        .filter(fits)
        .find(is_counted)
        .copied()
        .or_else(|| best(named.iter().filter(fits).copied()))
    {
        return Ok(Some(entry));
    }
    if let Some(id) = witnesses.selected.filter(|_| witnesses.kexec != Some(true))
        && !(named.is_empty() && of_root.is_empty() && kernel.is_some())
    {
        let what = if named.is_empty() { "which is not on the ESP" } else { "which boots another root" };
        let kernel = kernel.map_or_else(|| "no root".to_owned(), ToString::to_string);
        return Err(Contradiction::new(
            Kind::LoaderElsewhere,
            format!(
                "the kernel command line has {kernel}, but the boot loader reports that it started {id}, {what}"
            ),
        ));
    }
    choose(witnesses, &of_root)
}

/// The first profile of the UKI that `entry` is a profile of: all of them are one file and one system.
fn main_profile<'a>(witnesses: &Witnesses<'a>, entry: &'a Entry) -> &'a Entry {
    let is_main = |other: &&Entry| {
        other.profile == 0 && other.partition == entry.partition && other.path() == entry.path()
    };
    witnesses.entries.iter().find(is_main).unwrap_or(entry)
}

/// The names of the entry that the loader says it started. None counts after a kexec.
fn selected<'a>(witnesses: &Witnesses<'a>) -> Vec<&'a Entry> {
    let id = witnesses.selected.filter(|_| witnesses.kexec != Some(true));
    witnesses.entries.iter().filter(|e| id == Some(e.id().as_str())).collect()
}

/// Of the entries that boot the running root: the only one, else the one that the state knows, else
/// any if all are good.
fn choose<'a>(witnesses: &Witnesses<'a>, of_root: &[&'a Entry]) -> Result<Option<&'a Entry>, Contradiction> {
    let Some(first) = of_root.first() else { return Ok(None) };
    let id = first.id();
    if of_root.iter().all(|e| e.id() == id) {
        return Ok(best(of_root.iter().copied()));
    }
    let is_good = |e: &&&Entry| e.name.counter().is_none() || is_kept(witnesses.state, e);
    if of_root.iter().all(|e| is_good(&e)) {
        let known = of_root.iter().find(|e| is_kept(witnesses.state, e));
        return Ok(Some(known.unwrap_or(first)));
    }
    let paths: Vec<String> = of_root.iter().map(|e| e.path()).collect();
    let seen = format!("{} all boot the running root", paths.join(" and "));
    Err(Contradiction::new(Kind::SeveralEntries, seen))
}

/// Both slots hold what `boot_uuid=` names: which of them the next boot of this entry finds is undefined.
fn same_uuid(witnesses: &Witnesses<'_>) -> Option<Contradiction> {
    let (root, slots) = (witnesses.kernel?, witnesses.slots?);
    (matches!(root, RootArg::BootUuid(_)) && slots.a.is(root) && slots.b.is(root)).then(|| {
        let (a, b) = (&slots.a.node, &slots.b.node);
        Contradiction::new(
            Kind::SameUuid,
            format!(
                "the running system was started with {root}, and both slots ({a} and {b}) have that UUID"
            ),
        )
    })
}

fn mounted_elsewhere(mounted: Option<SlotName>, started: Option<SlotName>) -> Option<Contradiction> {
    let (mounted, started) = (mounted?, started?);
    (mounted != started).then(|| {
        Contradiction::new(
            Kind::MountedElsewhere,
            format!("the root is mounted from slot {mounted}, but the kernel was started for slot {started}"),
        )
    })
}

/// The version that runs matters on a trial, and where neither the mount nor the command line tells which
/// slot it is.
fn other_version(
    witnesses: &Witnesses<'_>,
    entry: &Entry,
    started: Option<SlotName>,
) -> Option<Contradiction> {
    // The version of a Type #1 entry is often its kernel's.
    let (runs, meant) =
        (witnesses.version?, entry.version.as_deref().filter(|_| entry.kind == EntryKind::Uki)?);
    let id = entry.id();
    let update = witnesses.state.update.as_ref();
    let is_trial = update.is_some_and(|u| u.entry == id && u.is_open());
    let is_told = witnesses.mounted.is_some() && (started.is_some() || witnesses.slots.is_none());
    (runs != meant && (is_trial || witnesses.kernel.is_none() || !is_told)).then(|| {
        Contradiction::new(
            Kind::OtherVersion,
            format!("the entry {id} has version {meant}, but the running system has version {runs}"),
        )
    })
}
