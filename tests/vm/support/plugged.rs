//! Disks that are plugged into a running machine.

use std::fs::File;
use std::path::PathBuf;

use serde_json::json;

use super::edge::Edge;

/// Plugs an empty disk into the machine: a file on the host, `/dev/vdb` in the guest.
#[track_caller]
pub fn plug_in(edge: &mut Edge, mebibytes: u64) -> PathBuf {
    let file = edge.vm.log().with_file_name("plugged.raw");
    File::create(&file).unwrap().set_len(mebibytes << 20).unwrap();
    let backend = json!({
        "driver": "raw",
        "node-name": "plugged",
        "cache": {"no-flush": true},
        "file": {"driver": "file", "filename": file},
    });
    edge.vm.monitor("blockdev-add", backend).unwrap();
    let device = json!({"driver": "virtio-blk-pci", "drive": "plugged", "id": "plugged"});
    edge.vm.monitor("device_add", device).unwrap();
    edge.ok("until [ -b /dev/vdb ]; do sleep 0.2; done");
    file
}
