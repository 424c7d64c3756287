//! An ESP that is FAT32 with few clusters, as systemd-repart made it: below 257 MiB, with sectors of 4096 bytes.
//!
//! The firmware of these machines refuses it (EDK2, `FatOpenDevice`: FAT32 has 65525 clusters at least, whatever its
//! sectors; that of others does not). So firmware and boot loader have an ESP with larger FATs and the same files. It is
//! replaced by the other one between them and the operating system: when the kernel begins, it has read nothing of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::PathBuf;

use abide_qemu::disk::MIB;
use abide_qemu::esp::Esp;
use serde_json::json;

use super::stories::commits;
use crate::support::edge::{BOOT, Edge};
use crate::support::plugged::plug_in;
use crate::support::snapshots::NEW;

/// The first line of the kernel is not left out.
const TALKATIVE: &str = "io.systemd.stub.kernel-cmdline-extra=loglevel=6";

/// Copies the ESP, with the name that the loader will have given the entry on trial.
const COPY: &str = "set -e
mkfs.vfat -F 32 -S 4096 -n ESP /dev/vdb
mkdir -p /run/esp /run/few
mount -t vfat -o ro /dev/disk/by-partlabel/esp /run/esp
mount -t vfat /dev/vdb /run/few
cp -r /run/esp/. /run/few
mv /run/few/EFI/Linux/edge_3.0+3-0.efi /run/few/EFI/Linux/edge_3.0+2-1.efi
umount /run/esp /run/few
";

/// The trial is noticed in the initramfs, and committed.
pub fn esp_has_few_clusters(mut edge: Edge) -> Edge {
    let few = plug_in(&mut edge, 256);
    edge.ok(COPY);
    edge.forget_boots();
    let mut disk = PathBuf::new();
    let mut edge = edge.power_cycle_as(|machine| {
        disk = machine.disk(0).unwrap().to_owned();
        machine.smbios(TALKATIVE)
    });
    edge.vm.wait_for_line("Linux version", BOOT).unwrap();
    edge.vm.monitor("stop", json!({})).unwrap();
    assert_eq!(Esp::open(&disk).unwrap().entries().unwrap(), ["edge_2.0.efi", "edge_3.0+2-1.efi"]);
    let mut esp = OpenOptions::new().write(true).open(&disk).unwrap();
    esp.seek(SeekFrom::Start(MIB)).unwrap();
    io::copy(&mut File::open(&few).unwrap(), &mut esp).unwrap();
    edge.vm.monitor("cont", json!({})).unwrap();

    assert_eq!(edge.next_boot().version, NEW);
    assert_eq!(edge.ok("od -An -tu2 -j11 -N2 /dev/disk/by-partlabel/esp").trim(), "4096");
    let found = edge.run("abide doctor --json").text;
    assert!(found.contains("esp-few-clusters") && !found.contains("initramfs-stage"), "{found}");
    let mut edge = commits(edge);
    let told = edge.ok("abide history");
    assert!(told.contains("try 1"), "{told}");
    edge.ok("fsck.vfat -n /dev/disk/by-partlabel/esp");
    edge
}
