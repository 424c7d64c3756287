//! The manual procedure of Intel's Edge Microvisor Toolkit, on a disk as that installs it.

use std::fs;

use abide_qemu::paths;
use abide_testing::program;

use crate::support::edge::{Edge, emt_machine, image_as};

/// An image in the folder that the server shows, with its checksum beside it; its file name.
fn publish(version: &str) -> String {
    let name = image_as(version, "emt", "gz");
    let folder = paths::target().join("guest/images");
    let sums = paths::run(program("sha256sum").arg(&name).current_dir(&folder)).unwrap();
    fs::write(folder.join(format!("{name}.sha256sum")), sums).unwrap();
    name
}

#[test]
fn the_manual_procedure_works_from_a_server_and_from_a_file() {
    let mut edge = Edge::on(emt_machine("emt", "3.0"));
    assert_eq!(edge.next_boot().version, "3.0");
    let shown = edge.ok("os-update-tool.sh -v");
    assert!(shown.starts_with("os-update-tool ver-"), "{shown}");
    assert!(shown.contains("Active partition: /dev/vda2\nImage UUID: edge-3.0"), "{shown}");
    edge.refused("os-update-tool.sh -c", 1);

    let name = publish("3.1");
    let (image, sums) = (edge.url(&name), edge.url(&format!("{name}.sha256sum")));
    // It is not installed by default.
    edge.ok("ln -s /usr/bin/abide /run/os-update.sh");
    edge.vm.send(&format!("/run/os-update.sh -u {image} {sums} > /dev/console 2>&1")).unwrap();
    assert_eq!(edge.next_boot().version, "3.1");
    edge.ok("os-update-tool.sh -c");
    let shown = edge.ok("os-update-tool.sh -v");
    assert!(shown.contains("Active partition: /dev/vda6\nImage UUID: edge-3.1"), "{shown}");
    assert_eq!(edge.entries(), ["edge_3.1.efi", "linux.efi"]);

    // The guest has no program for downloads; the tool is to find a file.
    let name = publish("3.2");
    let port = edge.url("").rsplit(':').next().unwrap().trim_end_matches('/').to_owned();
    edge.ok(&format!(
        "bash -c \"exec 3<>/dev/tcp/10.0.2.2/{port} && printf 'GET /{name} HTTP/1.0\\r\\n\\r\\n' >&3 && \
         LC_ALL=C sed '1,/^\\r\\$/d' <&3 > /run/edge.raw.gz\""
    ));
    let sums = fs::read_to_string(paths::target().join(format!("guest/images/{name}.sha256sum"))).unwrap();
    let sha256 = sums.split_whitespace().next().unwrap();
    edge.refused(&format!("os-update-tool.sh -w -u /run/edge.raw.gz -s {}", "0".repeat(64)), 3);
    edge.ok(&format!("os-update-tool.sh -w -u /run/edge.raw.gz -s {sha256}"));
    edge.ok("os-update-tool.sh -a");
    assert_eq!(edge.reboot().version, "3.2");
    edge.ok("os-update-tool.sh -c");
    assert!(edge.ok("os-update-tool.sh -v").contains("Active partition: /dev/vda2\nImage UUID: edge-3.2"));
}
