//! Loaders before 258 give up on a UKI that they cannot start: with enough firmware boot options
//! the machine comes back all the same, within one power-on.

use abide_qemu::slots::Guest;
use abide_qemu::tiny::{self, Parts, Release, install_loader};
use abide_qemu::{Event, Output, Running};
use serde_json::Value;

use crate::support::edge::{BOOT, Edge};
use crate::support::firmware::nothing_is_blessed;
use crate::support::snapshots::{NEW, OLD, staged};

/// `BootOrder` as the firmware's variable has it, after the attributes.
const ORDER: &str =
    "cat /sys/firmware/efi/efivars/BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c | od -An -tx2 -j4";

/// A machine that runs one version and has another one staged.
struct Update<'a> {
    vm: &'a mut Running,
    old: &'a str,
    new: &'a str,
    /// Restarts it without a word to its units.
    reboot: &'a str,
}

impl Update<'_> {
    fn run(&mut self, command: &str) -> Output {
        self.vm.run(command).unwrap()
    }

    #[track_caller]
    fn ok(&mut self, command: &str) -> String {
        let output = self.run(command);
        assert!(output.success(), "`{command}`: {output}");
        output.text
    }

    fn order(&mut self) -> Vec<String> {
        self.ok(ORDER).split_whitespace().map(str::to_owned).collect()
    }

    /// What a command says as JSON, whatever its exit code.
    #[track_caller]
    fn json(&mut self, command: &str) -> Value {
        let text = self.run(command).text;
        let line = text.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{text}"));
        serde_json::from_str(line).unwrap()
    }

    fn resets(&self) -> usize {
        self.vm.history().iter().filter(|event| matches!(event, Event::Reset(_))).count()
    }
}

fn has(answer: &Value, id: &str) -> bool {
    answer["findings"].as_array().unwrap().iter().any(|finding| finding["id"] == id)
}

/// Whether `old` is what is left of `new` without the numbers that are not in `old`.
fn keeps_its_order(old: &[String], new: &[String]) -> bool {
    new.iter().filter(|id| old.contains(id)).eq(old)
}

fn a_broken_uki_falls_back(machine: &mut Update<'_>) {
    let before = machine.order();
    let found = machine.json("abide doctor --json");
    assert!(has(&found, "firmware-options"), "{found:#}");

    let fixed = machine.json("abide doctor --json --fix");
    assert!(!has(&fixed, "firmware-options"), "{fixed:#}");
    assert_eq!(fixed["fixed"].as_array().map(Vec::len), Some(1), "{fixed:#}");
    let after = machine.order();
    assert!(keeps_its_order(&before, &after), "{before:?} {after:?}");
    let again = machine.json("abide doctor --json --fix");
    assert_eq!(again["fixed"].as_array().map(Vec::len), Some(0), "{again:#}");
    assert_eq!(machine.order(), after);

    // Whole when it was verified, damaged after that: `apply` would not arm it otherwise.
    let said = machine.ok("abide apply");
    assert!(!said.contains("firmware boot options"), "{said}");
    let (old, new) = (machine.old, machine.new);
    machine.ok("mkdir -p /run/esp && mount -t vfat /dev/vda1 /run/esp");
    machine.ok(&format!("truncate -s 4M /run/esp/EFI/Linux/edge_{new}+3-0.efi && umount /run/esp"));
    let resets = machine.resets();
    machine.vm.send(machine.reboot).unwrap();
    assert_eq!(machine.vm.wait_for_boot(BOOT).unwrap().version, old);
    assert_eq!(machine.resets() - resets, 1, "only the one that was asked for");

    let status = machine.json("abide status --json");
    let failure = &status["failures"][0];
    assert_eq!(failure["version"], new, "{status:#}");
    assert_eq!(failure["attempts"], 3, "{failure:#}");
    assert_eq!(failure["phase"], "loader", "{failure:#}");
    assert_eq!(status["boot"]["kind"], "fallback");
    // The stale LoaderBootCountPath names the broken one: to follow it would bless that.
    let names =
        machine.ok("mkdir -p /run/esp && mount -t vfat -o ro /dev/vda1 /run/esp && ls /run/esp/EFI/Linux; umount /run/esp");
    let has = |name: String| names.contains(&name);
    assert!(has(format!("edge_{new}+0-3.efi")) && has(format!("edge_{old}.efi")), "{names}");
}

#[test]
fn systemd_boot_257_with_boot_options_falls_back_from_a_broken_uki() {
    let mut edge = Edge::from("firmware-options", &staged());
    let vm = &mut edge.vm;
    a_broken_uki_falls_back(&mut Update { vm, old: OLD, new: NEW, reboot: "systemctl reboot -f" });
    nothing_is_blessed(edge);
}

/// On the tiny guest: what differs is the loader.
#[test]
fn systemd_boot_252_with_boot_options_falls_back_from_a_broken_uki() {
    let guest = Guest::get().unwrap();
    let machine = guest.machine("firmware-options-252").unwrap();
    let esp = machine.esp().unwrap();
    install_loader(&esp, &Parts::get().unwrap().loader(Release::Bookworm).unwrap()).unwrap();
    esp.close().unwrap();
    let mut vm = machine.start().unwrap();
    assert_eq!(vm.wait_for_boot(tiny::BOOT).unwrap().version, "1.0");
    let mut machine = Update { vm: &mut vm, old: "1.0", new: "2.0", reboot: "reboot -nf" };
    let loader = machine.json("abide status --json")["loader"]["name"].clone();
    assert!(loader.as_str().unwrap().starts_with("systemd-boot 252"), "{loader}");
    machine.ok(&guest.write_command("2.0"));
    a_broken_uki_falls_back(&mut machine);
}
