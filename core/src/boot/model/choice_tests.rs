//! The model, rule by rule. A comment names the real loaders with which a case was tried.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use crate::boot::model::choice::{Because, Settings, choose};
use crate::boot::model::entry::{Entry, Starts};
use crate::boot::model::order::{loader_id, order};
use crate::boot::model::quirks::{IdStyle, Quirks};
use crate::boot::tests::{conf, uki};

const ALL: [Quirks; 3] = [Quirks::V252, Quirks::V257, Quirks::NEWEST];

fn ordered(entries: &[Entry], quirks: &Quirks) -> Vec<String> {
    order(entries, quirks).iter().map(|e| e.name.file().to_owned()).collect()
}

fn default(pattern: &str) -> Settings {
    Settings { default: Some(pattern.into()), ..Settings::default() }
}

fn profile(file: &str, number: u32) -> Entry {
    Entry { profile: number, profile_id: Some(format!("P{number}")), ..uki(file, "1.0") }
}

#[test]
fn a_pinned_default_wins_over_a_trial() {
    // Tried on 252, 257 and 262.
    let entries = [uki("edge_1.0.efi", "1.0"), uki("edge_2.0+1-1.efi", "2.0")];
    for quirks in ALL {
        let choice = choose(&entries, &default("edge_1.0.efi"), &quirks).unwrap();
        assert_eq!(choice.entry.name.file(), "edge_1.0.efi");
        assert!(!matches!(choice.because, Because::First(..)));
    }
}

#[test]
fn a_reinstall_sorts_first_with_an_underscore_and_last_with_a_dash() {
    // Tried on 252, 257 and 262.
    let entries =
        [uki("edge_2.0.efi", "2.0"), uki("edge_2.0-2+3-0.efi", "2.0"), uki("edge_2.0_2+3-0.efi", "2.0")];
    for quirks in ALL {
        assert_eq!(ordered(&entries, &quirks), ["edge_2.0_2+3-0.efi", "edge_2.0.efi", "edge_2.0-2+3-0.efi"]);
    }
}

#[test]
fn entries_without_a_sort_key_come_after_those_with_one_and_newest_id_first() {
    let entries = [
        conf("b-1.conf", Starts::Linux),
        conf("b-10.conf", Starts::Linux),
        uki("edge_1.0.efi", "1.0"),
        conf("b-9.conf", Starts::Linux),
    ];
    for quirks in ALL {
        assert_eq!(ordered(&entries, &quirks), ["edge_1.0.efi", "b-10.conf", "b-9.conf", "b-1.conf"]);
    }
}

#[test]
fn sort_keys_ascend_and_machines_group_before_versions_descend() {
    let with = |file: &str, key: &str, machine: Option<&str>, version: &str| Entry {
        sort_key: Some(key.into()),
        machine_id: machine.map(str::to_owned),
        ..uki(file, version)
    };
    let entries = [
        with("5.efi", "b", None, "9"),
        with("4.efi", "a", Some("m2"), "3"),
        with("3.efi", "a", Some("m1"), "1"),
        with("2.efi", "a", Some("m1"), "2"),
        with("1.efi", "a", None, "0"),
    ];
    for quirks in ALL {
        assert_eq!(ordered(&entries, &quirks), ["1.efi", "2.efi", "3.efi", "4.efi", "5.efi"]);
    }
}

#[test]
fn bad_entries_come_last_whatever_their_version() {
    let entries = [uki("edge_3.0+0-3.efi", "3.0"), uki("edge_1.0.efi", "1.0"), conf("a.conf", Starts::Efi)];
    for quirks in ALL {
        assert_eq!(ordered(&entries, &quirks), ["edge_1.0.efi", "a.conf", "edge_3.0+0-3.efi"]);
    }
}

#[test]
fn of_one_id_the_entry_with_more_tries_left_comes_first() {
    let entries = [uki("e+1-0.efi", "1"), uki("e+2-1.efi", "1"), uki("e+2-0.efi", "1")];
    for quirks in [Quirks::V257, Quirks::NEWEST] {
        assert_eq!(ordered(&entries, &quirks), ["e+2-0.efi", "e+2-1.efi", "e+1-0.efi"]);
    }
    // With the counter in the id, the ids decide: more used tries look newer.
    assert_eq!(ordered(&entries, &Quirks::V252), ["e+2-1.efi", "e+2-0.efi", "e+1-0.efi"]);
}

#[test]
fn a_default_boots_a_bad_entry_for_ever_where_a_preferred_one_gives_way() {
    let entries = [uki("edge_1.0.efi", "1.0"), uki("edge_2.0+0-3.efi", "2.0")];
    let preferred = Settings { preferred: Some("edge_2.0*".into()), ..Settings::default() };
    for quirks in ALL {
        assert_eq!(choose(&entries, &default("edge_2.0*"), &quirks).unwrap().entry, entries[1]);
        assert_eq!(choose(&entries, &preferred, &quirks).unwrap().entry, entries[0]);
    }
}

#[test]
fn preferred_is_known_since_260_and_the_variable_goes_before_the_file() {
    let entries = [uki("edge_1.0.efi", "1.0"), uki("edge_2.0.efi", "2.0"), uki("edge_3.0.efi", "3.0")];
    let mut settings = Settings { preferred: Some("edge_1*".into()), ..Settings::default() };
    settings.conf.preferred = Some("edge_2*".into());
    let file = |quirks| choose(&entries, &settings, &quirks).unwrap().entry.name.file().to_owned();
    assert_eq!(file(Quirks::of_release(259, 5)), "edge_3.0.efi");
    assert_eq!(file(Quirks::of_release(260, 0)), "edge_1.0.efi");
}

#[test]
fn the_default_in_the_file_counts_where_the_variable_matches_nothing() {
    let entries = [uki("edge_1.0.efi", "1.0"), uki("edge_2.0.efi", "2.0")];
    let mut settings = default("nothing*");
    settings.conf.default = Some("Edge_1.?.EFI".into());
    for quirks in ALL {
        assert_eq!(choose(&entries, &settings, &quirks).unwrap().entry, entries[0]);
    }
}

#[test]
fn before_257_10_a_pattern_must_match_the_counter_too() {
    let entries = [uki("edge_1.0.efi", "1.0"), uki("edge_0.9+2-1.efi", "0.9")];
    let file =
        |quirks| choose(&entries, &default("edge_0.9.efi"), &quirks).unwrap().entry.name.file().to_owned();
    assert_eq!(file(Quirks::V252), "edge_1.0.efi");
    assert_eq!(file(Quirks::V257), "edge_0.9+2-1.efi");
    assert_eq!(file(Quirks::NEWEST), "edge_0.9+2-1.efi");
}

#[test]
fn ids_keep_capitals_where_the_loader_forgets_to_fold_them() {
    let id = |entry: &Entry, quirks: &Quirks| loader_id(entry, quirks);
    let (counted, plain) = (uki("Edge_1+2-1.EFI", "1"), uki("Edge_1.EFI", "1"));
    let counted_conf = conf("Edge_1+2-1.CONF", Starts::Linux);
    assert_eq!(id(&counted, &Quirks::V252), "edge_1+2-1.efi");
    assert_eq!(id(&counted, &Quirks::V257), "Edge_1.efi");
    assert_eq!(id(&counted, &Quirks::NEWEST), "Edge_1.efi");
    assert_eq!(id(&counted_conf, &Quirks::V257), "Edge_1.conf");
    assert_eq!(id(&counted_conf, &Quirks::NEWEST), "edge_1.conf");
    assert!(ALL.iter().all(|q| id(&plain, q) == "edge_1.efi"));
}

#[test]
fn entries_of_later_kinds_are_not_shown_by_older_loaders() {
    let entries =
        [conf("a.conf", Starts::Uki), conf("b.conf", Starts::UkiUrl), conf("c.conf", Starts::Linux)];
    assert_eq!(ordered(&entries, &Quirks::V257), ["c.conf"]);
    assert_eq!(ordered(&entries, &Quirks::NEWEST).len(), 3);
}

#[test]
fn capitals_do_not_hide_an_auto_file_from_252_to_256() {
    let entries = [uki("AUTO-x.efi", "1")];
    assert_eq!(ordered(&entries, &Quirks::V252), ["AUTO-x.efi"]);
    assert!(ordered(&entries, &Quirks::V257).is_empty());
}

#[test]
fn profiles_beyond_the_first_are_entries_since_257_and_never_chosen_by_261() {
    let plain = [uki("e.efi", "1.0"), profile("e.efi", 1), profile("e.efi", 2)];
    let numbers = |q: &Quirks| order(&plain, q).iter().map(|e| e.profile).collect::<Vec<_>>();
    assert_eq!(numbers(&Quirks::V252), [0]);
    assert_eq!(numbers(&Quirks::V257), [0, 1, 2]);
    assert_eq!(numbers(&Quirks::NEWEST), [0, 1, 2]);
    let only = [profile("e.efi", 1)];
    assert!(choose(&only, &Settings::default(), &Quirks::NEWEST).is_none());
}

#[test]
fn the_reasons_name_the_setting() {
    let entries = [uki("edge_1.0.efi", "1.0"), uki("edge_2.0+1-0.efi", "2.0")];
    let because = |s: &Settings| choose(&entries, s, &Quirks::NEWEST).unwrap().because.to_string();
    assert_eq!(because(&Settings::default()), "highest version with tries left");
    assert_eq!(because(&default("Edge_1*")), "pinned default (LoaderEntryDefault is edge_1*)");
    assert_eq!(IdStyle::Stripped, Quirks::NEWEST.id);
}
