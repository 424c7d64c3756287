//! Updates that never finish booting: the deadline ends them.

use crate::support::edge::Edge;

#[test]
fn a_unit_that_blocks_the_boot_for_ever_is_ended_by_the_deadline() {
    let mut edge = Edge::running("hangs", "2.0");
    edge.ok("printf '[assess]\\ndeadline = \"100s\"\\n' > /var/lib/abide/abide.d/50-deadline.toml && sync");
    edge.write("5.0", "hang");
    edge.ok("abide apply");
    assert_eq!(edge.reboot().version, "5.0");
    assert_eq!(edge.next_boot().version, "2.0", "nobody had to help");
    let failure = edge.failure("5.0");
    assert_eq!(failure["attempts"], 1, "{failure:#}");
    let reason = failure["reason"].as_str().unwrap();
    assert!(reason.contains("deadline"), "{failure:#}");
}
