//! What happens to the partitions of the target slot. Pure.

use uuid::Uuid;

use crate::disk::gpt::{EntryChange, MAX_LABEL, NO_AUTO, READ_ONLY};
use crate::disk::role::Role;
use crate::disk::verity;
use crate::update::write::open_image::{ImageSummary, PartitionSummary};
use abide_core::arch::NATIVE;
use abide_core::disk::{Area, RootArg, Slot, is_sysupdate_root};
use abide_core::error::{Error, Result};

/// The label that systemd-sysupdate gives to an empty partition.
const EMPTY: &str = "_empty";

/// What happens to one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionPlan {
    /// What it holds.
    pub role: Role,
    /// Bytes that the image has for it, if that is known before they are unpacked.
    pub len: Option<u64>,
    /// Where it is.
    pub area: Area,
    /// The change before its first byte is overwritten; most often none.
    pub before: EntryChange,
    /// The change once everything is verified.
    pub after: EntryChange,
}

/// The plan for each partition, after which `root` finds the target slot and nothing else; and warnings for
/// the user.
///
/// If a boot could discover the slot by itself (`is_discoverable`), it is excluded from that while it is written. If
/// every boot entry that stays names its root, that is not needed, and the partition table is left alone until the
/// slot is complete: each change of it could be torn by a power cut. The partitions of a verity image have the
/// random UUID `scratch` while they are written, since their final ones are the root hash.
///
/// A slot that is labelled as by systemd-sysupdate is labelled as empty in any case, so that systemd-sysupdate does not
/// take half of a version for that version.
pub fn plan(
    image: &ImageSummary,
    root: &RootArg,
    target: &Slot,
    running: &Slot,
    label: &str,
    scratch: Uuid,
    is_discoverable: bool,
) -> Result<(Vec<PartitionPlan>, Vec<String>)> {
    let verity = matches!(root, RootArg::RootHash(_));
    let of_image = |role| image.partitions.iter().find(|partition| partition.role == role);
    if verity && of_image(Role::Verity).is_none() {
        return Err(Error::Refused(format!("the image boots {root}, but has no verity hashes")));
    }
    let after = fit(root, target, running, label)?;
    let mut warnings = Vec::new();
    let mut plans = Vec::new();
    for partition in &image.partitions {
        if partition.role != Role::Root && !verity {
            continue;
        }
        let Some(area) = partition.role.area(target) else {
            if partition.role == Role::Verity {
                return Err(Error::Refused(format!(
                    "the image has dm-verity hashes, but slot {} has no partition for them; label one {}_verity",
                    target.name, target.label
                )));
            }
            warnings.push(format!(
                "its {} is left out: slot {} has no partition for it",
                partition.role, target.name
            ));
            continue;
        };
        check_size(partition, &area, target)?;
        // The initramfs finds the slot by what it holds, whatever the table says.
        if matches!(root, RootArg::BootUuid(_)) {
            let (role, len) = (partition.role, partition.len);
            let none = EntryChange::default();
            plans.push(PartitionPlan { role, len, area, before: none.clone(), after: none });
            continue;
        }
        let label = label_of(partition.role, &area, target, label)?;
        let own = match partition.role {
            Role::Root => after.uuid,
            Role::Verity => verity::hash_partition_uuid(root).and_then(|uuid| Uuid::try_parse(&uuid).ok()),
            Role::VeritySig => None,
        };
        let hidden = Uuid::from_u128(scratch.as_u128() ^ partition.role as u128);
        plans.push(PartitionPlan {
            role: partition.role,
            len: partition.len,
            before: EntryChange {
                label: label.as_ref().filter(|_| area.label != EMPTY).map(|_| EMPTY.to_owned()),
                uuid: (verity && own.is_some()).then_some(hidden),
                set: if is_discoverable { NO_AUTO } else { 0 },
                ..EntryChange::default()
            },
            after: EntryChange {
                label,
                uuid: own,
                kind: if verity { kind_of(partition.role) } else { None },
                set: if partition.no_auto { NO_AUTO } else { 0 } | if verity { READ_ONLY } else { 0 },
                clear: if partition.no_auto { 0 } else { NO_AUTO },
            },
            area,
        });
    }
    Ok((plans, warnings))
}

fn check_size(partition: &PartitionSummary, area: &Area, target: &Slot) -> Result<()> {
    match partition.len {
        Some(len) if len > area.size => Err(Error::Refused(format!(
            "the image's {} takes {len} bytes, but slot {} ({}) has only {}",
            partition.role, target.name, area.node, area.size
        ))),
        _ => Ok(()),
    }
}

/// The new label of a partition, if its slot is labelled as by systemd-sysupdate.
fn label_of(role: Role, area: &Area, target: &Slot, label: &str) -> Result<Option<String>> {
    if !is_sysupdate_root(&target.label) {
        return Ok(None);
    }
    let (end, versioned) = match role {
        Role::Root => ("", true),
        Role::Verity => ("_verity", area.label.ends_with("_verity")),
        Role::VeritySig => ("_verity_sig", area.label.ends_with("_verity_sig")),
    };
    if !versioned && area.label != EMPTY {
        return Ok(None);
    }
    let label = format!("{label}{end}");
    if label.encode_utf16().count() > MAX_LABEL {
        return Err(Error::Refused(format!(
            "'{label}' is too long for a partition label, which has at most {MAX_LABEL} characters"
        )));
    }
    Ok(Some(label))
}

/// The type of such a partition on this machine.
fn kind_of(role: Role) -> Option<Uuid> {
    let kind = match role {
        Role::Root => Some(NATIVE.types.root),
        Role::Verity => NATIVE.types.verity,
        Role::VeritySig => NATIVE.types.verity_sig,
    };
    kind.and_then(|kind| Uuid::try_parse(kind).ok())
}

/// The change after which `root` finds the target's root partition and nothing else.
fn fit(root: &RootArg, target: &Slot, running: &Slot, label: &str) -> Result<EntryChange> {
    if running.is(root) {
        return Err(Error::Refused(format!(
            "the image boots {root}, which is the running slot {}; it needs an image built for slot {}",
            running.name, target.name
        )));
    }
    let mut change = EntryChange::default();
    match root {
        RootArg::BootUuid(_) => {}
        RootArg::PartUuid(uuid) => {
            let uuid = uuid::Uuid::try_parse(uuid).map_err(|_| {
                Error::Refused(format!("the image boots {root}, which is not the UUID of a GPT partition"))
            })?;
            change.uuid = Some(uuid);
        }
        RootArg::PartLabel(wanted) if *wanted == target.label => {}
        RootArg::PartLabel(wanted) if is_sysupdate_root(&target.label) && wanted == label => {}
        RootArg::PartLabel(_) => {
            return Err(Error::Refused(format!(
                "the image boots {root}, but slot {} is labelled '{}'",
                target.name, target.label
            )));
        }
        RootArg::Node(_) if target.is(root) => {}
        RootArg::RootHash(_) => {
            let uuid = root.partition_uuid().and_then(|uuid| uuid::Uuid::try_parse(&uuid).ok());
            change.uuid = Some(uuid.ok_or_else(|| {
                Error::Refused(format!(
                    "the image boots {root}, which is not a root hash of at least 128 bits"
                ))
            })?);
        }
        _ => {
            return Err(Error::Refused(format!(
                "the image boots {root}, which cannot refer to slot {}; build it with root=PARTUUID=…",
                target.name
            )));
        }
    }
    Ok(change)
}
