//! Machines on which what a boot is told from disagrees, or is out of reach.

use std::path::Path;

use abide_qemu::{Hardware, Machine, paths};
use abide_testing::program;

use super::stories::{ON_ESP, commits, reboots_and_commits};
use crate::support::edge::{Edge, disk, first_boot, hardware};
use crate::support::snapshots::{NEW, OLD};

/// Shell functions that take `$2`, a section of the UKI `$1`, out of it: into the file `$3`.
const SECTION: &str = r#"
number() { od -An -tu$3 -j$2 -N$3 "$1" | tr -d ' '; }
section() {
    pe=$(number "$1" 60 4); count=$(number "$1" $((pe + 6)) 2); optional=$(number "$1" $((pe + 20)) 2)
    at=$((pe + 24 + optional))
    while [ "$count" -gt 0 ]; do
        name=$(dd if="$1" bs=1 skip=$at count=8 status=none | tr -d '\000')
        if [ "$name" = "$2" ]; then
            size=$(number "$1" $((at + 8)) 4); offset=$(number "$1" $((at + 20)) 4)
            tail -c +$((offset + 1)) "$1" | head -c "$size" > "$3"
            return
        fi
        at=$((at + 40)); count=$((count - 1))
    done
    return 1
}
"#;

/// The kernel of the applied update is started without the loader; then an update is to be written.
pub fn kexec_into_the_update(mut edge: Edge) -> Edge {
    edge.put("/run/section.sh", SECTION.as_bytes());
    edge.ok(&format!(
        "{ON_ESP} on_esp '. /run/section.sh && for part in linux initrd cmdline; do \
         section EFI/Linux/edge_3.0+3-0.efi .$part /run/$part || exit 1; done' && \
         kexec -s -l /run/linux --initrd=/run/initrd --command-line=\"$(tr -d '\\000' < /run/cmdline)\""
    ));
    // Not a way that Abide goes: it asks for reboots that no loaded kernel takes.
    edge.vm.send("systemctl kexec").unwrap();
    assert_eq!(edge.next_boot().version, NEW);
    refuses_to_write(&mut edge, "kexec");
    assert_eq!(edge.entries(), ["edge_3.0+3-0.efi", "edge_2.0.efi"]);
    reboots_and_commits(edge)
}

/// The staged system's user space is started by the old system's kernel; then an update is to be written.
pub fn soft_reboot_into_the_other_slot(mut edge: Edge) -> Edge {
    edge.ok("mkdir -p /run/nextroot && mount -o ro /dev/disk/by-partlabel/rootfs_b /run/nextroot");
    edge.vm.send("systemctl soft-reboot").unwrap();
    assert_eq!(edge.next_boot().version, NEW);
    refuses_to_write(&mut edge, "mounted from slot b");
    assert_eq!(edge.entries(), ["edge_2.0.efi"]);
    edge.vm.send("SYSTEMCTL_SKIP_AUTO_SOFT_REBOOT=1 systemctl reboot -f").unwrap();
    edge.next_boot_of(OLD);
    edge
}

fn refuses_to_write(edge: &mut Edge, why: &str) {
    let command = edge.write_command("1.5", "ok");
    let said = edge.refused(&command, 6);
    assert!(said.contains(why), "{said}");
    assert_eq!(edge.status()["boot"]["kind"], "unknown");
}

/// The entry to fall back to is removed while the trial runs, which then fails: the only system stays up.
pub fn fallback_is_removed(mut edge: Edge) -> Edge {
    edge.ok(&format!("{ON_ESP} on_esp 'rm EFI/Linux/edge_2.0.efi'"));
    edge.ok("systemctl start abide-rollback.service");
    let status = edge.status();
    assert_eq!(edge.boots(), 0, "{status:#}");
    edge
}

/// A program holds an inhibitor lock while `apply --reboot` runs: systemd refuses the reboot, and nothing replaces it.
pub fn reboot_is_inhibited(mut edge: Edge) -> Edge {
    edge.ok("systemd-run -q -p Type=dbus -p BusName=org.freedesktop.login1 /usr/lib/systemd/systemd-logind");
    edge.ok(
        "systemd-run -q --unit=backup systemd-inhibit --what=shutdown --mode=block --who=backup --why=busy \
         sleep infinity && until systemd-inhibit --list --no-legend | grep -q backup; do sleep 0.2; done",
    );
    let run = edge.run("abide apply --reboot");
    assert_ne!(run.status, 0, "{run}");
    assert!(run.text.contains("inhibit"), "{run}");
    assert_eq!(edge.boots(), 0);
    assert_eq!(edge.entries(), ["edge_3.0+3-0.efi", "edge_2.0.efi"]);
    edge.ok("systemctl stop backup");
    reboots_and_commits(edge)
}

/// Removes partitions from the table of a disk.
fn remove_partitions(disk: &Path, numbers: &[&str]) {
    paths::run(program("sfdisk").args(["--quiet", "--delete"]).arg(disk).args(numbers)).unwrap();
}

/// A disk made from the image of an installed [`OLD`] by `change`, in the folder of `machine`, and what attaches it. The
/// driver of AHCI disks is in the root only.
fn second_disk(machine: &Machine, change: impl FnOnce(&Path)) -> Hardware {
    let second = machine.dir().join("second.raw");
    paths::run(program("cp").arg("--sparse=always").arg(disk(OLD)).arg(&second)).unwrap();
    change(&second);
    let drive = format!("if=none,id=second,format=raw,cache=unsafe,file={}", second.display());
    let words =
        ["-drive", &drive, "-device", "ahci,id=ahci,addr=0x1d", "-device", "ide-hd,drive=second,bus=ahci.0"];
    Hardware { extra: words.map(str::to_owned).to_vec(), ..hardware() }
}

/// The ESP is on a disk whose driver the initramfs does not have.
pub fn with_esp_on_second_disk(name: &str) -> Edge {
    let machine = Machine::new(name).unwrap().disk_copy(&disk(OLD)).unwrap();
    remove_partitions(machine.disk(0).unwrap(), &["1"]);
    let hardware = second_disk(&machine, |disk| remove_partitions(disk, &["2", "3", "4", "5", "6"]));
    first_boot(machine.hardware(hardware), OLD)
}

/// An update of a machine whose initramfs never sees the ESP.
pub fn esp_is_out_of_reach(mut edge: Edge) -> Edge {
    edge.ok("until [ -e /dev/sda1 ]; do sleep 0.2; done; lsblk -no PARTLABEL /dev/sda1 | grep -qx esp");
    edge.write(NEW, "ok");
    edge.ok("abide apply");
    edge.forget_boots();
    assert_eq!(edge.reboot().version, NEW);
    edge.ok("until [ -e /dev/sda1 ]; do sleep 0.2; done");
    commits(edge)
}

/// A stick with the same image was left in the machine: all GUIDs and labels are there twice. The firmware has booted
/// the machine's own disk before, and prefers it.
pub fn with_stick(name: &str) -> Edge {
    let machine = Edge::running(name, OLD).vm.cut_power().unwrap();
    let hardware = second_disk(&machine, |disk| remove_partitions(disk, &["4"]));
    first_boot(machine.hardware(hardware), OLD)
}

/// The old system, with nothing staged.
pub fn with_old_system(name: &str) -> Edge {
    Edge::running(name, OLD)
}

/// The ESP is under an automount with a check of its file system before each mount, and somebody keeps looking into it.
const AUTOMOUNT: &str = "set -e
cd /run/systemd/system
printf '[Service]\nType=oneshot\nExecStart=/usr/sbin/fsck.vfat -a /dev/disk/by-partlabel/esp\n' >esp-check.service
printf '[Unit]\nRequires=esp-check.service\nAfter=esp-check.service\n[Mount]\nWhat=/dev/disk/by-partlabel/esp\nWhere=/boot\nType=vfat\nOptions=umask=0077\n' >boot.mount
printf '[Automount]\nWhere=/boot\nTimeoutIdleSec=1s\n' >boot.automount
systemctl daemon-reload
systemctl start boot.automount
systemd-run -q --unit=visitor sh -c 'while :; do ls /boot/EFI/Linux >/dev/null; sleep 4; done'
";

/// The checks run, and damage nothing: Abide holds the mount while it changes the ESP.
pub fn esp_is_automounted(mut edge: Edge) -> Edge {
    edge.ok(AUTOMOUNT);
    edge.write(NEW, "ok");
    edge.ok("abide apply");
    let checks = edge.ok("journalctl -b -o cat -u esp-check.service | grep -c '^fsck.fat '");
    assert!(checks.trim().parse::<u32>().unwrap() > 0, "no check ran: {checks}");
    edge.ok("systemctl stop visitor boot.automount boot.mount");
    edge.ok("fsck.vfat -n /dev/disk/by-partlabel/esp");
    let names = edge.ok(&format!("{ON_ESP} on_esp 'find . -iname \"fsck*\" -o -iname \"shared*\"'"));
    assert_eq!(names.trim(), "", "the check has changed something");
    edge.forget_boots();
    reboots_and_commits(edge)
}

/// An update of a machine with such a stick leaves the stick as it is.
pub fn stick_is_left_in(mut edge: Edge) -> Edge {
    let before = edge.ok("until [ -e /dev/sda1 ]; do sleep 0.2; done; sha256sum /dev/sda");
    edge.write(NEW, "ok");
    edge.ok("abide apply");
    edge.forget_boots();
    let mut edge = reboots_and_commits(edge);
    let after = edge.ok("until [ -e /dev/sda1 ]; do sleep 0.2; done; sha256sum /dev/sda");
    assert_eq!(before, after, "the stick was changed");
    edge
}
