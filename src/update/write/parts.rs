//! What becomes of the partitions of the target slot. Pure.

use uuid::Uuid;

use crate::disk::gpt::{EntryChange, MAX_LABEL, NO_AUTO, READ_ONLY};
use crate::update::write::opened::{Described, Part};
use crate::update::write::plan::NATIVE;
use abide_core::disk::partitions::{ROOT_TYPES, VERITY_TYPES};
use abide_core::disk::{Area, Role, RootArg, Slot, is_sysupdate_root};
use abide_core::error::{Error, Result};

/// What systemd-sysupdate labels a partition that holds nothing.
const EMPTY: &str = "_empty";

/// What happens to one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartPlan {
    /// What it holds.
    pub role: Role,
    /// Where it is.
    pub area: Area,
    /// Before its first byte is overwritten.
    pub before: EntryChange,
    /// Once everything is verified.
    pub after: EntryChange,
}

/// What to write where, so that `root` finds the target, and it alone; and what the user should know.
///
/// While it is written, a partition is marked so that nothing discovers it by itself, and the partitions of
/// a verity image have the random UUID `scratch`, since their own ones are the root hash.
pub fn plan(
    image: &Described,
    root: &RootArg,
    target: &Slot,
    running: &Slot,
    label: &str,
    scratch: Uuid,
) -> Result<(Vec<PartPlan>, Vec<String>)> {
    let verity = matches!(root, RootArg::RootHash(_));
    let of_image = |role| image.parts.iter().find(|part| part.role == role);
    if verity && of_image(Role::Verity).is_none() {
        return Err(Error::Refused(format!("the image boots {root}, but holds no verity hashes")));
    }
    let after = fit(root, target, running, label)?;
    let mut warnings = Vec::new();
    let mut parts = Vec::new();
    for part in &image.parts {
        if part.role != Role::Root && !verity {
            continue;
        }
        let Some(area) = target.area(part.role) else {
            if part.role == Role::Verity {
                return Err(Error::Refused(format!(
                    "the image has dm-verity hashes, but slot {} has no partition for them; label one {}_verity",
                    target.name, target.label
                )));
            }
            warnings.push(format!("its {} has no place in slot {} and is left out", part.role, target.name));
            continue;
        };
        check_size(part, &area, target)?;
        let label = label_of(part.role, &area, target, label)?;
        let own = match part.role {
            Role::Root => after.uuid,
            Role::Verity => root.verity_uuid().and_then(|uuid| Uuid::try_parse(&uuid).ok()),
            Role::VeritySig => None,
        };
        let hidden = Uuid::from_u128(scratch.as_u128() ^ part.role as u128);
        parts.push(PartPlan {
            role: part.role,
            before: EntryChange {
                label: label.as_ref().filter(|_| area.label != EMPTY).map(|_| EMPTY.to_owned()),
                uuid: (verity && own.is_some()).then_some(hidden),
                set: NO_AUTO,
                ..EntryChange::default()
            },
            after: EntryChange {
                label,
                uuid: own,
                kind: if verity { kind_of(part.role) } else { None },
                set: if part.no_auto { NO_AUTO } else { 0 } | if verity { READ_ONLY } else { 0 },
                clear: if part.no_auto { 0 } else { NO_AUTO },
            },
            area,
        });
    }
    Ok((parts, warnings))
}

fn check_size(part: &Part, area: &Area, target: &Slot) -> Result<()> {
    match part.len {
        Some(len) if len > area.size => Err(Error::Refused(format!(
            "the image's {} takes {len} bytes, but slot {} ({}) has only {}",
            part.role, target.name, area.node, area.size
        ))),
        _ => Ok(()),
    }
}

/// The label that a partition gets, where its slot is labelled as systemd-sysupdate does it.
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
    let (_, arch) = NATIVE;
    let verity = VERITY_TYPES.iter().find(|(_, _, its)| *its == arch);
    let kind = match role {
        Role::Root => ROOT_TYPES.iter().find(|(_, its)| *its == arch).map(|(kind, _)| *kind),
        Role::Verity => verity.map(|(kind, _, _)| *kind),
        Role::VeritySig => verity.map(|(_, kind, _)| *kind),
    };
    kind.and_then(|kind| Uuid::try_parse(kind).ok())
}

/// What to make of the target's partition so that `root` finds it, and it alone.
fn fit(root: &RootArg, target: &Slot, running: &Slot, label: &str) -> Result<EntryChange> {
    if running.is(root) {
        return Err(Error::Refused(format!(
            "the image boots {root}, which is the running slot {}; it needs an image built for slot {}",
            running.name, target.name
        )));
    }
    let mut change = EntryChange::default();
    match root {
        RootArg::PartUuid(uuid) | RootArg::BootUuid(uuid) => {
            let uuid = uuid::Uuid::try_parse(uuid).map_err(|_| {
                Error::Refused(format!("the image boots {root}, which is no UUID of a GPT partition"))
            })?;
            change.uuid = Some(uuid);
        }
        RootArg::PartLabel(wanted) if *wanted == target.label => {}
        RootArg::PartLabel(wanted) if is_sysupdate_root(&target.label) && wanted == label => {}
        RootArg::PartLabel(_) => {
            return Err(Error::Refused(format!(
                "the image boots {root}, but the slot it would be written to is labelled '{}'",
                target.label
            )));
        }
        RootArg::Node(_) if target.is(root) => {}
        RootArg::RootHash(_) => {
            let uuid = root.partition_uuid().and_then(|uuid| uuid::Uuid::try_parse(&uuid).ok());
            change.uuid = Some(uuid.ok_or_else(|| {
                Error::Refused(format!("the image boots {root}, which is no root hash of 128 bits or more"))
            })?);
        }
        _ => {
            return Err(Error::Refused(format!(
                "the image boots {root}, which cannot be made to mean slot {}; build it with root=PARTUUID=…",
                target.name
            )));
        }
    }
    Ok(change)
}
