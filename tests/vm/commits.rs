//! A healthy update, from the server to the commit.

use crate::support::edge::Edge;
use crate::support::snapshots::staged;

#[test]
fn a_healthy_update_is_tried_once_commits_itself_and_stays() {
    let mut edge = Edge::from("commits", &staged());
    assert_eq!(edge.status()["boot"]["kind"], "committed");
    assert_eq!(edge.entries(), ["edge_2.0.efi"], "what is staged cannot be booted");
    edge.ok("abide apply");
    assert_eq!(edge.entries(), ["edge_3.0+3-0.efi", "edge_2.0.efi"]);
    assert_eq!(edge.list()["next"]["id"], "edge_3.0.efi");

    assert_eq!(edge.reboot().version, "3.0");
    let status = edge.status();
    assert_eq!(status["loader"]["entry"], "edge_3.0.efi", "{status:#}");
    assert_eq!(status["boot"]["kind"], "trial", "{status:#}");
    assert_eq!(status["boot"]["attempt"], 1);
    assert_eq!(status["boot"]["attempts"], 3);
    let root = edge.ok("findmnt -no PARTLABEL /").trim().to_owned();
    assert_eq!(root, "rootfs_b");

    let status = edge.wait_for_commit();
    assert_eq!(status["update"]["userStatus"], "UPDATED", "{status:#}");
    assert_eq!(edge.entries(), ["edge_3.0.efi", "edge_2.0.efi"]);
    assert_eq!(edge.ok("systemctl is-active boot-complete.target").trim(), "active");
    assert_eq!(status["failures"].as_array().map(Vec::len), Some(0), "{status:#}");

    assert_eq!(edge.reboot().version, "3.0");
    let status = edge.status();
    assert_eq!(status["boot"]["kind"], "committed", "{status:#}");
    let machine = edge.vm.cut_power().unwrap();
    assert_eq!(machine.esp().unwrap().entries().unwrap(), ["edge_2.0.efi", "edge_3.0.efi"]);
}
