//! Everything that decisions are made from, read once; and the effects that carry them out.

use log::{debug, warn};

use crate::boot::esp::entries;
use crate::boot::esp::safe_rename;
use crate::boot::model::choice::{Settings, choose};
use crate::boot::model::entry::{EntryKind, Starts, UKI_DIR};
use crate::boot::model::name::{EntryName, fold_id};
use crate::boot::{Access, BootDirs, BootPartition, EfiVars, Entry, LoaderVars, Quirks};
use crate::disk::{RootArg, SlotName, Slots};
use crate::error::{Error, OrError, Result};
use crate::root::Root;
use crate::state::boot_note::boot_id;
use crate::state::history::{Event, History};
use crate::state::{BootNote, State, Store, Update};

use crate::update::clock;
use crate::update::finding::{Contradiction, Identity, Kind, Witnesses};
use crate::update::guard::Guard;
use crate::update::kernel;
use crate::update::milestones;
use crate::update::overrides::Override;
use crate::update::reconcile::{Course, Evidence};
use crate::update::renames::find;
use crate::update::step::{Effects, STAGED_UKI, Step, entries_after};

/// The machine as it was found, kept up to date with what is done to it.
#[derive(Debug)]
pub struct Machine {
    /// The tree it lives in.
    pub root: Root,
    /// ESP and XBOOTLDR.
    pub dirs: BootDirs,
    /// Every boot entry on them.
    pub entries: Vec<Entry>,
    /// The loader's EFI variables.
    pub vars: LoaderVars,
    /// What steers the loader's choice.
    pub settings: Settings,
    /// The loader's version, as far as it matters.
    pub quirks: Quirks,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// What the initramfs stage found, if it ran.
    pub note: Option<BootNote>,
    /// The slots; none where the disk does not show them.
    pub slots: Option<Slots>,
    /// The error of the search for the slots, if there was one.
    pub no_slots: Option<String>,
    /// The slot that the root is mounted from, where the mount tells.
    pub mounted: Option<SlotName>,
    /// Whether another kernel has started this one, where that is known.
    pub kexec: Option<bool>,
    /// The version that the running system states of itself.
    pub version: Option<String>,
    /// When it was read, for records.
    pub now: String,
    /// What a kernel that panicked in a trial boot left behind; for whoever has looked for it.
    pub panic: Option<String>,
    kernel: Option<RootArg>,
    selected: Option<String>,
    needs_sweep: bool,
    store: Store,
    /// Read when something is added to it.
    history: Option<History>,
}

/// What a machine is read from. The volumes may be those of a simulated disk.
#[derive(Debug)]
pub struct Sources {
    /// ESP and XBOOTLDR.
    pub dirs: BootDirs,
    /// The loader's EFI variables.
    pub vars: LoaderVars,
    /// The kernel's command line of this boot.
    pub cmdline: String,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// What the initramfs stage found, if it ran.
    pub note: Option<BootNote>,
    /// The slots; none where the disk does not show them.
    pub slots: Option<Slots>,
    /// The slot that the root is mounted from, where the mount tells.
    pub mounted: Option<SlotName>,
    /// Whether another kernel has started this one, where that is known.
    pub kexec: Option<bool>,
    /// The version that the running system states of itself.
    pub version: Option<String>,
    /// The time, for records.
    pub now: String,
}

impl Machine {
    /// Reads what the initramfs has: everything but the slots.
    ///
    /// # Errors
    /// [`Error::Boot`] if the ESP cannot be found or read; [`Error::Refused`] where it is to be written, and the
    /// state on it is that of a newer Abide.
    pub fn read_boot(root: &Root, access: Access) -> Result<Self> {
        let vars = LoaderVars::read(&EfiVars::new(root));
        let cmdline = root.kernel_cmdline();
        // The kernel's root may be mounted before or after the ESP appears. What it holds is verified once it is there.
        let is_verified_later = root.is_initramfs() && RootArg::parse(&cmdline).is_some();
        let version = if is_verified_later { None } else { kernel::running_version(root) };
        let sources = Sources {
            dirs: BootDirs::find(root, &vars, access)?,
            vars,
            cmdline,
            boot_id: boot_id(root),
            note: BootNote::read(root),
            slots: None,
            mounted: None,
            kexec: kernel::started_by_kexec(root),
            version,
            now: clock::now(),
        };
        let machine = Self::read_sources(root, sources)?;
        match machine.store.foreign() {
            Some(why) if access == Access::Write => {
                Err(Error::Refused(Contradiction::new(Kind::ForeignState, why).to_string()))
            }
            _ => Ok(machine),
        }
    }

    /// Reads the entries, the loader's settings and the state from `sources`.
    ///
    /// # Errors
    /// [`Error::Boot`] if the ESP cannot be read.
    pub fn read_sources(root: &Root, sources: Sources) -> Result<Self> {
        let Sources { dirs, vars, cmdline, boot_id, note, slots, mounted, kexec, version, now } = sources;
        let quirks = vars.quirks();
        Ok(Self {
            root: root.clone(),
            entries: dirs.entries(&quirks)?,
            settings: vars.settings(entries::loader_conf(&dirs, quirks.single_quotes)?),
            quirks,
            kernel: RootArg::parse(&cmdline),
            selected: vars.selected.as_deref().map(fold_id),
            vars,
            // A note of another boot does not count.
            note: note.filter(|note| note.boot_id == boot_id),
            boot_id,
            slots,
            no_slots: None,
            mounted,
            kexec,
            version,
            now,
            panic: None,
            needs_sweep: dirs.needs_sweep()?,
            history: None,
            store: Store::open(dirs.esp.as_ref()),
            dirs,
        })
    }

    /// What is remembered on the ESP.
    #[must_use]
    pub fn state(&self) -> State {
        self.store.state()
    }

    /// All that says something about this boot.
    #[must_use]
    pub fn witnesses(&self) -> Witnesses<'_> {
        Witnesses {
            kernel: self.kernel.as_ref(),
            mounted: self.mounted,
            selected: self.selected.as_deref(),
            counted: self.vars.boot_count_path.as_deref().filter(|_| self.kexec != Some(true)),
            kexec: self.kexec,
            version: self.version.as_deref(),
            entries: &self.entries,
            slots: self.slots.as_ref(),
            state: self.store.current(),
            foreign: self.store.foreign(),
            note: self.note.as_ref(),
            boot_id: &self.boot_id,
        }
    }

    /// What this boot is and what is left to do about it.
    #[must_use]
    pub fn reconcile(&self) -> Course {
        let evidence = Evidence { witnesses: self.witnesses(), now: &self.now, panic: self.panic.as_deref() };
        let mut course = evidence.reconcile();
        if course.refuse.is_some() {
            self.do_not_come_back(&mut course);
        }
        if self.needs_sweep && self.store.foreign().is_none() {
            course.steps.insert(0, Step::Sweep);
        }
        course
    }

    /// A boot that must not go on ends in another one, which must not be the same again: what pins
    /// this entry in a variable is cleared. Where the loader would boot it again all the same, the
    /// boot goes on, since a machine that is up can be repaired and one that reboots for ever cannot.
    fn do_not_come_back(&self, course: &mut Course) {
        match self.would_lead_elsewhere(&course.steps) {
            Ok(()) => course.steps.extend(self.pins_to_clear()),
            Err(found) => {
                let why = course.refuse.take().unwrap_or_default();
                course.stay_up(Contradiction::new(found.kind, format!("{why}; {}", found.seen)));
            }
        }
    }

    /// Asks the model of the loader whether a reboot now leads to another boot than this one: another
    /// entry, or the next counted try of this one.
    ///
    /// # Errors
    /// The contradiction, where it does not: the machine had better stay up.
    pub fn reboot_leads_elsewhere(&self) -> std::result::Result<(), Contradiction> {
        self.leads_elsewhere(&self.entries, &self.settings)
    }

    /// As [`Machine::reboot_leads_elsewhere`], once `steps` are done and what overrides the counters is cleared.
    ///
    /// # Errors
    /// The contradiction, where it does not.
    pub fn would_lead_elsewhere(&self, steps: &[Step]) -> std::result::Result<(), Contradiction> {
        self.leads_elsewhere(&entries_after(&self.entries, steps), &self.settings_for_trial())
    }

    fn leads_elsewhere(
        &self,
        entries: &[Entry],
        settings: &Settings,
    ) -> std::result::Result<(), Contradiction> {
        let seen = match choose(entries, settings, &self.quirks) {
            None => "the boot loader would find no entry at all".to_owned(),
            Some(next) if !self.is_this_system(&next.entry) && is_system(&next.entry) => return Ok(()),
            Some(next) => {
                let is_counted = next.entry.name.counter().is_some_and(|counter| counter.left > 0);
                let is_same = self.booted_entry().is_some_and(|entry| entry.id() == next.entry.id());
                if is_same && is_counted && self.vars.boot_counting() != Some(false) {
                    return Ok(());
                }
                let what =
                    if is_system(&next.entry) { " again" } else { ", which is not a system to fall back to" };
                format!("the boot loader would boot {}{what}: {}", next.entry.id(), next.because)
            }
        };
        Err(Contradiction::new(Kind::NowhereElse, seen))
    }

    /// Whether an entry boots the root that runs, under whatever name. A file system's name or a device node may
    /// mean one slot today and the other one tomorrow; the UUID in `boot_uuid=` belongs to what is booted.
    #[must_use]
    pub fn is_this_system(&self, entry: &Entry) -> bool {
        let witnesses = self.witnesses();
        let is_exact = |root: &RootArg| {
            matches!(root, RootArg::PartUuid(_) | RootArg::RootHash(_) | RootArg::BootUuid(_))
        };
        let root = Witnesses::root_of(entry).filter(is_exact);
        let is_root = |kernel| root.as_ref().is_some_and(|root| witnesses.is_same_root(root, kernel));
        witnesses.kernel.is_some_and(is_root)
            || self.booted_entry().is_some_and(|booted| booted.name.id() == entry.name.id())
    }

    /// Whether this boot came from the entry of `update`.
    #[must_use]
    pub fn runs(&self, update: &Update) -> bool {
        let witnesses = self.witnesses();
        let is_root = RootArg::parse(&update.root)
            .is_some_and(|root| witnesses.kernel.is_some_and(|kernel| witnesses.is_same_root(kernel, &root)));
        is_root && Identity::of(&witnesses).is_of(&update.entry)
    }

    /// Whether this boot is a try of `update`: it runs, or was noted as one when it began and has
    /// not been blessed since. What was noted must be able to end, whatever contradicts it.
    #[must_use]
    pub fn is_try_of(&self, update: &Update) -> bool {
        let was_noted = || {
            let is_counted = find(&self.entries, &update.entry).is_some_and(|e| e.name.counter().is_some());
            is_counted && update.boots.iter().any(|boot| boot.boot_id == self.boot_id)
        };
        // A kexec is no try.
        let was_started = self.runs(update) && self.kexec != Some(true);
        update.is_open() && (was_started || was_noted())
    }

    /// The entry that the running system was started from, where the witnesses agree on it.
    #[must_use]
    pub fn booted_entry(&self) -> Option<&Entry> {
        Identity::of(&self.witnesses()).entry
    }

    /// The loader's settings once the variables that Abide clears are gone.
    #[must_use]
    pub fn settings_for_trial(&self) -> Settings {
        Override::all_cleared(&self.settings)
    }

    /// The steps that delete what pins an entry for more than one boot.
    #[must_use]
    pub fn pins_to_clear(&self) -> Vec<Step> {
        Override::pins_in(&self.settings).into_iter().map(Step::ClearOverride).collect()
    }

    /// The steps that delete everything that overrides the counters.
    #[must_use]
    pub fn overrides_to_clear(&self) -> Vec<Step> {
        Override::set_in(&self.settings).into_iter().map(Step::ClearOverride).collect()
    }

    /// Adds an event to the history on the ESP. An error is only logged.
    pub fn tell(&mut self, event: Event) {
        let esp = self.dirs.esp.as_ref();
        let history = self.history.get_or_insert_with(|| History::read(esp));
        if let Err(e) = history.add(esp, event) {
            warn!("{e}");
        }
    }

    fn reread(&mut self) -> Result<()> {
        self.entries = self.dirs.entries(&self.quirks)?;
        Ok(())
    }

    fn entry_at(&self, partition: BootPartition, path: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.partition == partition && e.path() == path)
    }
}

/// Whether an entry boots a system, and not a tool such as memtest.
fn is_system(entry: &Entry) -> bool {
    entry.kind != EntryKind::Conf(Starts::Efi) || Witnesses::root_of(entry).is_some()
}

impl Effects for Machine {
    fn perform(&mut self, step: &Step) -> Result<()> {
        debug!("{step:?}");
        Guard::new(&self.witnesses()).permit(step)?;
        match step {
            Step::Save(state) => {
                if self.store.make_room(self.dirs.esp.as_ref()).is_ok() {
                    for event in milestones::between(self.store.current(), state, &self.now) {
                        self.tell(event);
                    }
                }
                self.store.save(self.dirs.esp.as_ref(), state)
            }
            Step::Rename { partition, from, to } => {
                let name = EntryName::parse(to)
                    .ok_or_else(|| Error::Boot(format!("{to} cannot be the name of a boot entry")))?;
                if let Some(entry) = self.entry_at(*partition, from).cloned() {
                    self.dirs.rename(&entry, &name)?;
                }
                self.reread()
            }
            Step::Sweep => {
                self.dirs.sweep()?;
                self.needs_sweep = false;
                Ok(())
            }
            Step::Remove { partition, file } => {
                if let Some(entry) = self.entry_at(*partition, file).cloned() {
                    self.dirs.remove(&entry)?;
                }
                self.reread()
            }
            Step::RemoveAddons { id } => self.dirs.remove_addons(id),
            Step::InstallStaged { to } => {
                let path = format!("{UKI_DIR}/{to}");
                self.dirs.esp.create_dir(UKI_DIR).or_boot(|| "EFI/Linux: cannot create")?;
                safe_rename::rename(self.dirs.esp.as_ref(), STAGED_UKI, &path)?;
                self.reread()
            }
            Step::ClearOverride(variable) => {
                EfiVars::new(&self.root).delete_loader(variable.name()).map_err(|e| {
                    Error::Refused(format!(
                        "the EFI variable {variable} pins another boot entry and cannot be cleared ({e}); \
                         clear it with bootctl or in the firmware"
                    ))
                })?;
                variable.clear(&mut self.settings);
                Ok(())
            }
        }
    }
}
