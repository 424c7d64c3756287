//! What a slot must hold for what boots from it.

use std::fmt;

use abide_qemu::sectors::Sectors;
use abide_qemu::slots::Guest;
use abide_qemu::table::Partition;

use super::judge::{Promise, Version, Violation};

/// How the systems of a machine find their roots.
pub trait Slots: fmt::Debug {
    /// Checks that a slot holds all of this version, so that its UKI finds it.
    fn check_whole(
        &self,
        disk: &Sectors,
        partitions: &[Partition],
        version: Version,
    ) -> Result<(), Violation>;

    /// Checks what both slots share.
    fn check_shared(
        &self,
        disk: &Sectors,
        partitions: &[Partition],
        promise: &Promise,
    ) -> Result<(), Violation>;
}

/// The roots of the tiny guest, each found by the UUID of its partition.
#[derive(Debug)]
pub struct PartUuids {
    systems: Vec<(Version, String, Vec<u32>)>,
}

impl PartUuids {
    /// Those of the guest, as the numbers of `disk`.
    pub fn new(guest: &Guest, disk: &Sectors) -> PartUuids {
        let systems = guest.systems.iter();
        let system = systems.map(|known| (known.version, known.uuid.clone(), disk.intern(&known.root)));
        PartUuids { systems: system.collect() }
    }
}

impl Slots for PartUuids {
    fn check_whole(
        &self,
        disk: &Sectors,
        partitions: &[Partition],
        version: Version,
    ) -> Result<(), Violation> {
        let (_, uuid, root) = self.systems.iter().find(|(known, ..)| *known == version).unwrap();
        let slot = partitions.iter().find(|slot| slot.uuid == *uuid);
        let slot = slot.ok_or("the partition that it boots is not there")?;
        match holds(disk, slot, root) {
            true => Ok(()),
            false => Err("its slot is not whole".into()),
        }
    }

    fn check_shared(&self, _: &Sectors, _: &[Partition], _: &Promise) -> Result<(), Violation> {
        Ok(())
    }
}

/// Whether a partition begins with these contents.
pub fn holds(disk: &Sectors, partition: &Partition, numbers: &[u32]) -> bool {
    (partition.start..).zip(numbers).all(|(at, number)| disk.number(at) == *number)
}
