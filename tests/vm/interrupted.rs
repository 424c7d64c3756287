//! The power fails while an update is written, and while it is applied.

use std::time::Duration;

use abide_qemu::{Machine, Snapshot};

use crate::support::SOON;
use crate::support::edge::{Edge, installed};
use crate::support::snapshots::{NEW, OLD};

/// The machine after the power cut: `apply` was interrupted so long after its start.
fn apply_is_cut_off(staged: &Snapshot, milliseconds: u64) -> Machine {
    let mut edge = Edge::from("interrupted-apply", staged);
    edge.vm.send("echo arming > /dev/console; abide apply").unwrap();
    edge.vm.wait_for_line("arming", SOON).unwrap();
    // Not a wait for anything: the instant of the cut is what this test varies.
    std::thread::sleep(Duration::from_millis(milliseconds));
    edge.vm.cut_power().unwrap()
}

/// Boots the old system after a power cut, with nothing held against the new one.
fn boot_old(machine: Machine) -> Edge {
    let mut edge = Edge::on(machine);
    assert_eq!(edge.next_boot().version, OLD);
    let status = edge.status();
    assert_eq!(status["failures"].as_array().map(Vec::len), Some(0), "{status:#}");
    edge
}

/// One machine: its power goes in `write`, then in `apply`; the update goes through all the same.
#[test]
fn after_a_power_cut_in_write_and_one_in_apply_the_update_goes_through() {
    let mut edge = Edge::from("interrupted-write", &installed(OLD));
    let command = edge.write_command(NEW, "ok");
    edge.server.stall_after(20 << 20);
    edge.vm.send(&command).unwrap();
    assert!(edge.server.wait_for_stall(SOON));
    let machine = edge.vm.cut_power().unwrap();
    let (old, new) = (format!("edge_{OLD}.efi"), format!("edge_{NEW}+3-0.efi"));
    assert_eq!(machine.esp().unwrap().entries().unwrap(), [old.as_str()]);

    let mut edge = boot_old(machine);
    edge.write(NEW, "ok");
    let folder = tempfile::tempdir_in(abide_qemu::paths::target()).unwrap();
    let staged = edge.vm.save(folder.path()).unwrap();
    let mut last = None;
    // It takes about a second.
    for milliseconds in [0, 100, 200, 400, 800] {
        let machine = apply_is_cut_off(&staged, milliseconds);
        let names = machine.esp().unwrap().entries().unwrap();
        assert!(names.contains(&old), "{names:?}");
        for name in names.iter().filter(|name| name.to_lowercase().ends_with(".efi")) {
            assert!(name.starts_with('.') || [&old, &new].contains(&name), "{names:?}");
        }
        let is_switched = names.contains(&new);
        last = Some((machine, is_switched));
        if is_switched {
            break;
        }
    }
    // Past the switching point the new system is whole, and boots; before it the old one does.
    let (machine, is_switched) = last.unwrap();
    let mut edge = if is_switched {
        let mut edge = Edge::on(machine);
        assert_eq!(edge.next_boot().version, NEW);
        edge
    } else {
        let mut edge = boot_old(machine);
        edge.write(NEW, "ok");
        edge.ok("abide apply");
        assert_eq!(edge.reboot().version, NEW);
        edge
    };
    edge.wait_for_commit();
}
