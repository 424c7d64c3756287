//! The rules of `deny.toml`.

use super::*;

use semver::{Version, VersionReq};
use spdx::{Expression, ParseMode};

/// The strings of a list in `deny.toml`, or one field of its tables.
fn list(section: &str, name: &str, field: Option<&str>) -> Vec<String> {
    let rules = toml("deny.toml");
    let values = rules[section][name].as_array().unwrap();
    let text = |v: &toml::Value| field.map_or(v, |field| &v[field]).as_str().unwrap().to_owned();
    values.iter().map(text).collect()
}

#[test]
fn every_crate_has_a_licence_that_a_product_may_ship() {
    let allowed = list("licenses", "allow", None);
    let mut used = BTreeSet::new();
    for one in all_crates() {
        let licence = Expression::parse_mode(&one.licence, ParseMode::LAX).unwrap();
        let may_ship = licence.evaluate(|needed| {
            let name = needed.license.to_string();
            let is_allowed = allowed.contains(&name);
            if is_allowed {
                used.insert(name);
            }
            is_allowed
        });
        assert!(may_ship, "{} {}: {}", one.name, one.version, one.licence);
    }
    let unused: Vec<_> = allowed.iter().filter(|name| !used.contains(*name)).collect();
    assert!(unused.is_empty(), "deny.toml: no crate needs {unused:?}");
}

/// What Cargo.lock says of each crate.
fn locked() -> Vec<toml::Table> {
    let lock = toml("Cargo.lock");
    lock["package"].as_array().unwrap().iter().map(|p| p.as_table().unwrap().clone()).collect()
}

#[test]
fn every_crate_comes_from_the_one_registry_with_a_digest() {
    for package in locked() {
        let name = package["name"].as_str().unwrap();
        match package.get("source").and_then(|source| source.as_str()) {
            None => assert!(name.starts_with("abide"), "{name}"),
            Some(source) => {
                assert_eq!(source, "registry+https://github.com/rust-lang/crates.io-index", "{name}");
                assert!(package.contains_key("checksum"), "{name}");
            }
        }
    }
}

#[test]
fn a_crate_that_is_linked_twice_is_listed_with_its_reason() {
    let mut versions: BTreeMap<String, BTreeSet<Version>> = BTreeMap::new();
    for one in all_crates() {
        versions.entry(one.name).or_default().insert(one.version.parse().unwrap());
    }
    let skipped = list("bans", "skip", Some("crate"));
    let mut used = BTreeSet::new();
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        let listed = skipped.iter().find_map(|skip| Some((skip, skip.strip_prefix(&format!("{name}@"))?)));
        let Some((skip, older)) = listed else { panic!("{name}: {versions:?}") };
        let older = VersionReq::parse(older).unwrap();
        let left = versions.iter().filter(|version| !older.matches(version)).count();
        assert_eq!(left, 1, "{name}: {versions:?}");
        used.insert(skip);
    }
    let unused: Vec<_> = skipped.iter().filter(|skip| !used.contains(skip)).collect();
    assert!(unused.is_empty(), "deny.toml: {unused:?} are there once");
}

/// Whether an advisory applies to a version.
fn applies(advisory: &toml::Table, version: &Version) -> bool {
    let is_in = |list: &str| {
        let list = advisory.get(list).and_then(|list| list.as_array()).map_or(&[][..], Vec::as_slice);
        list.iter().any(|range| VersionReq::parse(range.as_str().unwrap()).unwrap().matches(version))
    };
    !advisory.contains_key("withdrawn") && !is_in("patched") && !is_in("unaffected")
}

/// The advisories that apply to a list of crates.
fn affected(advisories: &toml::Table, crates: &BTreeSet<(String, Version)>) -> BTreeSet<String> {
    let all = advisories["advisory"].as_array().unwrap().iter().map(|a| a.as_table().unwrap());
    all.filter(|advisory| {
        let package = advisory["package"].as_str().unwrap();
        crates.iter().any(|(name, version)| name == package && applies(advisory, version))
    })
    .map(|advisory| advisory["id"].as_str().unwrap().to_owned())
    .collect()
}

#[test]
fn no_crate_has_a_known_vulnerability_that_is_not_explained() {
    let locked: BTreeSet<(String, Version)> = locked()
        .iter()
        .map(|p| (p["name"].as_str().unwrap().to_owned(), p["version"].as_str().unwrap().parse().unwrap()))
        .collect();
    let advisories = toml("packaging/advisories.toml");
    println!("advisories of {}", advisories["database"]);
    let ignored = list("advisories", "ignore", Some("id"));
    assert_eq!(Vec::from_iter(affected(&advisories, &locked)), ignored);
}

#[test]
fn an_advisory_applies_to_the_versions_before_the_mended_one() {
    let advisories = toml("packaging/advisories.toml");
    // RUSTSEC-2023-0096: from 0.10.0 to 0.10.2.
    for (version, applies) in [("0.9.4", false), ("0.10.0", true), ("0.10.2", true), ("0.10.3", false)] {
        let crates = BTreeSet::from([("aes-gcm".to_owned(), version.parse().unwrap())]);
        assert_eq!(affected(&advisories, &crates).contains("RUSTSEC-2023-0096"), applies, "{version}");
    }
}
