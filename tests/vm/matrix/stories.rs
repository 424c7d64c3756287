//! How systems are made bad, and what happens until the machine is stable again.

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use abide_qemu::{Event, Firmware, Hardware, Machine, paths};
use abide_testing::program;

use crate::support::edge::{BOOT, Edge, PATIENCE, disk, first_boot, hardware};
use crate::support::firmware;
use crate::support::snapshots::{CHECKS_BEGAN, NEW, OLD};

/// A shell command that mounts the ESP at /mnt and runs `$1` there.
pub(super) const ON_ESP: &str = "on_esp() { mkdir -p /run/esp && mount -t vfat /dev/disk/by-partlabel/esp /run/esp && \
                      (cd /run/esp && eval \"$1\"); code=$?; umount /run/esp; return $code; }; ";

const ENTRY: &str = "EFI/Linux/edge_3.0+3-0.efi";

/// Changes the ESP of the running guest.
#[track_caller]
pub fn on_esp(edge: &mut Edge, command: &str) {
    edge.ok(&format!("{ON_ESP} on_esp '{command}'"));
}

/// No intervention: restart, and wait for the old system.
pub fn falls_back(mut edge: Edge) -> Edge {
    edge.vm.send("systemctl reboot -f").unwrap();
    edge.next_boot_of(OLD);
    edge
}

/// The trial is left alone until it is committed.
pub fn commits(mut edge: Edge) -> Edge {
    edge.wait_for_commit();
    edge
}

/// Restarts, and leaves the trial alone until it is committed.
pub fn reboots_and_commits(mut edge: Edge) -> Edge {
    assert_eq!(edge.reboot().version, NEW);
    commits(edge)
}

/// What failed is refused until it is forgotten.
pub fn falls_back_and_is_refused(edge: Edge) -> Edge {
    let mut edge = falls_back(edge);
    assert_eq!(edge.boots(), 4, "the reboot, and one panic for each of the three tries");
    let again = edge.write_command(NEW, "panic-early");
    let reason = edge.refused(&again, 6);
    assert!(reason.contains(NEW), "{reason}");
    edge
}

/// The command is given on this trial boot and on every further one.
fn on_each_try(mut edge: Edge, command: &str) -> Edge {
    edge.vm.send(command).unwrap();
    edge.next_boot_of_after(OLD, |edge| edge.vm.send(command).unwrap());
    edge
}

/// The kernel panics while the checks run.
pub fn panics_late(edge: Edge) -> Edge {
    on_each_try(edge, &format!("{CHECKS_BEGAN}; echo c > /proc/sysrq-trigger"))
}

/// PID 1 crashes.
pub fn pid_1_crashes(edge: Edge) -> Edge {
    on_each_try(edge, &format!("{CHECKS_BEGAN}; kill -SEGV 1"))
}

/// A machine with a hardware watchdog, on which a healthy [`NEW`] has one try.
pub fn with_watchdog(name: &str) -> Edge {
    let hardware = Hardware { watchdog: true, ..hardware() };
    let machine = Machine::new(name).unwrap().hardware(hardware).disk_copy(&disk(OLD)).unwrap();
    let mut edge = first_boot(machine, OLD);
    edge.configure("[assess]\ntries = 1\ntest_window = \"150s\"\n");
    edge.write(NEW, "ok");
    edge.ok("abide apply");
    edge
}

/// All processors stop, in a panic that nobody told to reboot.
pub fn kernel_stands_still(mut edge: Edge) -> Edge {
    assert_eq!(
        edge.ok("systemctl show --value -p RuntimeWatchdogUSec").trim(),
        "0",
        "not on a committed boot"
    );
    assert_eq!(edge.reboot().version, NEW);
    let armed = edge.ok("dmesg | grep 'hardware watchdog'");
    assert!(armed.contains("the hardware watchdog is started, with a timeout of 180 s"), "{armed}");
    assert_eq!(edge.ok("systemctl show --value -p RuntimeWatchdogUSec").trim(), "1min");
    edge.ok(CHECKS_BEGAN);
    edge.vm.send("echo 0 > /proc/sys/kernel/panic; echo c > /proc/sysrq-trigger").unwrap();
    let bite = |event: &Event| (*event == Event::Watchdog).then_some(());
    edge.vm.wait_for("the watchdog", PATIENCE, bite).unwrap();
    edge.next_boot_of(OLD);
    edge
}

/// A machine whose firmware enforces Secure Boot, with everything on it signed.
pub fn with_secure_boot(name: &str) -> Edge {
    let hardware = Hardware { firmware: Firmware::secure_boot(), ..hardware() };
    let machine = Machine::new(name).unwrap().hardware(hardware).disk_copy(&disk(OLD)).unwrap();
    let esp = machine.esp().unwrap();
    for path in ["EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi", "EFI/Linux/edge_2.0.efi"] {
        let file = machine.dir().join("signed.efi");
        fs::write(&file, esp.read(path).unwrap()).unwrap();
        paths::run(program(paths::workspace().join("qemu/guest/sign")).arg(&file)).unwrap();
        esp.write(path, &fs::read(file).unwrap()).unwrap();
    }
    esp.close().unwrap();
    let mut edge = first_boot(machine, OLD);
    let enforced =
        "tail -c 1 /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c | od -An -tu1";
    assert_eq!(edge.ok(enforced).trim(), "1", "Secure Boot is on");
    edge
}

/// A UKI without a signature is refused; one whose signature is damaged later is refused by the firmware, try by try.
pub fn unsigned_never_runs(mut edge: Edge) -> Edge {
    firmware::add_boot_options(&mut edge, 4);
    let command = edge.write_command(NEW, "ok");
    let refused = edge.run(&command);
    assert_eq!(refused.status, 6, "{refused}");
    assert!(refused.text.contains("it is not signed"), "{refused}");
    edge.write(NEW, "signed");
    edge.ok("abide apply");
    edge.ok("file=$(ls /efi/EFI/Linux/*+3-0.efi) && at=$(($(stat -c %s $file) - 20)) && \
         printf abcd | dd of=$file bs=1 seek=$at conv=notrunc status=none && sync");
    edge.forget_boots();
    edge.vm.send("systemctl reboot -f").unwrap();
    assert_eq!(edge.next_boot().version, OLD, "nothing else has run");
    edge
}

/// A signed UKI is as good as any.
pub fn signed_commits(mut edge: Edge) -> Edge {
    edge.write(NEW, "signed");
    edge.ok("abide apply");
    edge.forget_boots();
    reboots_and_commits(edge)
}

/// The assessment is killed.
pub fn assess_is_killed(mut edge: Edge) -> Edge {
    edge.vm.send("systemctl kill -s KILL abide-assess.service").unwrap();
    edge.next_boot_of(OLD);
    edge
}

/// The assessment is stopped and never continues: only the deadline's own timer is left.
pub fn assess_is_frozen(mut edge: Edge) -> Edge {
    edge.vm.send("systemctl kill -s STOP abide-assess.service").unwrap();
    edge.next_boot_of(OLD);
    edge
}

/// The cable is pulled while the checks run, and stays out.
pub fn cable_is_pulled(mut edge: Edge) -> Edge {
    edge.vm.set_link(false).unwrap();
    edge.next_boot_of(OLD);
    edge
}

/// The clock jumps forward by ten years during the window, then back by thirty.
pub fn clock_jumps(mut edge: Edge) -> Edge {
    edge.ok("date -s '+10 years'");
    edge.ok("date -s '-30 years'");
    commits(edge)
}

/// Not a cluster of the ESP is free when the trial is committed.
pub fn esp_is_full(mut edge: Edge) -> Edge {
    on_esp(&mut edge, "! cat /dev/zero > filler 2>/dev/null; sync; [ $(stat -fc %f .) = 0 ]");
    commits(edge)
}

/// The ESP cannot be written on the first try.
pub fn esp_is_read_only(mut edge: Edge) -> Edge {
    edge.ok("blockdev --setro /dev/disk/by-partlabel/esp");
    assert_eq!(edge.next_boot().version, NEW, "the try is lost, no more");
    commits(edge)
}

/// Half of the UKI is lost after it was verified.
pub fn uki_is_cut(mut edge: Edge) -> Edge {
    on_esp(&mut edge, &format!("truncate -s $(($(stat -c %s {ENTRY}) / 2)) {ENTRY}"));
    falls_back(edge)
}

/// As [`uki_is_cut`], with a firmware boot option for each try and one more. In that cascade the
/// loader leaves the path of the entry that failed behind.
pub fn uki_is_cut_with_boot_options(mut edge: Edge) -> Edge {
    firmware::add_boot_options(&mut edge, 4);
    firmware::nothing_is_blessed(uki_is_cut(edge))
}

/// As [`uki_is_cut_with_boot_options`], with the loader of systemd 252.
pub fn uki_is_cut_under_252(mut edge: Edge) -> Edge {
    install_loader(&mut edge, abide_qemu::tiny::Release::Bookworm);
    uki_is_cut_with_boot_options(edge)
}

/// As [`uki_is_cut`], with the loader of systemd 262, which needs no boot options.
pub fn uki_is_cut_under_262(mut edge: Edge) -> Edge {
    install_loader(&mut edge, abide_qemu::tiny::Release::Forky);
    uki_is_cut(edge)
}

/// The UKI's header promises an image of 3 GiB.
pub fn uki_header_is_bad(mut edge: Edge) -> Edge {
    firmware::add_boot_options(&mut edge, 4);
    // SizeOfImage: 80 bytes behind the signature that offset 60 points to.
    let patch = format!(
        "at=$(od -An -tu4 -j60 -N4 {ENTRY}); \
         printf \"\\\\377\\\\377\\\\377\\\\277\" | dd of={ENTRY} bs=1 seek=$((at + 80)) conv=notrunc status=none"
    );
    on_esp(&mut edge, &patch);
    firmware::nothing_is_blessed(falls_back(edge))
}

/// The UKI is not a PE file any more: the loader does not show it.
pub fn uki_is_no_pe(mut edge: Edge) -> Edge {
    let patch = format!(
        "at=$(od -An -tu4 -j60 -N4 {ENTRY}); printf XX | dd of={ENTRY} bs=1 seek=$((at)) conv=notrunc status=none"
    );
    on_esp(&mut edge, &patch);
    falls_back(edge)
}

fn install_loader(edge: &mut Edge, release: abide_qemu::tiny::Release) {
    let loader = abide_qemu::tiny::Parts::get().unwrap().loader(release).unwrap();
    edge.put("/run/loader.efi", &loader);
    on_esp(
        edge,
        "cp /run/loader.efi EFI/BOOT/BOOTX64.EFI; cp /run/loader.efi EFI/systemd/systemd-bootx64.efi",
    );
}

/// The root's superblock is lost after it was verified.
pub fn root_is_damaged(mut edge: Edge) -> Edge {
    edge.ok("dd if=/dev/zero of=/dev/disk/by-partlabel/rootfs_b bs=4096 count=1 conv=fsync status=none");
    falls_back(edge)
}

/// The running system's own superblock is lost, with nothing on trial: Abide leaves the emergency shell alone.
/// After a repair everything is as before.
pub fn committed_root_is_damaged(mut edge: Edge) -> Edge {
    let start =
        edge.ok("cat /sys/class/block/$(basename $(readlink -f /dev/disk/by-partlabel/rootfs_a))/start");
    let at = start.trim().parse::<u64>().unwrap() * 512;
    edge.ok("dd if=/dev/zero of=/dev/disk/by-partlabel/rootfs_a bs=4096 count=1 conv=fsync status=none");
    edge.vm.skip_to_now();
    edge.vm.send("systemctl reboot -f").unwrap();
    edge.vm.wait_for_line("Entering emergency mode", BOOT).unwrap();
    // Past the time limit that a trial has.
    let stays = edge.vm.wait_for("no reset", Duration::from_secs(200), {
        let mut resets = 0;
        move |event| {
            resets += u32::from(matches!(event, Event::Reset(_)));
            (resets > 1).then_some(())
        }
    });
    assert!(stays.is_err(), "it was rebooted");
    let mut edge = edge.power_cycle(|machine| {
        let mut superblock = [0; 4096];
        fs::File::open(disk(OLD)).unwrap().read_exact_at(&mut superblock, at).unwrap();
        let file = fs::OpenOptions::new().write(true).open(machine.disk(0).unwrap()).unwrap();
        file.write_all_at(&superblock, at).unwrap();
    });
    assert_eq!(edge.next_boot().version, OLD);
    edge
}

/// All EFI variables are lost in the middle of the trial.
pub fn variables_are_wiped(edge: Edge) -> Edge {
    let mut edge = edge.power_cycle(|machine| machine.wipe_variables().unwrap());
    assert_eq!(edge.next_boot().version, NEW);
    commits(edge)
}

/// The power fails in the middle of the trial.
pub fn power_is_cut(edge: Edge) -> Edge {
    let mut edge = edge.power_cycle(|_| {});
    assert_eq!(edge.next_boot().version, NEW);
    commits(edge)
}

/// No EFI variable can be created any more.
pub fn variables_are_full(mut edge: Edge) -> Edge {
    // Of a vendor: under its own GUID the firmware takes no name that the specification does not know. What was
    // refused leaves a file that nobody may write to, so each attempt has a name of its own.
    let filled = edge.ok(
        "cd /sys/firmware/efi/efivars; n=0; filled=0; size=16384; while [ $size -ge 1 ]; do n=$((n + 1)); \
         if { printf '\\007\\000\\000\\000'; head -c $size /dev/zero; } > /run/value && \
         dd if=/run/value of=Filler$n-6f2f8f2c-3c1e-4c57-9d6b-0f1f6f3d5a11 bs=64k status=none 2>/run/why; \
         then filled=$((filled + 1)); else size=$((size / 2)); fi; done; cat /run/why; echo filled $filled",
    );
    assert!(filled.contains("No space left") && !filled.contains("filled 0"), "{filled}");
    reboots_and_commits(edge)
}

/// Someone has pinned the old entry by a variable, which the kernel makes immutable; `apply` clears it.
pub fn pinned_variable_is_cleared(mut edge: Edge) -> Edge {
    firmware::set_loader_variable(&mut edge, "LoaderEntryDefault", "edge_2.0.efi");
    edge.ok("abide apply");
    reboots_and_commits(edge)
}

/// Someone has pinned the old entry in `loader.conf`: refused.
pub fn pinned_in_loader_conf(mut edge: Edge) -> Edge {
    on_esp(&mut edge, "echo default edge_2.0.efi >> loader/loader.conf");
    let reason = edge.refused("abide apply", 6);
    assert!(reason.contains("loader.conf"), "{reason}");
    edge.vm.send("systemctl reboot -f").unwrap();
    edge.next_boot_of(OLD);
    edge
}

/// Someone pins the old entry after the update was applied.
pub fn pinned_after_apply(mut edge: Edge) -> Edge {
    firmware::set_loader_variable(&mut edge, "LoaderEntryDefault", "edge_2.0.efi");
    let list = edge.list();
    assert!(list["next"]["because"].as_str().unwrap().contains("LoaderEntryDefault"), "{list:#}");
    edge.vm.send("systemctl reboot -f").unwrap();
    edge.next_boot_of(OLD);
    edge
}

/// The old entry is chosen once in the middle of the trial; the trial goes on after that.
pub fn old_entry_is_chosen(mut edge: Edge) -> Edge {
    firmware::set_loader_variable(&mut edge, "LoaderEntryOneShot", "edge_2.0.efi");
    assert_eq!(edge.reboot().version, OLD);
    let status = edge.status();
    assert_eq!(status["boot"]["kind"], "committed", "{status:#}");
    assert!(status["boot"]["because"].as_str().unwrap().contains("skipped"), "{status:#}");
    assert!(status["failures"].as_array().unwrap().is_empty(), "{status:#}");
    reboots_and_commits(edge)
}

/// Each try ends in an orderly reboot.
pub fn reboots_thrice(edge: Edge) -> Edge {
    on_each_try(edge, &format!("{CHECKS_BEGAN}; systemctl reboot"))
}

/// The trial fails, and the old system is unhealthy, too: it stays anyway.
pub fn both_are_sick(mut edge: Edge) -> Edge {
    edge.vm.set_link(false).unwrap();
    let mut edge = falls_back(edge);
    assert_eq!(edge.run("abide check").status, 1, "the old system is sick, too");
    // Nothing of a trial is there that could end this boot, either.
    let units = "abide-assess.service abide-deadline.timer abide-deadline.service abide-commit.service";
    let states = edge.run(&format!("systemctl is-active {units}")).text;
    assert!(states.lines().all(|state| state == "inactive"), "{states}");
    let past_the_deadline = "until [ $(cut -d. -f1 /proc/uptime) -gt 75 ]; do sleep 1; done";
    edge.vm.run_within(past_the_deadline, PATIENCE + Duration::from_secs(75)).unwrap();
    edge
}
