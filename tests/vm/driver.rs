//! The VM driver itself, tried on the firmware's own shell.

use std::time::Duration;

use abide_qemu::{Error, Event, Machine, disk};

/// A firmware-only machine needs a few seconds; the rest is for a busy host.
const SOON: Duration = Duration::from_secs(120);

/// A machine whose firmware shell runs `script`.
fn shell(name: &str, script: &str) -> Machine {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk.raw");
    disk::create_with_esp(&image, 34).unwrap();
    let machine = Machine::new(name).unwrap().disk_copy(&image).unwrap();
    let esp = machine.esp().unwrap();
    esp.write("startup.nsh", script.replace('\n', "\r\n").as_bytes()).unwrap();
    esp.close().unwrap();
    machine
}

#[test]
fn a_guest_can_be_watched_and_its_disk_read_after_it_is_off() {
    let script = "fs0:\nmkdir EFI\nmkdir EFI\\Linux\ncp startup.nsh EFI\\Linux\\Edge_1.0+3-0.efi\n\
                  echo all-is-written\nreset -s\n";
    let mut vm = shell("driver-watch", script).start().unwrap();
    vm.wait_for_line("all-is-written", SOON).unwrap();
    let machine = vm.wait_for_power_off(SOON).unwrap();
    let esp = machine.esp().unwrap();
    assert_eq!(esp.entries().unwrap(), ["Edge_1.0+3-0.efi"]);
    assert!(esp.exists("EFI/linux/edge_1.0+3-0.EFI"));
    assert!(!esp.exists("EFI/Linux/edge_1.0.efi"));
    let log = std::fs::read(machine.log()).unwrap();
    assert!(!log.is_empty());
}

#[test]
fn power_can_be_cut_and_the_machine_started_again() {
    let mut vm = shell("driver-cut", "echo it-is-up\n").start().unwrap();
    vm.wait_for_line("it-is-up", SOON).unwrap();
    let machine = vm.cut_power().unwrap();
    let esp = machine.esp().unwrap();
    esp.rename("startup.nsh", "old.nsh").unwrap();
    esp.write("startup.nsh", b"echo second-time\r\nreset -w\r\n").unwrap();
    esp.close().unwrap();
    let mut vm = machine.start().unwrap();
    vm.wait_for_line("second-time", SOON).unwrap();
    vm.wait_for("a reset by the guest", SOON, |event| (*event == Event::Reset(true)).then_some(())).unwrap();
    vm.wait_for_line("second-time", SOON).unwrap();
}

#[test]
fn a_saved_machine_stands_still_until_it_is_loaded_and_then_goes_on() {
    let mut vm = shell("driver-saved", "echo it-begins\nstall 2000000\necho it-ends\n").start().unwrap();
    vm.wait_for_line("it-begins", SOON).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let snapshot = vm.save(folder.path()).unwrap();
    let mut vm = Machine::from_snapshot("driver-loaded", &snapshot).unwrap().start().unwrap();
    vm.wait_for_line("it-ends", SOON).unwrap();
}

#[test]
fn a_deadline_ends_a_wait_and_names_the_log() {
    let mut vm = Machine::new("driver-late").unwrap().start().unwrap();
    let error = vm.wait_for_line("never said", Duration::from_millis(10)).unwrap_err();
    assert!(matches!(error, Error::Late { .. }));
    assert!(error.to_string().contains("driver-late/serial.log"));
}

#[test]
fn a_refused_command_line_is_an_error_with_the_reason() {
    let machine = Machine::new("driver-refused").unwrap();
    let error = machine.argument("-no-such-option").start().err().unwrap();
    assert!(error.to_string().contains("no-such-option"), "{error}");
}
