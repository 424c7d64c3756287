//! Edge Microvisor Toolkit as it is deployed: nodes with verity, with encryption and virtual ones, updated by
//! the calls of their agents alone.

use std::fs;

use abide_qemu::{Machine, paths};
use abide_testing::program;
use abide_testing::skip::skipped;

use crate::crash::judge::Promise;
use crate::crash::node as judged;
use crate::crash::recorder::Recorder;
use crate::support::edge::{Edge, image_path};
use crate::support::emt::{Kind, Published, configure, downloaded, node, reboot_and_commit, root, served};

/// What runs first.
const FIRST: &str = "3.0.1";

/// A node with [`FIRST`] that has booted.
#[track_caller]
fn booted(name: &str, kind: Kind) -> Edge {
    first_boot(node(name, kind, FIRST))
}

#[track_caller]
fn first_boot(machine: Machine) -> Edge {
    let mut edge = Edge::on(machine);
    assert_eq!(edge.next_boot().version, FIRST);
    edge
}

/// Cuts the power once so many sectors of a partition were written by the write of an image; `while_off`: what is done
/// to the machine before it is switched on.
#[track_caller]
fn cut_while_writing(
    mut edge: Edge,
    image: &Published,
    (partition, sectors): (&str, u64),
    while_off: impl FnOnce(Machine) -> Machine,
) -> Edge {
    edge.ok(&format!("setsid sh -c '{}' >/run/write.log 2>&1 & echo $! >/run/writer", image.write()));
    // A write that is over has not come so far.
    edge.ok(&format!(
        "until read -r _ _ _ _ _ _ written _ </sys/class/block/{partition}/stat && [ $written -ge {sectors} ]; do \
         kill -0 $(cat /run/writer) || {{ cat /run/write.log; exit 1; }}; sleep 0.05; done"
    ));
    let mut edge = edge.power_cycle_as(while_off);
    assert_eq!(edge.next_boot().version, FIRST);
    let status = edge.status();
    assert_eq!(status["failures"].as_array().map(Vec::len), Some(0), "{status:#}");
    assert_eq!(edge.entries(), ["linux.efi"]);
    edge
}

/// Where in the root file system its os-release lies, one of the first things that are read of it.
fn of_os_release(version: &str) -> u64 {
    let raw = image_path(version, "emt-node", "none");
    let command = format!(
        "start=$(sfdisk --json \"$1\" | sed -n 's/.*\"start\": \\([0-9]*\\).*/\\1/p' | sed -n 2p); \
         LC_ALL=C grep -aboE '^VERSION=\"{version}\"$' \"$1\" | cut -d: -f1 | \
         while read -r at; do [ $at -lt $((start * 512)) ] || echo $((at - start * 512)); done | head -n 1"
    );
    let found = paths::run(program("bash").args(["-euc", &command, "-"]).arg(raw)).unwrap();
    String::from_utf8(found).unwrap().trim().parse().unwrap()
}

/// The root of 3.0.3, which is applied, loses one byte; the node comes back with `old`.
#[track_caller]
fn one_flipped_byte_falls_back(edge: &mut Edge, device: &str, old: &str) {
    let version = "3.0.3";
    let at = of_os_release(version);
    edge.ok(&format!("printf x | dd of={device} bs=1 seek={at} conv=notrunc,fsync status=none"));
    assert_eq!(edge.reboot().version, old);
    let failure = edge.failure(version);
    assert_eq!(failure["phase"], "initramfs", "{failure:#}");
    let log = fs::read_to_string(edge.vm.log()).unwrap_or_default();
    assert!(log.contains("is corrupted"), "dm-verity has not seen it: {}", edge.vm.log().display());
}

/// Writes, applies and boots an image whose application fails; the node comes back with `old`.
#[track_caller]
fn a_bad_image_falls_back(edge: &mut Edge, version: &str, old: &str) {
    let image = served(edge, version, "emt-node-sick");
    edge.ok(&format!("{} -a", image.write()));
    assert_eq!(edge.reboot().version, version);
    // The agent wants to commit it whatever its state; the machine may be on its way down meanwhile.
    if let Ok(answer) = edge.vm.run("os-update-tool.sh -c") {
        assert!(!answer.success(), "{answer}");
    }
    assert_eq!(edge.next_boot().version, old);
    let failure = edge.failure(version);
    assert_eq!(failure["phase"], "checks", "{failure:#}");
}

#[test]
fn a_verity_node_updates_after_a_power_cut() {
    // Recorded from the start: the firmware looks for the disk where it was at its first boot.
    let machine = node("emt-verity", Kind::Verity, FIRST);
    let is_judged = soaks();
    let mut edge = first_boot(if is_judged { machine.record_writes() } else { machine });
    assert!(root(&mut edge).contains("verity 1 254:2 254:4 "), "{}", root(&mut edge));
    let image = downloaded(&mut edge, "3.0.2", "emt-node");
    edge.refused("os-update-tool.sh -a", 1);
    // From here on each disk that another cut would leave is judged.
    let mut recorder = None;
    let mut edge = cut_while_writing(edge, &image, ("vda6", 80_000), |machine| {
        recorder = is_judged.then(|| Recorder::of(&machine, Promise::of_committed(FIRST)));
        machine
    });
    let mut end = |name: &str, change: &dyn Fn(&mut Promise)| {
        if let Some(recorder) = &mut recorder {
            recorder.end(name, |now| change(now));
        }
    };
    edge.ok("until mountpoint -q /opt; do sleep 0.2; done");
    end("power-on", &|_| {});
    edge.ok(&image.write());
    end("-w", &|_| {});
    edge.ok("os-update-tool.sh -a");
    end("-a", &|now| now.next = ["3.0.2"].into());
    reboot_and_commit(&mut edge, "3.0.2");
    end("boot of 3.0.2 and -c", &|now| {
        now.committed = ["3.0.2"].into();
        now.good.insert("3.0.2");
    });
    assert!(root(&mut edge).contains("verity 1 254:6 254:5 "), "{}", root(&mut edge));
    assert!(edge.ok("os-update-tool.sh -v").contains("Active partition: /dev/vda6\n"));

    // A wrong digest costs nothing: the old system stays, and can be gone back to.
    let image = downloaded(&mut edge, "3.0.3", "emt-node");
    let wrong = Published { sha256: "0".repeat(64), place: image.place.clone() };
    let slots = edge.status()["slots"].clone();
    let said = edge.refused(&wrong.write(), 3);
    assert!(said.contains("SHA-256"), "{said}");
    assert_eq!(edge.status()["slots"], slots);
    assert_eq!((&slots[0]["version"], &slots[0]["good"]), (&FIRST.into(), &true.into()), "{slots:#}");
    end("a wrong digest", &|_| {});
    edge.ok(&format!("{} -a", image.write()));
    end("-w -a", &|now| now.next = ["3.0.3"].into());

    let machine = edge.vm.cut_power().unwrap();
    let images = [FIRST, "3.0.2", "3.0.3"].map(|version| (version, image_path(version, "emt-node", "none")));
    if let Some(recorder) = recorder {
        judged::judge(recorder.finish(), &images, &machine.dir().join("judge"));
    }
}

#[test]
fn an_encrypted_node_updates() {
    let mut edge = booted("emt-encrypted", Kind::Encrypted);
    let image = served(&mut edge, "3.0.2", "emt-node");
    edge.ok(&format!("{} -a", image.write()));
    reboot_and_commit(&mut edge, "3.0.2");
    let table = edge.ok("dmsetup deps rootfs_b");
    assert!(table.contains("(254, 6)"), "{table}");
}

/// The slow ones: `make soak`.
fn soaks() -> bool {
    let soaks = std::env::var("ABIDE_EMT").is_ok();
    if !soaks {
        skipped("more lives of EMT's nodes", "ABIDE_EMT=all has them");
    }
    soaks
}

#[test]
fn a_virtual_node_updates_to_a_build_without_a_version_of_its_own() {
    if !soaks() {
        return;
    }
    let mut edge = booted("emt-linear", Kind::Linear);
    assert!(root(&mut edge).contains("linear 254:2 0"), "{}", root(&mut edge));
    for (version, partition) in [("3.0.2", 6), ("3.0.3", 2)] {
        let image = served(&mut edge, version, "emt-node-nameless");
        edge.ok(&format!("{} -a", image.write()));
        reboot_and_commit(&mut edge, version);
        assert!(root(&mut edge).contains(&format!("linear 254:{partition} 0")), "{}", root(&mut edge));
    }
}

/// The test plan of EMT's design proposal.
#[test]
fn the_test_plan_of_emt_holds_on_a_verity_node() {
    if !soaks() {
        return;
    }
    let mut edge = booted("emt-plan", Kind::Verity);
    // A node with services configured: what it is told is on edge_persistent, and each system has it.
    configure(
        &mut edge,
        "[[check]]\nname = 'k3s'\nkind = 'command'\ncommand = ['test', '-s', '/opt/k3s/config']\n",
    );
    edge.ok("mkdir /opt/k3s && echo node-1 >/opt/k3s/config && sync");
    // The newest, an older one, and one that is unexpected.
    for version in ["3.0.9", "3.0.2"] {
        let image = downloaded(&mut edge, version, "emt-node");
        edge.ok(&image.write());
        // The agent applies it hours later, after a reboot.
        let running = edge.reboot().version;
        assert_ne!(running, version);
        edge.ok("os-update-tool.sh -a");
        reboot_and_commit(&mut edge, version);
        assert_eq!(edge.ok("cat /opt/k3s/config"), "node-1\n");
    }
    let other = downloaded(&mut edge, "3.0.8", "ok");
    edge.refused(&other.write(), 3);
    a_bad_image_falls_back(&mut edge, "3.0.8", "3.0.2");
}

#[test]
fn a_verity_node_survives_power_cuts_and_a_wrong_root_hash() {
    if !soaks() {
        return;
    }
    let mut edge = booted("emt-cuts", Kind::Verity);
    let image = downloaded(&mut edge, "3.0.2", "emt-node");
    // The first byte, the middle of the root, that of the tree, its end, the file with the root hash.
    for at in [("vda6", 1), ("vda6", 60_000), ("vda5", 800), ("vda5", 1_600), ("vda7", 1)] {
        edge = cut_while_writing(edge, &image, at, |machine| machine);
        edge.ok("until mountpoint -q /opt; do sleep 0.2; done");
    }
    edge.ok(&format!("{} -a", image.write()));
    reboot_and_commit(&mut edge, "3.0.2");
    let flipped = downloaded(&mut edge, "3.0.3", "emt-node");
    edge.ok(&format!("{} -a", flipped.write()));
    one_flipped_byte_falls_back(&mut edge, "/dev/vda2", "3.0.2");
    // The agent repeats a commit that fails.
    let said = edge.ok("os-update-tool.sh -c");
    assert!(said.contains("3.0.3 was rolled back"), "{said}");

    // Nothing of a root can be read whose root hash is another one.
    let image = served(&mut edge, "3.0.4", "emt-node");
    edge.ok(&format!("{} -a", image.write()));
    edge.ok(
        "mount /dev/vda7 /mnt && sed -i 's/^......../00000000/' /mnt/part_a_roothash && umount /mnt && sync",
    );
    assert_eq!(edge.reboot().version, "3.0.2");
    assert_eq!(edge.failure("3.0.4")["phase"], "initramfs");
}

#[test]
fn an_encrypted_node_survives_a_power_cut_and_a_flipped_byte() {
    if !soaks() {
        return;
    }
    let mut edge = booted("emt-encrypted-cut", Kind::Encrypted);
    let image = downloaded(&mut edge, "3.0.2", "emt-node");
    edge = cut_while_writing(edge, &image, ("vda6", 80_000), |machine| machine);
    edge.ok("until mountpoint -q /opt; do sleep 0.2; done");
    edge.ok(&image.write());
    assert_eq!(edge.reboot().version, FIRST);
    edge.ok("os-update-tool.sh -a");
    reboot_and_commit(&mut edge, "3.0.2");
    let image = served(&mut edge, "3.0.3", "emt-node");
    edge.ok(&format!("{} -a", image.write()));
    one_flipped_byte_falls_back(&mut edge, "/dev/mapper/rootfs_a", "3.0.2");
    a_bad_image_falls_back(&mut edge, "3.0.4", "3.0.2");
}
