//! Updates whose kernel panics: nobody in user space can help, the loader falls back by itself.

use crate::support::edge::Edge;

#[test]
fn a_kernel_that_panics_is_tried_thrice_then_refused_until_it_is_forgotten() {
    let mut edge = Edge::running("panics", "2.0");
    edge.write("3.0", "panic-early");
    edge.ok("abide apply");
    let before = edge.resets();
    assert_eq!(edge.reboot().version, "2.0", "3.0 never reaches user space");
    // The reboot, and one panic for each of the three tries.
    assert_eq!(edge.resets() - before, 4);

    let status = edge.status();
    assert_eq!(status["boot"]["kind"], "fallback", "{status:#}");
    assert_eq!(status["loader"]["entry"], "edge_2.0.efi", "{status:#}");
    let failure = edge.failure("3.0");
    assert_eq!(failure["attempts"], 3, "{failure:#}");
    assert_eq!(failure["phase"], "loader", "{failure:#}");

    let again = edge.write_command("3.0", "panic-early");
    let reason = edge.refused(&again, 6);
    assert!(reason.contains("3.0"), "{reason}");
    edge.ok("abide forget 3.0");
    edge.ok(&again);
}

#[test]
fn a_system_whose_init_dies_falls_back_and_the_record_says_how_far_it_got() {
    let mut edge = Edge::running("panics-init", "2.0");
    edge.write("3.0", "init-dies");
    edge.ok("abide apply");
    assert_eq!(edge.reboot().version, "2.0");
    let failure = edge.failure("3.0");
    assert_eq!(failure["attempts"], 3, "{failure:#}");
    assert_eq!(failure["phase"], "switch-root", "{failure:#}");
}
