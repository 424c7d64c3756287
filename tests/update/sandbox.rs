//! The sandboxes of the units.

use super::*;

/// The exposure level of a unit by `systemd-analyze security`, from 0 (best) to 10.
fn exposure(unit: &str) -> f64 {
    let unit = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd-units").join(unit);
    let output = program("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager"])
        .arg(unit)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let last =
        text.lines().rev().find(|line| line.contains("exposure level")).unwrap_or_else(|| panic!("{text}"));
    last.split(": ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn the_unit_with_network_access_is_sandboxed() {
    let rating = exposure("abide-update.service");
    assert!(rating < 3.0, "{rating}");
}

#[test]
fn the_units_of_root_have_no_network_and_few_privileges() {
    for unit in ["abide-install.service", "abide-survey.service"] {
        let rating = exposure(unit);
        assert!(rating < 5.0, "{unit}: {rating}");
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd-units").join(unit);
        let text = fs::read_to_string(path).unwrap();
        assert!(text.lines().any(|line| line == "PrivateNetwork=yes"), "{unit}");
    }
}
