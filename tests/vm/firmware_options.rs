//! Loaders before 258 give up on a UKI that they cannot start: with enough firmware boot options
//! the machine comes back all the same, within one power-on.

use abide_qemu::tiny::{Parts, Release, install_loader};
use serde_json::Value;

use crate::support::edge::{BOOT, Edge};

/// `BootOrder` as the firmware's variable has it, after the attributes.
const ORDER: &str =
    "cat /sys/firmware/efi/efivars/BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c | od -An -tx2 -j4";

fn order(edge: &mut Edge) -> Vec<String> {
    edge.ok(ORDER).split_whitespace().map(str::to_owned).collect()
}

/// What doctor says, whatever its exit code.
fn doctor(edge: &mut Edge, command: &str) -> Value {
    let text = edge.run(command).text;
    let line = text.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{text}"));
    serde_json::from_str(line).unwrap()
}

fn has(answer: &Value, id: &str) -> bool {
    answer["findings"].as_array().unwrap().iter().any(|finding| finding["id"] == id)
}

/// Whether `old` is what is left of `new` without the numbers that are not in `old`.
fn keeps_its_order(old: &[String], new: &[String]) -> bool {
    new.iter().filter(|id| old.contains(id)).eq(old)
}

fn a_broken_uki_falls_back(edge: &mut Edge) {
    let before = order(edge);
    let found = doctor(edge, "abide doctor --json");
    assert!(has(&found, "firmware-options"), "{found:#}");

    let fixed = doctor(edge, "abide doctor --json --fix");
    assert!(!has(&fixed, "firmware-options"), "{fixed:#}");
    assert_eq!(fixed["fixed"].as_array().map(Vec::len), Some(1), "{fixed:#}");
    let after = order(edge);
    assert!(keeps_its_order(&before, &after), "{before:?} {after:?}");
    let again = doctor(edge, "abide doctor --json --fix");
    assert_eq!(again["fixed"].as_array().map(Vec::len), Some(0), "{again:#}");
    assert_eq!(order(edge), after);

    // Whole when it was verified, damaged after that: `apply` would not arm it otherwise.
    edge.write("3.0", "ok");
    let said = edge.ok("abide apply");
    assert!(!said.contains("firmware boot options"), "{said}");
    edge.ok("mkdir -p /run/esp && mount /dev/disk/by-partlabel/esp /run/esp");
    edge.ok("truncate -s 4M /run/esp/EFI/Linux/edge_3.0+3-0.efi && umount /run/esp");
    let resets = edge.resets();
    assert_eq!(edge.reboot().version, "2.0");
    assert_eq!(edge.resets() - resets, 1, "only the one that was asked for");

    let failure = edge.failure("3.0");
    assert_eq!(failure["attempts"], 3, "{failure:#}");
    assert_eq!(failure["phase"], "loader", "{failure:#}");
    assert_eq!(edge.status()["boot"]["kind"], "fallback");
    // The stale LoaderBootCountPath names the broken one: to follow it would bless that.
    let names =
        edge.ok("mkdir -p /run/esp && mount -o ro /dev/disk/by-partlabel/esp /run/esp && ls /run/esp/EFI/Linux; umount /run/esp");
    assert!(names.contains("edge_3.0+0-3.efi") && names.contains("edge_2.0.efi"), "{names}");
}

#[test]
fn systemd_boot_257_with_boot_options_falls_back_from_a_broken_uki() {
    a_broken_uki_falls_back(&mut Edge::running("firmware-options", "2.0"));
}

#[test]
fn systemd_boot_252_with_boot_options_falls_back_from_a_broken_uki() {
    let edge = Edge::running("firmware-options-252", "2.0");
    let machine = edge.vm.cut_power().unwrap();
    let esp = machine.esp().unwrap();
    install_loader(&esp, &Parts::get().unwrap().loader(Release::Bookworm).unwrap()).unwrap();
    esp.close().unwrap();
    let mut edge = Edge::on(machine);
    edge.vm.wait_for_boot(BOOT).unwrap();
    let loader = edge.status()["loader"]["name"].clone();
    assert!(loader.as_str().unwrap().starts_with("systemd-boot 252"), "{loader}");
    a_broken_uki_falls_back(&mut edge);
}
