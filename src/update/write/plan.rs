//! Whether an image fits this machine, and what to change before it is written. Pure.

use crate::boot::kernel_args::reboots_on_panic;
use crate::config::Lacking;
use crate::update::switch::free_stem;
use crate::update::write::opened::Described;
use crate::update::write::parts;
use crate::update::write::parts::PartPlan;
use crate::update::write::stage::Room;
use abide_core::boot::Entry;
use abide_core::boot::model::name::{EntryName, Suffix};
use abide_core::boot::model::uki::Uki;
use abide_core::disk::{RootArg, SlotName, Slots};
use abide_core::error::{Error, Result};
use abide_core::state::{Stage, State, Update};
use abide_core::update::renames::{find, keep};
use abide_core::update::step::Step;

/// Bytes that must stay free on the ESP beside the UKI, for the state and for the
/// FAT itself.
pub const SPARE: u64 = 128 * 1024;

/// The PE machine type and the names that stand for this machine's architecture
/// (PE format, "Machine Types"; Discoverable Partitions Specification).
pub const NATIVE: (u16, &str) = if cfg!(target_arch = "x86_64") {
    (0x8664, "x86-64")
} else if cfg!(target_arch = "aarch64") {
    (0xaa64, "arm64")
} else if cfg!(target_arch = "riscv64") {
    (0x5064, "riscv64")
} else if cfg!(target_arch = "arm") {
    (0x01c2, "arm")
} else {
    (0x014c, "x86")
};

/// What the decision is made from.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The image.
    pub image: Described,
    /// Of the published file, where it is known beforehand.
    pub digest: Option<&'a str>,
    /// What is remembered.
    pub state: &'a State,
    /// Every boot entry.
    pub entries: &'a [Entry],
    /// Both slots.
    pub slots: &'a Slots,
    /// The slot that runs.
    pub running: SlotName,
    /// Id of the entry of the running system.
    pub running_entry: &'a str,
    /// On the ESP.
    pub room: Room,
    /// The only image that is accepted, by `IMAGE_ID` or `ID`; none: any.
    pub image_id: Option<&'a str>,
    /// What becomes of an image whose kernel would stand still when it panics.
    pub no_panic: Lacking,
    /// A random UUID, for partitions that nothing is to find while they are written.
    pub scratch: uuid::Uuid,
}

/// What is to be done before and after the slot is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Makes the slot unbootable and says so in the state, in this order.
    pub clear: Vec<Step>,
    /// The update as it is remembered while it is written.
    pub update: Update,
    /// The partitions that are written.
    pub parts: Vec<PartPlan>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Facts<'_> {
    /// Refuses, or says what to do.
    pub fn plan(&self) -> Result<Plan> {
        let target = self.slots.get(self.running.other());
        let uki = &self.image.uki;
        check_machine(uki, self.image.root_arch)?;
        if let Some(why) = stands_still(uki).filter(|_| self.no_panic == Lacking::Refuse) {
            return Err(Error::Refused(format!(
                "[write] panic of the configuration forbids the image: {why}"
            )));
        }
        let (image_id, version) = identity(uki)?;
        if let Some(own) = self.image_id.filter(|own| *own != image_id) {
            return Err(Error::Refused(format!(
                "the image is '{image_id}', but this machine runs '{own}'; if that is meant, set image_id in \
                 [trust] of the configuration"
            )));
        }
        self.state.refuse_failed(Some(&version), self.digest)?;
        let root = self.root_arg()?;
        let label = format!("{image_id}_{version}");
        let (parts, notes) =
            parts::plan(&self.image, &root, target, self.slots.get(self.running), &label, self.scratch)?;
        let doomed = self.doomed(&image_id, &version)?;
        self.check_room(&doomed)?;

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
        };
        let warnings = warnings(uki).into_iter().chain(notes).collect();
        Ok(Plan { clear: self.clear(&doomed, &update), parts, warnings, update })
    }

    /// The root that every profile of the UKI boots.
    fn root_arg(&self) -> Result<RootArg> {
        let uki = &self.image.uki;
        if let Some(node) = uki.main.cmdline.as_deref().and_then(RootArg::mapped) {
            return Err(Error::Refused(format!(
                "the image boots {node}, which encryption or a verity tree made on the device would have to \
                 provide; that is not supported: an image is written as it was published"
            )));
        }
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

    /// The entries that go: those that boot the target slot, those that the state says are its, and
    /// every form of the entry that the image will get; never the running one.
    fn doomed(&self, image_id: &str, version: &str) -> Result<Vec<&Entry>> {
        let target = self.running.other();
        let known = [
            self.state.installed(target).map(|installed| installed.entry.clone()),
            self.state.update.as_ref().filter(|u| u.slot == target).map(|u| u.entry.clone()),
        ];
        let id_of = |stem: &str| format!("{stem}.efi").to_lowercase();
        let new = id_of(&free_stem(image_id, version, |stem| id_of(stem) == self.running_entry)?);
        let is_doomed = |entry: &&Entry| {
            let id = entry.id();
            let boots_target =
                entry.options.as_deref().and_then(|o| self.slots.of_cmdline(o)) == Some(target);
            id != self.running_entry
                && (boots_target || id == new || known.iter().flatten().any(|k| *k == id))
        };
        Ok(self.entries.iter().filter(is_doomed).collect())
    }

    fn check_room(&self, doomed: &[&Entry]) -> Result<()> {
        let size = |entry: &&Entry| {
            let on_esp = entry.partition == abide_core::boot::BootPartition::Esp;
            let found = self.room.ukis.iter().find(|(path, _)| on_esp && *path == entry.path());
            found.map_or(0, |(_, len)| *len)
        };
        let free = doomed.iter().map(size).fold(self.room.free, u64::saturating_add);
        let needed = self.image.uki_size.saturating_add(SPARE);
        if free < needed {
            return Err(Error::Refused(format!(
                "the image's UKI needs {needed} bytes on the ESP, but even without the other slot's entry only \
                 {free} are free; remove what does not belong there"
            )));
        }
        Ok(())
    }

    fn clear(&self, doomed: &[&Entry], update: &Update) -> Vec<Step> {
        // Where the running entry had stepped back for another system, its name comes back before
        // that system's entry goes: one of the two must always boot, and be good.
        let mut steps: Vec<Step> =
            find(self.entries, self.running_entry).and_then(keep).into_iter().collect();
        steps.extend(doomed.iter().map(|e| Step::Remove { partition: e.partition, file: e.path() }));
        let mut state = self.state.clone();
        state.set_installed(update.slot, None);
        state.update = Some(update.clone());
        steps.push(Step::Save(Box::new(state)));
        steps
    }
}

fn check_machine(uki: &Uki, root_arch: Option<&str>) -> Result<()> {
    let (machine, name) = NATIVE;
    if uki.machine != machine || root_arch.is_some_and(|arch| arch != name) {
        return Err(Error::Refused(format!(
            "the image is for another architecture (its UKI's machine type is {:#06x}, its root is for {}); \
             this machine is {name}",
            uki.machine,
            root_arch.unwrap_or("any")
        )));
    }
    if !uki.has_linux {
        return Err(Error::Image("the image's UKI holds no kernel, or is truncated".into()));
    }
    Ok(())
}

/// Image id and version, such that they can make up a file name.
fn identity(uki: &Uki) -> Result<(String, String)> {
    let osrel = uki.main.osrel.as_ref();
    let id = osrel.and_then(|o| o.image_id.as_deref().or(o.id.as_deref()));
    let version = osrel.and_then(|o| o.image_version());
    let (Some(id), Some(version)) = (id, version) else {
        return Err(Error::Image(
            "the os-release in the image's UKI names no version; it needs IMAGE_ID and IMAGE_VERSION".into(),
        ));
    };
    let stem = format!("{id}_{version}");
    if stem.contains('+') || EntryName::new(&stem, None, Suffix::Efi).is_none() {
        return Err(Error::Refused(format!(
            "'{stem}' cannot be the name of a boot entry; IMAGE_ID and IMAGE_VERSION must hold no '+' or '/'"
        )));
    }
    Ok((id.to_owned(), version.to_owned()))
}

/// What is missing from the UKI's command line, where its kernel would stand still when it panics.
fn stands_still(uki: &Uki) -> Option<&'static str> {
    (uki.main.cmdline.as_deref().and_then(reboots_on_panic) != Some(true)).then_some(
        "its UKI has no panic= on its command line: if the kernel panics before the initramfs, the \
         machine stands still instead of falling back; add panic=10",
    )
}

fn warnings(uki: &Uki) -> Vec<String> {
    let mut warnings: Vec<String> = stands_still(uki).map(str::to_owned).into_iter().collect();
    if !uki.others.is_empty() {
        warnings.push(
            "its UKI has several profiles; systemd-boot 257 may choose another than the first".to_owned(),
        );
    }
    warnings
}
