//! Properties of the loader model that hold for any entries.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use abide::boot::simulation::{after_boot, boot, tries};
use abide_core::boot::LoaderConf;
use abide_core::boot::model::choice::{Settings, choose};
use abide_core::boot::model::entry::{BootPartition, Entry, EntryKind, EntryState, Starts};
use abide_core::boot::model::name::{EntryName, fold_id};
use abide_core::boot::model::order::{compare, order};
use abide_core::boot::model::quirks::Quirks;
use abide_core::boot::model::{glob, type1, uki, version};
use abide_testing::uki as fixture;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn any_quirks() -> impl Strategy<Value = Quirks> {
    (252_u32..264, 0_u32..15).prop_map(|(major, minor)| Quirks::of_release(major, minor))
}

fn any_kind() -> impl Strategy<Value = EntryKind> {
    prop_oneof![
        4 => Just(EntryKind::Uki),
        1 => Just(EntryKind::Conf(Starts::Linux)),
        1 => Just(EntryKind::Conf(Starts::Efi)),
        1 => Just(EntryKind::Conf(Starts::Uki)),
    ]
}

/// Few values for each field, so that equal ones meet.
fn any_entry() -> impl Strategy<Value = Entry> {
    let counter = option::of((0_u32..4, 0_u32..4));
    let stem = "(edge|core|Edge)_[0-2]\\.[0-9](_2|-2|~rc1)?";
    let key = option::of("(edge|core)");
    let text = option::of("[0-2](\\.[0-9]|~a|-1|_)?");
    (stem, counter, any_kind(), key, option::of("[ab]"), text, any::<bool>()).prop_map(
        |(stem, counter, kind, sort_key, machine_id, version, read_only)| {
            let counter = counter.map(|(left, done)| format!("+{left}-{done}")).unwrap_or_default();
            let suffix = if kind == EntryKind::Uki { "efi" } else { "conf" };
            Entry {
                name: EntryName::parse(&format!("{stem}{counter}.{suffix}")).unwrap(),
                partition: BootPartition::Esp,
                kind,
                title: None,
                sort_key,
                machine_id,
                version,
                options: None,
                profile: 0,
                profile_id: None,
                image_version: None,
                unversioned: false,
                starts: None,
                read_only,
            }
        },
    )
}

/// Entries of different ids: with one id twice, the loader's comparison is no order.
fn some_entries() -> impl Strategy<Value = Vec<Entry>> {
    vec(any_entry(), 0..12).prop_map(|mut entries| {
        let mut seen = std::collections::BTreeSet::new();
        entries.retain(|e| seen.insert(e.id()));
        entries
    })
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let pattern = || option::of("(edge|core|@saved|EDGE)[*]?(_[0-2]\\.[0-9]\\.efi|[*?])?");
    (pattern(), pattern(), pattern(), pattern(), pattern(), pattern()).prop_map(
        |(oneshot, preferred, default, last_booted, conf_default, conf_preferred)| Settings {
            conf: LoaderConf { default: conf_default, preferred: conf_preferred },
            oneshot,
            preferred,
            default,
            last_booted,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_comparison_is_antisymmetric_and_transitive(
        entries in vec(any_entry(), 3), quirks in any_quirks()
    ) {
        let [a, b, c] = &entries[..] else { return Ok(()) };
        prop_assume!(a.id() != b.id() && b.id() != c.id() && a.id() != c.id());
        prop_assert_eq!(compare(a, b, &quirks), compare(b, a, &quirks).reverse());
        if compare(a, b, &quirks).is_le() && compare(b, c, &quirks).is_le() {
            prop_assert!(compare(a, c, &quirks).is_le());
        }
        prop_assert!(compare(a, a, &quirks).is_eq());
    }

    #[test]
    fn the_order_keeps_every_entry_and_is_its_own_order(entries in some_entries(), quirks in any_quirks()) {
        let once = order(&entries, &quirks);
        prop_assert_eq!(&order(&once, &quirks), &once);
        let hidden = entries.iter().filter(|e| e.kind == EntryKind::Conf(Starts::Uki) && !quirks.conf_uki).count();
        prop_assert_eq!(once.len() + hidden, entries.len());
        prop_assert!(once.windows(2).all(|w| compare(&w[0], &w[1], &quirks).is_le()));
        let first_bad = once.iter().position(|e| e.state() == EntryState::Bad).unwrap_or(once.len());
        prop_assert!(once[first_bad..].iter().all(|e| e.state() == EntryState::Bad));
    }

    #[test]
    fn a_boot_changes_at_most_the_name_of_the_chosen_entry(
        entries in some_entries(), settings in any_settings(), quirks in any_quirks()
    ) {
        let Some(next) = boot(&entries, &settings, &quirks) else {
            prop_assert!(order(&entries, &quirks).is_empty());
            return Ok(());
        };
        for (before, after) in entries.iter().zip(&next.entries) {
            if *before == next.choice.entry {
                prop_assert_eq!(&after.name, &after_boot(before, &quirks));
                prop_assert_eq!(before.id(), after.id());
            } else {
                prop_assert_eq!(before, after);
            }
        }
        prop_assert_eq!(next.settings.oneshot, None);
    }

    #[test]
    fn without_settings_the_first_of_the_order_boots(entries in some_entries(), quirks in any_quirks()) {
        let chosen = choose(&entries, &Settings::default(), &quirks).map(|c| c.entry);
        prop_assert_eq!(chosen, order(&entries, &quirks).into_iter().next());
    }

    #[test]
    fn tries_run_out_and_a_good_entry_boots_in_the_end(entries in some_entries(), quirks in any_quirks()) {
        let good = |e: &Entry| e.state() == EntryState::Good;
        let mut entries = entries;
        // Read-only files and programs are not counted, and so never run out.
        entries.retain(|e| !e.read_only && e.kind != EntryKind::Conf(Starts::Efi));
        entries.extend(entries.first().map(|e| e.renamed(EntryName::parse("good.efi").unwrap())));
        prop_assume!(order(&entries, &quirks).iter().any(good));
        let last = tries(&entries, &Settings::default(), &quirks).pop().unwrap();
        prop_assert!(good(&last.entry));
    }

    #[test]
    fn versions_are_totally_ordered(
        a in "[0-2ab~^._+-]{0,6}", b in "[0-2ab~^._+-]{0,6}", c in "[0-2ab~^._+-]{0,6}"
    ) {
        prop_assert_eq!(version::compare(&a, &b), version::compare(&b, &a).reverse());
        prop_assert!(version::compare(&a, &a).is_eq());
        if version::compare(&a, &b).is_le() && version::compare(&b, &c).is_le() {
            prop_assert!(version::compare(&a, &c).is_le(), "{} {} {}", a, b, c);
        }
    }

    #[test]
    fn any_file_name_is_an_entry_or_is_not_and_reads_back(name in "\\PC{0,20}(\\+[0-9-]{0,12})?(\\.efi|\\.conf)?") {
        let Some(parsed) = EntryName::parse(&name) else { return Ok(()) };
        prop_assert_eq!(parsed.file(), &name);
        prop_assert_eq!(fold_id(&fold_id(&name)), fold_id(&name));
        if let Some(counter) = parsed.counter() {
            prop_assert_eq!(parsed.with_counter(Some(counter)).counter(), Some(counter));
        }
    }

    #[test]
    fn patterns_match_as_the_plainest_matcher_says(pattern in "[ab?*]{0,8}", text in "[ab]{0,8}") {
        fn plain(pattern: &[u8], text: &[u8]) -> bool {
            match pattern.split_first() {
                None => text.is_empty(),
                Some((b'*', rest)) => (0..=text.len()).any(|n| plain(rest, &text[n..])),
                Some((p, rest)) => {
                    text.split_first().is_some_and(|(t, more)| (p == t || *p == b'?') && plain(rest, more))
                }
            }
        }
        prop_assert_eq!(glob::matches(&pattern, &text), plain(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn a_star_in_front_only_widens_a_pattern(pattern in "[]ab\\\\\\[*?-]{0,12}", text in "[]ab\\\\\\[*?-]{0,12}") {
        let wider = glob::matches(&format!("*{pattern}"), &text);
        prop_assert!(wider || !glob::matches(&pattern, &text));
    }

    #[test]
    fn a_damaged_uki_is_an_error_or_a_uki_and_never_a_panic(
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..20), cut in any::<prop::sample::Index>()
    ) {
        let mut bytes = fixture::uki("edge", "1.0", "quiet");
        for (at, value) in damage {
            // Damage to the headers matters most.
            let at = at.index(600);
            bytes[at] = value;
        }
        let read = uki::read(std::io::Cursor::new(&bytes), true);
        prop_assert!(read.is_ok() || read.is_err());
        bytes.truncate(cut.index(bytes.len()));
        let read = uki::read(std::io::Cursor::new(&bytes), true);
        prop_assert!(read.is_ok() || read.is_err());
    }

    #[test]
    fn any_text_is_a_conf_file_or_is_not(text in "((title|linux|efi|options|version|profile)[ \t]+\\PC{0,8}\n){0,6}\\PC{0,9}") {
        if let Some(entry) = type1::parse(&text, &Quirks::NEWEST) {
            prop_assert!(!entry.target.starts_with('/'));
        }
    }
}
