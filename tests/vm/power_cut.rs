//! The power fails while an update is written or applied.

use std::time::Duration;

use crate::support::SOON;
use crate::support::edge::Edge;
use abide_qemu::Machine;

/// Boots after a power cut, and makes the interrupted update go through.
fn the_old_system_boots_and_the_update_goes_through(machine: Machine) {
    let mut edge = Edge::on(machine);
    assert_eq!(edge.next_boot().version, "1.0");
    let status = edge.status();
    assert_eq!(status["failures"].as_array().map(Vec::len), Some(0), "{status:#}");
    edge.write("2.0", "ok");
    edge.ok("abide apply");
    assert_eq!(edge.reboot().version, "2.0");
    edge.wait_for_commit();
}

#[test]
fn a_power_cut_during_write_leaves_only_the_running_system_bootable() {
    let mut edge = Edge::running("power-cut-write", "1.0");
    let command = edge.write_command("2.0", "ok");
    edge.server.stall_after(20 << 20);
    edge.vm.send(&command).unwrap();
    assert!(edge.server.wait_for_stall(SOON));
    let machine = edge.vm.cut_power().unwrap();
    assert_eq!(machine.esp().unwrap().entries().unwrap(), ["edge_1.0.efi"]);
    the_old_system_boots_and_the_update_goes_through(machine);
}

#[test]
fn a_power_cut_during_apply_leaves_the_old_or_the_whole_new_system() {
    let mut last = None;
    // How long after its start `apply` is interrupted; it takes about a second.
    for milliseconds in [0, 100, 200, 400, 800] {
        let mut edge = Edge::running("power-cut-apply", "1.0");
        edge.write("2.0", "ok");
        edge.vm.send("echo arming > /dev/console; abide apply").unwrap();
        edge.vm.wait_for_line("arming", SOON).unwrap();
        // Not a wait for anything: the instant of the cut is what this test varies.
        std::thread::sleep(Duration::from_millis(milliseconds));
        let machine = edge.vm.cut_power().unwrap();
        let names = machine.esp().unwrap().entries().unwrap();
        assert!(names.contains(&"edge_1.0.efi".to_owned()), "{names:?}");
        let known = ["edge_1.0.efi", "edge_2.0+3-0.efi"];
        for name in names.iter().filter(|name| name.to_lowercase().ends_with(".efi")) {
            assert!(name.starts_with('.') || known.contains(&name.as_str()), "{names:?}");
        }
        if names.contains(&"edge_2.0+3-0.efi".to_owned()) {
            // The switching point is passed: 2.0 is whole, and boots.
            let mut edge = Edge::on(machine);
            assert_eq!(edge.next_boot().version, "2.0");
            edge.wait_for_commit();
            break;
        }
        last = Some(machine);
    }
    if let Some(machine) = last {
        the_old_system_boots_and_the_update_goes_through(machine);
    }
}
