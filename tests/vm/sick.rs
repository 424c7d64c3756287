//! Updates that boot but are not healthy: Abide rolls them back itself, at the first try.

use crate::support::edge::Edge;
use serde_json::Value;

/// Updates from 2.0 to this variant of 4.0 and comes back; returns the failure record.
fn rolled_back(name: &str, variant: &str) -> Value {
    let mut edge = Edge::running(name, "2.0");
    edge.write("4.0", variant);
    edge.ok("abide apply");
    assert_eq!(edge.reboot().version, "4.0");
    assert_eq!(edge.next_boot().version, "2.0", "4.0 was tried only once");
    let status = edge.status();
    assert_eq!(status["boot"]["kind"], "fallback", "{status:#}");
    let failure = edge.failure("4.0");
    assert_eq!(failure["attempts"], 1, "{failure:#}");
    assert_eq!(failure["phase"], "checks", "{failure:#}");
    assert_eq!(edge.list()["next"]["id"], "edge_2.0.efi");
    failure
}

/// The reason that a failure record gives for a check.
fn reason<'a>(failure: &'a Value, check: &str) -> &'a str {
    let checks = failure["checks"].as_array().unwrap();
    let found = checks.iter().find(|known| known["name"] == check);
    found.and_then(|check| check["reason"].as_str()).unwrap_or_else(|| panic!("{failure:#}"))
}

#[test]
fn a_required_unit_that_fails_rolls_the_update_back_and_is_named_in_the_record() {
    let failure = rolled_back("sick-unit", "failing-unit");
    assert!(reason(&failure, "app").contains("edge-app.service"), "{failure:#}");
}

#[test]
fn a_system_without_network_is_rolled_back_and_the_record_says_why() {
    let failure = rolled_back("sick-network", "no-network");
    assert!(!reason(&failure, "network").is_empty(), "{failure:#}");
}
