//! How often `write` changes the partition table: each change can be torn by a power cut.

use std::io::Cursor;
use std::{fs, io};

use abide::config::OnMissing;
use abide::disk::gpt::{EntryChange, NO_AUTO, PartitionTable};
use abide::disk::role::Role;
use abide::disk::table_change::TableChange;
use abide::update::WholeMachine;
use abide::update::write::{EspSpace, ImageSummary, PartitionPlan, PartitionSummary, PlanInput, target};
use abide_core::boot::Access;
use abide_core::boot::model::uki;
use abide_core::update::Machine;
use abide_testing::gpt_disk::GptDisk;

use super::*;

/// The random UUID that hides a partition.
const HIDDEN: u128 = 0xabcd;

/// The plan of `write` for slot b, of an image whose UKI has this command line.
fn plan(tree: &Tree, root: &str) -> Vec<PartitionPlan> {
    let machine = Machine::read(&tree.root(), None, Access::Read).unwrap();
    let beside = target(&machine).unwrap();
    let bytes = uki("edge", "2.0", &format!("{root} panic=10"));
    let roles: &[Role] =
        if root.starts_with("roothash") { &[Role::Root, Role::Verity] } else { &[Role::Root] };
    let partition = |role: &Role| PartitionSummary { role: *role, len: Some(1 << 16), no_auto: false };
    let input = PlanInput {
        image: ImageSummary {
            partitions: roles.iter().map(partition).collect(),
            root_arch: None,
            uki: uki::read(Cursor::new(&bytes), true).unwrap(),
            uki_size: bytes.len() as u64,
        },
        digest: None,
        named: None,
        proof: &abide::image::trust::Proof::Nothing,
        floor: abide::update::floor::Floor::default(),
        state: &machine.state(),
        entries: &machine.entries,
        slots: machine.slots().unwrap(),
        running: beside.slot.other(),
        running_entry: &beside.running,
        space: EspSpace::of(machine.dirs.esp.as_ref()).unwrap(),
        image_id: None,
        no_panic: OnMissing::Warn,
        scratch: uuid::Uuid::from_u128(HIDDEN),
    };
    input.plan().unwrap().partitions
}

/// How often the table of a disk, on which slot b is partition 6, is written for this plan.
fn table_writes(plan: &PartitionPlan) -> usize {
    let mut disk = Cursor::new(GptDisk::new(512).bytes());
    let mut write = |change: &EntryChange| {
        let table = PartitionTable::read(&mut disk).unwrap();
        let planned = TableChange::plan(&table, &mut disk, 6, change).unwrap();
        planned.perform(&mut disk, |_| io::Result::Ok(())).unwrap();
        !planned.is_empty()
    };
    [&plan.before, &plan.after].into_iter().filter(|change| write(change)).count()
}

#[test]
fn a_table_that_fits_the_image_is_not_written_at_all() {
    let plan = plan(&machine(), "root=PARTLABEL=rootfs_b");
    assert_eq!(plan[0].before, EntryChange::default());
    assert_eq!(table_writes(&plan[0]), 0);
}

#[test]
fn a_new_uuid_is_written_once_and_only_when_the_slot_is_complete() {
    let tree = machine();
    let uuid = "00000000-0000-4000-8000-000000000077";
    let plan_of_uuid = plan(&tree, &format!("root=PARTUUID={uuid}"));
    assert_eq!(plan_of_uuid[0].before, EntryChange::default());
    assert_eq!(table_writes(&plan_of_uuid[0]), 1);

    fs::write(tree.path("dev/sda4"), vec![0; 1 << 16]).unwrap();
    symlink("../../sda4", tree.path("dev/disk/by-partlabel/rootfs_b_verity")).unwrap();
    let plan_of_verity = plan(&tree, &format!("roothash={}", "0123456789abcdef".repeat(4)));
    assert_eq!(plan_of_verity.len(), 2);
    // Their UUIDs are the root hash, so they have random ones until they are complete.
    for partition in plan_of_verity {
        assert!(partition.before.uuid.is_some());
        assert_eq!((partition.before.set, table_writes(&partition)), (0, 2));
    }
}

/// systemd-sysupdate takes a label with a version for the whole of that version.
#[test]
fn a_slot_that_sysupdate_labels_is_labelled_empty_while_it_is_written() {
    let tree = machine();
    for (node, old, new) in [("sda2", "rootfs_a", "edge_1.0"), ("sda3", "rootfs_b", "edge_0.9")] {
        fs::remove_file(tree.path(&format!("dev/disk/by-partlabel/{old}"))).unwrap();
        symlink(format!("../../{node}"), tree.path(&format!("dev/disk/by-partlabel/{new}"))).unwrap();
    }
    let plan = plan(&tree, &format!("root=PARTUUID={}", partuuid("b")));
    let empty = EntryChange { label: Some("_empty".into()), ..EntryChange::default() };
    assert_eq!((&plan[0].before, plan[0].after.label.as_deref()), (&empty, Some("edge_2.0")));
}

#[test]
fn a_slot_that_a_boot_could_discover_is_hidden_while_it_is_written() {
    let tree = machine();
    // An entry that stays, and names no root: the initramfs discovers one.
    fs::write(tree.entry("rescue.efi"), uki("rescue", "1", "quiet")).unwrap();
    let plan = plan(&tree, "root=PARTLABEL=rootfs_b");
    assert_eq!((plan[0].before.set, plan[0].after.clear), (NO_AUTO, NO_AUTO));
    assert_eq!(table_writes(&plan[0]), 2);
}

#[test]
fn an_entry_that_is_removed_first_discovers_nothing() {
    let tree = machine();
    // Another form of the image's own entry, without a root.
    fs::write(tree.entry("edge_2.0+3-0.efi"), uki("edge", "2.0", "quiet")).unwrap();
    assert_eq!(plan(&tree, "root=PARTLABEL=rootfs_b")[0].before, EntryChange::default());
}
