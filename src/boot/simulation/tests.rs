//! The loader over several boots. A comment names the real loaders with which a case was tried.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use abide_core::boot::model::choice::Because;
use abide_core::boot::model::entry::BootPartition;
use abide_testing::entry::uki;

const ALL: [Quirks; 3] = [Quirks::V252, Quirks::V257, Quirks::NEWEST];

fn files(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|e| e.name.file()).collect()
}

fn default(pattern: &str) -> Settings {
    Settings { default: Some(pattern.into()), ..Settings::default() }
}

/// The names under which the entries of the next boots appear to the loader.
fn boots(entries: &[Entry], settings: &Settings, quirks: &Quirks, count: usize) -> Vec<String> {
    let (mut entries, mut settings) = (entries.to_vec(), settings.clone());
    let mut names = Vec::new();
    for _ in 0..count {
        let next = boot(&entries, &settings, quirks).unwrap();
        names.push(after_boot(&next.choice.entry, quirks).to_string());
        (entries, settings) = (next.entries, next.settings);
    }
    names
}

/// A Type #1 entry that says nothing but what to start.
fn conf(file: &str, starts: Starts) -> Entry {
    let name = EntryName::parse(file).unwrap();
    let kind = EntryKind::Conf(starts);
    Entry { name, kind, title: None, sort_key: None, version: None, ..uki("x.efi", "0") }
}

fn profile(file: &str, number: u32) -> Entry {
    Entry { profile: number, profile_id: Some(format!("P{number}")), ..uki(file, "1.0") }
}

#[test]
fn a_trial_uses_up_its_tries_and_the_old_entry_comes_back() {
    // Tried on 252, 257 and 262.
    let entries = [uki("edge_1.0.efi", "1.0"), uki("edge_2.0+2-0.efi", "2.0")];
    for quirks in ALL {
        assert_eq!(
            boots(&entries, &Settings::default(), &quirks, 4),
            ["edge_2.0+1-1.efi", "edge_2.0+0-2.efi", "edge_1.0.efi", "edge_1.0.efi"]
        );
    }
}

#[test]
fn a_demoted_newer_entry_comes_back_after_the_tries_of_the_older_one() {
    // Tried on 252, 257 and 262.
    let entries = [uki("edge_1.0+2-0.efi", "1.0"), uki("edge_2.0+0-0.efi", "2.0")];
    for quirks in ALL {
        assert_eq!(
            boots(&entries, &Settings::default(), &quirks, 4),
            ["edge_1.0+1-1.efi", "edge_1.0+0-2.efi", "edge_2.0+0-1.efi", "edge_2.0+0-2.efi"]
        );
    }
}

#[test]
fn the_one_shot_goes_before_everything_and_is_used_up() {
    let entries = [uki("edge_1.0+0-3.efi", "1.0"), uki("edge_2.0.efi", "2.0")];
    let settings = Settings { oneshot: Some("EDGE_1.0*".into()), ..default("edge_2.0.efi") };
    for quirks in ALL {
        let first = boot(&entries, &settings, &quirks).unwrap();
        assert_eq!(first.choice.entry.name.file(), "edge_1.0+0-3.efi", "even without tries");
        assert!(matches!(first.choice.because, Because::OneShot(_)));
        let second = boot(&first.entries, &first.settings, &quirks).unwrap();
        assert_eq!(second.choice.entry.name.file(), "edge_2.0.efi");
    }
}

#[test]
fn saved_stands_for_the_entry_that_was_booted_last() {
    let entries = [uki("edge_1.0.efi", "1.0"), uki("edge_2.0.efi", "2.0")];
    let mut settings = Settings { last_booted: Some("edge_1.0.efi".into()), ..default("@Saved") };
    for quirks in ALL {
        let first = boot(&entries, &settings, &quirks).unwrap();
        assert_eq!(first.choice.entry, entries[0]);
        assert_eq!(first.settings.last_booted.as_deref(), Some("edge_1.0.efi"));
    }
    settings.oneshot = Some("edge_2.0.efi".into());
    let after = boot(&entries, &settings, &Quirks::NEWEST).unwrap().settings;
    assert_eq!(after.last_booted.as_deref(), Some("edge_1.0.efi"), "a one-shot is not noted");
    settings.oneshot = None;
    settings.last_booted = None;
    assert_eq!(choose(&entries, &settings, &Quirks::NEWEST).unwrap().entry, entries[1]);
}

#[test]
fn what_was_booted_last_is_forgotten_where_nothing_asks_for_it() {
    let entries = [uki("edge_1.0.efi", "1.0")];
    let settings = Settings { last_booted: Some("x".into()), ..Settings::default() };
    assert_eq!(boot(&entries, &settings, &Quirks::NEWEST).unwrap().settings.last_booted, None);
}

#[test]
fn entries_that_start_an_efi_program_are_counted_before_258_only() {
    let entry = conf("tool+2-0.conf", Starts::Efi);
    assert_eq!(after_boot(&entry, &Quirks::V257).file(), "tool+1-1.conf");
    assert_eq!(after_boot(&entry, &Quirks::NEWEST).file(), "tool+2-0.conf");
    let entry = conf("os+2-0.conf", Starts::Linux);
    assert!(ALL.iter().all(|q| after_boot(&entry, q).file() == "os+1-1.conf"));
}

#[test]
fn the_suffix_of_a_counted_entry_becomes_lower_case() {
    // Tried on 257.
    assert!(ALL.iter().all(|q| after_boot(&uki("Edge+2-1.EFI", "1"), q).file() == "Edge+1-2.efi"));
    assert!(ALL.iter().all(|q| after_boot(&uki("Edge.EFI", "1"), q).file() == "Edge.EFI"));
}

#[test]
fn a_read_only_file_is_not_counted() {
    let entry = Entry { read_only: true, ..uki("edge+2-0.efi", "1") };
    assert!(ALL.iter().all(|q| after_boot(&entry, q).file() == "edge+2-0.efi"));
}

#[test]
fn a_name_without_a_counter_stays_as_it_is() {
    let entry = uki("edge+2147483648.efi", "1");
    assert!(ALL.iter().all(|q| after_boot(&entry, q).file() == "edge+2147483648.efi"));
}

#[test]
fn a_counted_uki_with_profiles_boots_the_wrong_one_on_257() {
    let counted = [uki("e+3-0.efi", "1.0"), profile("e+3-0.efi", 1)];
    let number = |q: &Quirks| choose(&counted, &Settings::default(), q).unwrap().entry.profile;
    assert_eq!(number(&Quirks::V257), 1);
    assert_eq!(number(&Quirks::NEWEST), 0);
    // All profiles are one file, and so are counted together.
    let after = boot(&counted, &Settings::default(), &Quirks::NEWEST).unwrap().entries;
    assert_eq!(files(&after), ["e+2-1.efi", "e+2-1.efi"]);
}

#[test]
fn the_loader_settles_on_the_good_entry_once_the_tries_are_used_up() {
    let entries = [uki("edge_1.0.efi", "1.0"), uki("edge_2.0+3-0.efi", "2.0")];
    for quirks in ALL {
        let choices = tries(&entries, &Settings::default(), &quirks);
        let names: Vec<&str> = choices.iter().map(|c| c.entry.name.file()).collect();
        assert_eq!(names, ["edge_2.0+3-0.efi", "edge_2.0+2-1.efi", "edge_2.0+1-2.efi", "edge_1.0.efi"]);
    }
}

#[test]
fn counters_of_any_size_do_not_keep_the_simulation_busy() {
    let entries = [uki("a+2147483647-0.efi", "1"), uki("b+2147483647.efi", "2")];
    assert!(tries(&entries, &Settings::default(), &Quirks::NEWEST).len() < 2000);
}

#[test]
fn the_same_file_on_both_partitions_is_two_entries() {
    let other = Entry { partition: BootPartition::Xbootldr, ..uki("e+2-0.efi", "1") };
    let entries = [uki("e+2-0.efi", "1"), other];
    let after = boot(&entries, &Settings::default(), &Quirks::NEWEST).unwrap().entries;
    assert_eq!(files(&after), ["e+1-1.efi", "e+2-0.efi"]);
}

#[test]
fn without_entries_nothing_boots() {
    assert!(choose(&[], &Settings::default(), &Quirks::NEWEST).is_none());
    assert!(tries(&[], &Settings::default(), &Quirks::NEWEST).is_empty());
}
