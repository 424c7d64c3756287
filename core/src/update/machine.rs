//! Everything that decisions are made from, read once; and the effects that carry them out.

use log::debug;

use crate::boot::esp::entries;
use crate::boot::esp::safe_rename;
use crate::boot::model::choice::{Settings, choose};
use crate::boot::model::entry::UKI_DIR;
use crate::boot::model::name::{EntryName, fold_id};
use crate::boot::{Access, BootDirs, BootPartition, EfiVars, Entry, LoaderVars, Quirks};
use crate::config::SlotLabels;
use crate::disk::{RootArg, SlotName, Slots};
use crate::error::{Error, OrError, Result};
use crate::root::Root;
use crate::state::boot_note::boot_id;
use crate::state::{BootKind, BootNote, Stage, State, Store, Update};

use crate::update::clock;
use crate::update::overrides::Override;
use crate::update::reconcile::{Evidence, Finding};
use crate::update::renames::find;
use crate::update::step::{Effects, STAGED_UKI, Step, entries_after, perform_all};

const CMDLINE: &str = "/proc/cmdline";

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
    /// The kernel's command line of this boot.
    pub cmdline: String,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// What the initramfs stage found, if it ran.
    pub note: Option<BootNote>,
    /// The slots; none where the disk does not show them.
    pub slots: Option<Slots>,
    /// When it was surveyed, for records.
    pub now: String,
    /// What a kernel that panicked in a trial boot left behind; for whoever has looked for it.
    pub panic: Option<String>,
    needs_sweep: bool,
    store: Store,
    efi: EfiVars,
}

/// What a machine is surveyed from. The volumes may be those of a simulated disk.
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
    /// The time, for records.
    pub now: String,
}

impl Machine {
    /// Reads everything. Slots that cannot be found are not an error here, only
    /// where they are needed.
    ///
    /// # Errors
    /// [`Error::Boot`] if the ESP cannot be found or read.
    pub fn survey(root: &Root, labels: Option<&SlotLabels>, access: Access) -> Result<Self> {
        let mut machine = Self::survey_boot(root, access)?;
        let labels = labels.map(|s| (s.a.as_str(), s.b.as_str()));
        machine.slots = match Slots::find(root, labels) {
            Ok(slots) => Some(slots),
            Err(e) => {
                debug!("{e}");
                None
            }
        };
        Ok(machine)
    }

    /// Reads everything to change it, and brings in line what was left half done. The caller holds the lock.
    ///
    /// # Errors
    /// As [`Machine::survey`], and [`Error::Boot`] if the ESP cannot be changed.
    pub fn open_to_change(root: &Root, labels: Option<&SlotLabels>) -> Result<Self> {
        let mut machine = Self::survey(root, labels, Access::Write)?;
        let finding = machine.reconcile();
        perform_all(&mut machine, &finding.steps)?;
        Ok(machine)
    }

    /// Reads what the initramfs has: everything but the slots.
    ///
    /// # Errors
    /// [`Error::Boot`] if the ESP cannot be found or read.
    pub fn survey_boot(root: &Root, access: Access) -> Result<Self> {
        let vars = LoaderVars::read(&EfiVars::new(root));
        let sources = Sources {
            dirs: BootDirs::find(root, &vars, access)?,
            vars,
            cmdline: std::fs::read_to_string(root.path(CMDLINE)).unwrap_or_default(),
            boot_id: boot_id(root),
            note: BootNote::read(root),
            slots: None,
            now: clock::now(),
        };
        Self::survey_sources(root, sources)
    }

    /// Reads the entries, the loader's settings and the state from `sources`.
    ///
    /// # Errors
    /// [`Error::Boot`] if the ESP cannot be read.
    pub fn survey_sources(root: &Root, sources: Sources) -> Result<Self> {
        let Sources { dirs, vars, cmdline, boot_id, note, slots, now } = sources;
        let quirks = vars.quirks();
        Ok(Self {
            root: root.clone(),
            entries: dirs.entries(&quirks)?,
            settings: vars.settings(entries::loader_conf(&dirs, quirks.single_quotes)?),
            quirks,
            vars,
            cmdline,
            boot_id,
            note,
            slots,
            now,
            panic: None,
            needs_sweep: dirs.needs_sweep()?,
            store: Store::open(dirs.esp.as_ref()),
            dirs,
            efi: EfiVars::new(root),
        })
    }

    /// What is remembered on the ESP.
    #[must_use]
    pub fn state(&self) -> State {
        self.store.state()
    }

    /// The EFI variables.
    #[must_use]
    pub fn efi(&self) -> &EfiVars {
        &self.efi
    }

    /// What this boot is and what is left to do, from what is on the disk.
    #[must_use]
    pub fn reconcile(&self) -> Finding {
        let (state, root, selected) = (self.state(), RootArg::parse(&self.cmdline), self.selected());
        let evidence = Evidence {
            state: &state,
            entries: &self.entries,
            root: root.as_ref(),
            selected: selected.as_deref(),
            boot_id: &self.boot_id,
            now: &self.now,
            panic: self.panic.as_deref(),
        };
        let mut finding = evidence.reconcile();
        if finding.refuse.is_some() {
            self.do_not_come_back(&mut finding);
        }
        if self.needs_sweep {
            finding.steps.insert(0, Step::Sweep);
        }
        finding
    }

    /// A boot that must not go on ends in another one, which must not be the same again: what pins
    /// this entry in a variable is cleared. Where something pins it that is not Abide's to change, the
    /// boot goes on, since a machine that is up can be helped and one that reboots for ever cannot.
    fn do_not_come_back(&self, finding: &mut Finding) {
        let next = |settings: &Settings| {
            choose(&entries_after(&self.entries, &finding.steps), settings, &self.quirks)
        };
        let cleared = self.settings_for_trial();
        let again = next(&cleared).filter(|c| c.because.is_pinned() && Some(c.entry.id()) == self.selected());
        if let Some(choice) = again {
            let why = finding.refuse.take().unwrap_or_default();
            finding.note.kind = BootKind::Unknown;
            finding.note.because =
                format!("{why}; it goes on all the same, because it would boot again: {}", choice.because);
            return;
        }
        finding.steps.extend(self.pins_to_clear());
    }

    /// Whether this boot came from the slot of `update`.
    #[must_use]
    pub fn runs(&self, update: &Update) -> bool {
        let root = RootArg::parse(&self.cmdline);
        let other = self.selected().is_some_and(|id| update.previous.as_ref().is_some_and(|p| p.entry == id));
        root.is_some() && root == RootArg::parse(&update.root) && !other
    }

    /// Id of the entry that the loader says it booted.
    #[must_use]
    pub fn selected(&self) -> Option<String> {
        self.vars.selected.as_deref().map(fold_id)
    }

    /// The entry that the loader booted: the one that it names if that boots this root,
    /// else the only one that boots this root.
    #[must_use]
    pub fn booted_entry(&self) -> Option<&Entry> {
        let root = RootArg::parse(&self.cmdline);
        let same_root = |e: &&Entry| root.is_some() && e.options.as_deref().and_then(RootArg::parse) == root;
        let selected = self.selected();
        let mut named: Vec<&Entry> = self.entries.iter().filter(|e| Some(e.id()) == selected).collect();
        // Of two with one id the loader says which it counted.
        named.sort_by_key(|e| Some(e.path()) != self.vars.boot_count_path);
        if let Some(entry) = named.iter().find(|e| same_root(e) || e.options.is_none()) {
            return Some(entry);
        }
        let mut of_root = self.entries.iter().filter(same_root);
        of_root.next().filter(|_| of_root.next().is_none())
    }

    /// The slot that runs.
    ///
    /// # Errors
    /// [`Error::Failed`] if there are no slots or the running one cannot be told.
    pub fn running_slot(&self) -> Result<SlotName> {
        let slots = self.slots()?;
        if let Some(slot) = slots.mounted_at(&self.root, "/")?.or_else(|| slots.of_cmdline(&self.cmdline)) {
            return Ok(slot);
        }
        let by_entry = self.selected().and_then(|id| find(&self.entries, &id));
        by_entry.and_then(|e| slots.of_cmdline(e.options.as_deref()?)).ok_or_else(|| {
            Error::Failed(
                "cannot tell which slot is running: the kernel's root= names neither of them".into(),
            )
        })
    }

    /// Both slots.
    ///
    /// # Errors
    /// [`Error::Failed`] if there are no two.
    pub fn slots(&self) -> Result<&Slots> {
        self.slots.as_ref().ok_or_else(|| {
            Error::Failed(
                "there are no two slots here; label the root partitions rootfs_a and rootfs_b, \
                 or name them under [slots] in the configuration"
                    .into(),
            )
        })
    }

    /// The entry that this system was booted from.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is not among the entries.
    pub fn running_entry(&self) -> Result<Entry> {
        let root = RootArg::parse(&self.cmdline);
        let same_root = |e: &&Entry| root.is_some() && e.options.as_deref().and_then(RootArg::parse) == root;
        if let Some(entry) = self.selected().and_then(|id| find(&self.entries, &id)).filter(same_root) {
            return Ok(entry.clone());
        }
        let slot = self.running_slot()?;
        self.entry_of_slot(slot).ok_or_else(|| {
            Error::Refused(format!(
                "no boot entry on the ESP boots the running slot {slot}; there would be nothing to fall back to"
            ))
        })
    }

    /// The entry that boots a slot: a good one first, then the newest.
    #[must_use]
    pub fn entry_of_slot(&self, slot: SlotName) -> Option<Entry> {
        let slots = self.slots.as_ref()?;
        let of_slot = |e: &Entry| e.options.as_deref().and_then(|o| slots.of_cmdline(o)) == Some(slot);
        let ordered = crate::boot::model::order::order(&self.entries, &self.quirks);
        let mut found = ordered.into_iter().filter(of_slot);
        let first = found.next()?;
        Some(if first.name.counter().is_none() {
            first
        } else {
            found.find(|e| e.name.counter().is_none()).unwrap_or(first)
        })
    }

    /// Refuses while the running system is itself on trial, or was given up.
    ///
    /// # Errors
    /// [`Error::Refused`] with EVE's words for it.
    pub fn refuse_on_trial(&self) -> Result<()> {
        let finding = self.reconcile();
        let update = self.state().update;
        // An update for the other slot can only have come after this boot was committed.
        let uncommitted = |slot: Option<SlotName>| {
            update.is_none_or(|u| u.stage != Stage::Committed && slot.is_none_or(|slot| slot == u.slot))
        };
        let noted = self.note.as_ref().is_some_and(|n| n.kind == BootKind::Trial && uncommitted(n.slot));
        if finding.note.kind == BootKind::Trial || noted {
            return Err(Error::Refused(
                "the running system is on trial: waiting for it to finish testing before updating again"
                    .into(),
            ));
        }
        if finding.note.kind == BootKind::Unknown {
            return Err(Error::Refused(format!(
                "the running system is not known to be good ({}); reboot into the one that is",
                finding.note.because
            )));
        }
        Ok(())
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

    fn reread(&mut self) -> Result<()> {
        self.entries = self.dirs.entries(&self.quirks)?;
        Ok(())
    }

    fn entry_at(&self, partition: BootPartition, path: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.partition == partition && e.path() == path)
    }
}

impl Effects for Machine {
    fn perform(&mut self, step: &Step) -> Result<()> {
        debug!("{step:?}");
        match step {
            Step::Save(state) => self.store.save(self.dirs.esp.as_ref(), state),
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
            Step::InstallStaged { to } => {
                let path = format!("{UKI_DIR}/{to}");
                self.dirs.esp.create_dir(UKI_DIR).or_boot(|| "EFI/Linux: cannot create")?;
                safe_rename::rename(self.dirs.esp.as_ref(), STAGED_UKI, &path)?;
                self.reread()
            }
            Step::ClearOverride(variable) => {
                self.efi.delete_loader(variable.name()).map_err(|e| {
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
