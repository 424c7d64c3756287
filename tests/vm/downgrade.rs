//! Going to a lower version, whose entry the loader would not choose by itself.

use crate::support::edge::Edge;

#[test]
fn a_downgrade_commits_and_stays() {
    let mut edge = Edge::running("downgrade", "2.0");
    edge.write("1.0", "ok");
    edge.ok("abide apply");
    assert_eq!(edge.entries(), ["edge_1.0+3-0.efi", "edge_2.0+0-0.efi"]);
    assert_eq!(edge.reboot().version, "1.0");
    edge.wait_for_commit();
    // Its plain name would make 2.0 boot again.
    assert_eq!(edge.entries(), ["edge_1.0.efi", "edge_2.0+0-0.efi"]);
    assert_eq!(edge.reboot().version, "1.0");
    let status = edge.status();
    assert_eq!(status["boot"]["kind"], "committed", "{status:#}");
}

#[test]
fn a_broken_downgrade_falls_back_and_the_old_entry_gets_its_name_back() {
    let mut edge = Edge::running("downgrade-broken", "2.0");
    edge.write("1.5", "panic-early");
    edge.ok("abide apply");
    edge.forget_boots();
    edge.vm.send("systemctl reboot -f").unwrap();
    edge.next_boot_of("2.0");
    assert_eq!(edge.boots(), 4, "the reboot, and one panic for each of the three tries");
    let failure = edge.failure("1.5");
    assert_eq!(failure["attempts"], 3, "{failure:#}");
    assert_eq!(failure["phase"], "loader", "{failure:#}");
    let reason = failure["reason"].as_str().unwrap();
    assert!(reason.contains("3 tries used up"), "{reason}");
    let names = edge.entries();
    assert_eq!(names.first().map(String::as_str), Some("edge_2.0.efi"), "{names:?}");
    assert_eq!(edge.list()["next"]["id"], "edge_2.0.efi");
    let again = edge.write_command("1.5", "panic-early");
    let reason = edge.refused(&again, 6);
    assert!(reason.contains("1.5"), "{reason}");
}
