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
    assert_eq!(edge.reboot().version, "2.0");
    let failure = edge.failure("1.5");
    assert_eq!(failure["attempts"], 3, "{failure:#}");
    let names = edge.entries();
    assert_eq!(names.first().map(String::as_str), Some("edge_2.0.efi"), "{names:?}");
    assert_eq!(edge.list()["next"]["id"], "edge_2.0.efi");
}
