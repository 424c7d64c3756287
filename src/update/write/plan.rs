//! Whether an image fits this machine, and what to change before it is written. Pure.

use crate::boot::installed_version::installed_version;
use crate::boot::kernel_args::reboots_on_panic;
use crate::boot::names::{is_same_image, stem, unnameable};
use crate::config::OnMissing;
use crate::disk::slot_layout::is_mapped;
use crate::image::trust::Proof;
use crate::update::floor::Floor;
use crate::update::refusal::refuse_failed;
use crate::update::switch::{entry_id, free_stem, is_taken};
use crate::update::write::discovery;
use crate::update::write::esp_space::{EspSpace, SPARE};
use crate::update::write::mapped_root::{self, MappedRoot};
use crate::update::write::named_image::NamedImage;
use crate::update::write::open_image::ImageSummary;
use crate::update::write::partitions;
use crate::update::write::partitions::PartitionPlan;
use abide_core::arch::{Arch, NATIVE};
use abide_core::boot::Entry;
use abide_core::boot::model::osrel::OsRelease;
use abide_core::boot::model::uki::Uki;
use abide_core::disk::{RootArg, SlotName, Slots};
use abide_core::error::{Error, Result};
use abide_core::state::{Reboots, Stage, State, Update};
use abide_core::update::renames::{find, rename};
use abide_core::update::step::Step;

/// Everything that the plan depends on.
#[derive(Debug)]
pub struct PlanInput<'a> {
    /// The image.
    pub image: ImageSummary,
    /// Digest of the published image, if it is known beforehand.
    pub digest: Option<&'a str>,
    /// What its file name says it is.
    pub named: Option<&'a NamedImage>,
    /// What vouches for it.
    pub proof: &'a Proof,
    /// How old it may be.
    pub floor: Floor<'a>,
    /// What is remembered.
    pub state: &'a State,
    /// Every boot entry.
    pub entries: &'a [Entry],
    /// Both slots.
    pub slots: &'a Slots,
    /// The slot that runs.
    pub running: SlotName,
    /// The entry of the running system.
    pub running_entry: &'a Entry,
    /// The space on the ESP.
    pub space: EspSpace,
    /// The only accepted image, by `IMAGE_ID` or `ID`; `None`: any.
    pub image_id: Option<&'a str>,
    /// What to do with an image whose kernel would hang after a panic.
    pub no_panic: OnMissing,
    /// A random UUID, for partitions that must not be found while they are written.
    pub scratch: uuid::Uuid,
}

/// What to do before and after the slot is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritePlan {
    /// Makes the slot unbootable and records that in the state, in this order.
    pub clear: Vec<Step>,
    /// The update as it is remembered while it is written.
    pub update: Update,
    /// The partitions that are written.
    pub partitions: Vec<PartitionPlan>,
    /// What a root below a mapping that the initramfs makes needs beside.
    pub mapped: Option<MappedRoot>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl PlanInput<'_> {
    /// Makes the plan.
    ///
    /// # Errors
    /// [`Error::Refused`] or [`Error::Image`] if the image does not fit the machine.
    pub fn plan(&self) -> Result<WritePlan> {
        let target = self.slots.get(self.running.other());
        let uki = &self.image.uki;
        check_machine(uki, self.image.root_arch)?;
        if let Some(why) = hangs_on_panic(uki).filter(|_| self.no_panic == OnMissing::Refuse) {
            return Err(Error::Refused(format!(
                "[write] panic of the configuration forbids this image: {why}"
            )));
        }
        let (image_id, version) = identity(uki)?;
        if let Some(own) = self.image_id.filter(|own| !is_same_image(own, &image_id)) {
            return Err(Error::Refused(format!(
                "the image is '{image_id}', but this machine runs '{own}'; if that is intended, set image_id in \
                 [trust] of the configuration"
            )));
        }
        refuse_failed(self.state, Some(&version), self.digest)?;
        if let Some(named) = self.named {
            named.refuse_other(&image_id, &version)?;
        }
        self.floor.refuse_older(&version)?;
        let root = self.root_arg()?;
        let mapped = mapped_root::plan(&root, uki, self.slots, target)?;
        let label = stem(&image_id, &version);
        let ids = self.ids_to_remove(&image_id, &version)?;
        let removed = self.entries_to_remove(&ids, &root);
        let stays = |entry: &&Entry| !removed.iter().any(|gone| std::ptr::eq(*gone, *entry));
        let is_discoverable = discovery::matters(self.entries.iter().filter(stays));
        let running = self.slots.get(self.running);
        let (partitions, notes) =
            partitions::plan(&self.image, &root, target, running, &label, self.scratch, is_discoverable)?;
        self.check_space(&removed)?;

        let update = Update {
            image_id,
            version,
            digest: self.digest.map(Into::into),
            slot: target.name,
            stage: Stage::Writing,
            uki: None,
            root: root.to_string(),
            entry: String::new(),
            tries: 0,
            applied_in: String::new(),
            previous: None,
            boots: vec![],
            verdict: None,
            ended: None,
            counted: false,
            excused: false,
            root_hash: None,
            verified: Some(self.proof.to_string()),
            floor: uki.main.osrel.as_ref().and_then(|osrel| osrel.security_epoch.clone()),
            reboots: Reboots::default(),
            unversioned: uki.main.osrel.as_ref().is_some_and(OsRelease::is_unversioned),
        };
        let warnings = warnings(uki).into_iter().chain(notes).collect();
        Ok(WritePlan { clear: self.clear(&removed, &ids, &update), partitions, mapped, warnings, update })
    }

    /// The root that every profile of the UKI boots.
    fn root_arg(&self) -> Result<RootArg> {
        let uki = &self.image.uki;
        let of = |cmdline: &Option<String>| cmdline.as_deref().and_then(RootArg::parse);
        let root = of(&uki.main.cmdline).ok_or_else(|| {
            Error::Refused(
                "the image's UKI names no root on its command line; build it with root=PARTUUID=… of its \
                 root partition"
                    .into(),
            )
        })?;
        if uki.others.iter().any(|profile| of(&profile.cmdline).as_ref() != Some(&root)) {
            return Err(Error::Refused("the profiles of the image's UKI boot different roots".into()));
        }
        Ok(root)
    }

    /// The ids to remove: those that the state records for the target slot, and the one that the image will get, or an
    /// earlier one would have got; never the running one.
    fn ids_to_remove(&self, image_id: &str, version: &str) -> Result<Vec<String>> {
        let target = self.running.other();
        let new = |image_id, version| {
            let stem = free_stem(image_id, version, |stem| is_taken(stem, self.running_entry));
            stem.map(|stem| entry_id(&stem))
        };
        let mut ids = vec![new(image_id, version)?];
        ids.extend(self.state.installed(target).map(|installed| installed.entry.clone()));
        if let Some(update) = self.state.update.as_ref().filter(|u| u.slot == target) {
            ids.push(update.entry.clone());
            ids.extend(new(&update.image_id, &update.version).ok());
        }
        ids.retain(|id| !id.is_empty() && *id != self.running_entry.name.id());
        Ok(ids)
    }

    /// The entries to remove: those that boot the target slot, or would boot it with its new content, every form of those
    /// with these ids, and those that boot neither slot any more; never the running one.
    fn entries_to_remove(&self, ids: &[String], root: &RootArg) -> Vec<&Entry> {
        let target = self.running.other();
        let running = self.running_entry.id();
        let is_removed = |entry: &&Entry| {
            let id = entry.id();
            let named = entry.options.as_deref().and_then(RootArg::parse);
            let boots_target =
                named.as_ref().is_some_and(|n| n == root || self.slots.of_root(n) == Some(target));
            let is_dead = named.as_ref().is_some_and(|root| self.is_dead(root));
            id != running && (boots_target || is_dead || ids.contains(&id))
        };
        let (mut first, then): (Vec<&Entry>, Vec<&Entry>) =
            self.entries.iter().filter(is_removed).partition(|entry| entry.starts.is_some());
        // A file goes after the entries that start it.
        first.extend(then);
        first
    }

    /// Whether what `boot_uuid=` names was overwritten by another tool: neither slot holds it.
    fn is_dead(&self, root: &RootArg) -> bool {
        let is_known = self.slots.get(self.running).boot_uuid.is_some();
        let is_mapped = matches!(root, RootArg::BootUuid(_)) && is_mapped(self.slots.layout.kind);
        is_mapped && is_known && !self.slots.a.is(root) && !self.slots.b.is(root)
    }

    fn check_space(&self, removed: &[&Entry]) -> Result<()> {
        let size = |entry: &&Entry| {
            let on_esp = entry.partition == abide_core::boot::BootPartition::Esp;
            let found = self.space.ukis.iter().find(|(path, _)| on_esp && *path == entry.path());
            found.map_or(0, |(_, len)| *len)
        };
        let free = removed.iter().map(size).fold(self.space.free, u64::saturating_add);
        let needed = self.image.uki_size.saturating_add(SPARE);
        if free < needed {
            return Err(Error::Refused(format!(
                "the image's UKI needs {needed} bytes on the ESP, but even without the other slot's entry only \
                 {free} are free; remove files that are not needed from the ESP"
            )));
        }
        Ok(())
    }

    fn clear(&self, removed: &[&Entry], ids: &[String], update: &Update) -> Vec<Step> {
        // If the running entry was demoted for another system, it gets its plain name back before that
        // system's entry is removed: one of the two must always be bootable and good.
        let mut steps: Vec<Step> =
            find(self.entries, &self.running_entry.id()).and_then(keep).into_iter().collect();
        steps.extend(removed.iter().map(|e| Step::Remove { partition: e.partition, file: e.path() }));
        // After their entry, which boots with them until it has gone. The state names it until they have gone, too.
        let mut ids: Vec<String> = removed.iter().map(|e| e.name.id()).chain(ids.iter().cloned()).collect();
        ids.sort_unstable();
        ids.dedup();
        let stays = |entry: &&Entry| {
            !removed.iter().any(|r| r.partition == entry.partition && r.path() == entry.path())
        };
        ids.retain(|id| !self.entries.iter().filter(stays).any(|entry| entry.name.id() == *id));
        steps.extend(ids.into_iter().map(|id| Step::RemoveAddons { id }));
        let mut state = self.state.clone();
        state.set_installed(update.slot, None);
        state.update = Some(update.clone());
        steps.push(Step::Save(Box::new(state)));
        steps
    }
}

fn check_machine(uki: &Uki, root_arch: Option<&str>) -> Result<()> {
    let Arch { machine, name, .. } = NATIVE;
    if uki.machine != machine || root_arch.is_some_and(|arch| arch != name) {
        return Err(Error::Refused(format!(
            "the image is for another architecture (its UKI's machine type is {:#06x}, its root is for {}); \
             this machine is {name}",
            uki.machine,
            root_arch.unwrap_or("any")
        )));
    }
    if !uki.has_linux {
        return Err(Error::Image("the image's UKI has no kernel, or is truncated".into()));
    }
    Ok(())
}

/// Image id and version; together they must be the name of a boot entry.
fn identity(uki: &Uki) -> Result<(String, String)> {
    let osrel = uki.main.osrel.as_ref();
    let id = osrel.and_then(|o| o.image_id.as_deref().or(o.id.as_deref()));
    let version = osrel.and_then(installed_version);
    let (Some(id), Some(version)) = (id, version) else {
        return Err(Error::Image(
            "the os-release in the image's UKI names no version; it needs IMAGE_ID and IMAGE_VERSION".into(),
        ));
    };
    if let Some(why) = unnameable(id, version) {
        return Err(Error::Refused(why));
    }
    Ok((id.to_owned(), version.to_owned()))
}

/// What the UKI's command line lacks, if its kernel would hang after a panic.
fn hangs_on_panic(uki: &Uki) -> Option<&'static str> {
    (uki.main.cmdline.as_deref().and_then(reboots_on_panic) != Some(true)).then_some(
        "its UKI has no panic= on its command line: if the kernel panics before the initramfs starts, \
         the machine hangs instead of falling back; add panic=10",
    )
}

fn warnings(uki: &Uki) -> Vec<String> {
    let mut warnings: Vec<String> = hangs_on_panic(uki).map(str::to_owned).into_iter().collect();
    if !uki.others.is_empty() {
        warnings.push(
            "its UKI has several profiles; systemd-boot 257 may choose one other than the first".to_owned(),
        );
    }
    warnings
}

/// The step that gives the entry of a system that is kept its plain name; none if it has it.
fn keep(entry: &Entry) -> Option<Step> {
    entry.name.counter().map(|_| rename(entry, &entry.name.plain().to_string()))
}
