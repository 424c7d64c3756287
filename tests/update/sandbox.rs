//! What the units allow their programs.

use super::*;

/// systemd's own rating of a unit, from 0 (locked in) to 10.
fn exposure(unit: &str) -> f64 {
    let unit = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd-units").join(unit);
    let output = Command::new("systemd-analyze")
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
fn what_talks_to_the_network_is_locked_in() {
    let rating = exposure("abide-update.service");
    assert!(rating < 3.0, "{rating}");
}

#[test]
fn what_takes_the_image_apart_has_no_network_and_few_rights() {
    for unit in ["abide-install.service", "abide-survey.service"] {
        let rating = exposure(unit);
        assert!(rating < 5.0, "{unit}: {rating}");
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd-units").join(unit);
        let text = fs::read_to_string(path).unwrap();
        assert!(text.lines().any(|line| line == "PrivateNetwork=yes"), "{unit}");
    }
}
