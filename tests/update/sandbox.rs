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

/// The text of a unit.
fn text(unit: &str) -> String {
    let unit = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd-units").join(unit);
    fs::read_to_string(unit).unwrap()
}

fn units() -> Vec<String> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd-units");
    let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".service")).collect()
}

/// The units that run the administrator's scripts and checks, which may need anything; and how exposed they are.
const RUN_SCRIPTS: [(&str, f64); 6] = [
    ("abide-assess.service", 9.5),
    ("abide-commit.service", 9.5),
    ("abide-deadline.service", 9.5),
    ("abide-every-boot.service", 9.5),
    ("abide-outcome.service", 9.5),
    ("abide-rollback.service", 9.5),
];

#[test]
fn a_unit_with_network_access_is_not_root() {
    for unit in ["abide-update.service", "abide-report.service"] {
        let rating = exposure(unit);
        assert!(rating < 2.0, "{unit}: {rating}");
        let text = text(unit);
        assert!(text.lines().any(|line| line == "DynamicUser=yes"), "{unit}");
        // What runs as root in it starts and ends it.
        assert!(!text.contains("ExecStart=+"), "{unit}");
    }
}

#[test]
fn the_units_of_root_have_few_privileges_unless_they_run_scripts() {
    for unit in units() {
        let rating = exposure(&unit);
        let most = RUN_SCRIPTS.iter().find(|(name, _)| *name == unit).map_or(4.0, |(_, most)| *most);
        assert!(rating < most, "{unit}: {rating}");
    }
    for unit in ["abide-install.service", "abide-survey.service"] {
        assert!(text(unit).lines().any(|line| line == "PrivateNetwork=yes"), "{unit}");
    }
}

#[test]
fn the_ratings_in_the_documentation_are_those_of_the_units() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/units.md");
    let page = fs::read_to_string(page).unwrap();
    for unit in units() {
        let start = format!("| `{unit}` | ");
        let row =
            page.lines().find_map(|line| line.strip_prefix(&start)?.split(' ').next()?.parse::<f64>().ok());
        // Versions of systemd differ by a little.
        assert!(row.is_some_and(|row| (row - exposure(&unit)).abs() < 0.35), "{unit}: {row:?}");
    }
}
