//! What Abide relies on in systemd-boot, asked of the real loaders: 252, 257 and 262.

use abide_qemu::decision::LoaderEnd;
use abide_qemu::judge::ask;
use abide_qemu::pe::{append_sections, executable};
use abide_qemu::probe::Decision;
use abide_qemu::small_disk::File;
use abide_qemu::tiny::{Parts, Release};

use crate::model::judged::{Tree, entries, selected};
use crate::support::World;

/// For each boot, the id of the entry that was started and the names in `EFI/Linux` then.
fn story(decisions: &[Decision]) -> Vec<(String, Vec<&str>)> {
    decisions.iter().map(|decision| (without_counter(&decision.selected()), names(decision))).collect()
}

/// 252 keeps the counter in the id, as it was before the loader's rename.
fn without_counter(id: &str) -> String {
    id.split_once('+').map_or_else(|| id.to_owned(), |(name, _)| format!("{name}.efi"))
}

fn names(decision: &Decision) -> Vec<&str> {
    decision.entries.iter().map(String::as_str).collect()
}

/// The story as it should be.
fn told<'a>(boots: &[(&str, [&'a str; 2])]) -> Vec<(String, Vec<&'a str>)> {
    boots.iter().map(|(id, names)| (id.to_string(), names.to_vec())).collect()
}

fn a_trial_is_tried_as_often_as_its_counter_says_then_the_old_entry_boots(release: Release) {
    let boots = World::new("loader-trial", release)
        .probe("edge_1.0.efi", "1.0")
        .probe("edge_2.0+3-0.efi", "2.0")
        .decisions(4);
    assert_eq!(
        story(&boots),
        told(&[
            ("edge_2.0.efi", ["edge_1.0.efi", "edge_2.0+2-1.efi"]),
            ("edge_2.0.efi", ["edge_1.0.efi", "edge_2.0+1-2.efi"]),
            ("edge_2.0.efi", ["edge_1.0.efi", "edge_2.0+0-3.efi"]),
            ("edge_1.0.efi", ["edge_1.0.efi", "edge_2.0+0-3.efi"]),
        ])
    );
    let path = |index: usize| boots[index].variable("LoaderBootCountPath");
    assert_eq!(path(0), r"\EFI\Linux\edge_2.0+2-1.efi");
    assert_eq!(path(2), r"\EFI\Linux\edge_2.0+0-3.efi");
    // A boot of an entry without a counter sets no path.
    assert_eq!(path(3), "");
    assert_eq!(boots[3].variable("LoaderEntrySelected"), "edge_1.0.efi");
}

/// What the names in `EFI/Linux` are, and after each boot from there the entry that was started and the names then.
struct Rule {
    names: [&'static str; 2],
    boots: &'static [(&'static str, [&'static str; 2])],
}

const RULES: &[Rule] = &[
    // A trial goes on where its counter stands.
    Rule {
        names: ["edge_1.0.efi", "edge_2.0+2-1.efi"],
        boots: &[("edge_2.0.efi", ["edge_1.0.efi", "edge_2.0+1-2.efi"])],
    },
    // An exhausted entry is neither booted nor renamed.
    Rule {
        names: ["edge_1.0.efi", "edge_2.0+0-3.efi"],
        boots: &[("edge_1.0.efi", ["edge_1.0.efi", "edge_2.0+0-3.efi"])],
    },
    // A downgrade is tried while the running entry is demoted; then that one returns.
    Rule {
        names: ["edge_1.0+3-0.efi", "edge_2.0+0-0.efi"],
        boots: &[
            ("edge_1.0.efi", ["edge_1.0+2-1.efi", "edge_2.0+0-0.efi"]),
            ("edge_1.0.efi", ["edge_1.0+1-2.efi", "edge_2.0+0-0.efi"]),
            ("edge_1.0.efi", ["edge_1.0+0-3.efi", "edge_2.0+0-0.efi"]),
            ("edge_2.0.efi", ["edge_1.0+0-3.efi", "edge_2.0+0-1.efi"]),
        ],
    },
    // A reinstall with an underscore suffix sorts before the running entry.
    Rule {
        names: ["edge_2.0.efi", "edge_2.0_2+3-0.efi"],
        boots: &[("edge_2.0_2.efi", ["edge_2.0.efi", "edge_2.0_2+2-1.efi"])],
    },
    // With a dash suffix it would never be tried.
    Rule {
        names: ["edge_2.0-2+3-0.efi", "edge_2.0.efi"],
        boots: &[("edge_2.0.efi", ["edge_2.0-2+3-0.efi", "edge_2.0.efi"])],
    },
];

/// A UKI whose version is that of its name.
fn uki(name: &str) -> File {
    let version = name.trim_start_matches("edge_").get(..3).unwrap();
    let release =
        format!("ID=tiny\nIMAGE_ID=edge\nIMAGE_VERSION={version}\nPRETTY_NAME=\"edge {version}\"\n");
    let sections = [(".osrel", release.as_bytes()), (".linux", &b"x"[..])];
    let content = append_sections(&executable(&[0xc3]), &sections).unwrap();
    File { path: format!("EFI/Linux/{name}"), content, read_only: false }
}

/// Asked in one power-on: each boot begins with the names that the one before it must have left.
fn the_rules_that_abide_relies_on_hold(release: Release) {
    let (mut trees, mut expected) = (Vec::new(), Vec::new());
    for rule in RULES {
        let mut names = rule.names;
        for (id, after) in rule.boots {
            let esp = names.map(uki).to_vec();
            trees.push(Tree { esp, xbootldr: None, variables: vec![], broken: vec![] });
            expected.push((names, id.to_string(), after.map(str::to_owned).to_vec()));
            names = *after;
        }
    }
    let cases: Vec<_> = trees.iter().map(Tree::case).collect();
    let loader = Parts::get().unwrap().loader(release).unwrap();
    let decisions = ask(&format!("loader-rules-{release}"), &loader, &cases).unwrap();
    assert_eq!(decisions.len(), expected.len());
    for (decision, (names, id, after)) in decisions.iter().zip(expected) {
        assert!(matches!(decision.end, LoaderEnd::Started { .. }), "{names:?}: {:?}", decision.end);
        assert_eq!((without_counter(&selected(decision)), entries(decision)), (id, after), "{names:?}");
    }
}

/// The same asked by Linux: what its vfat driver and efivarfs show of the loader's work.
fn linux_sees_the_try_in_the_name_and_in_the_variables(release: Release) {
    let boots = World::new("loader-linux", release)
        .entry("edge_1.0.efi", "1.0")
        .entry("edge_2.0+1-2.efi", "2.0")
        .boots(2);
    assert_eq!(boots[0].word("tiny.file"), "edge_2.0+1-2.efi");
    assert_eq!(boots[0].entries(), ["edge_1.0.efi", "edge_2.0+0-3.efi"]);
    assert_eq!(boots[0].variable("LoaderBootCountPath"), r"\EFI\Linux\edge_2.0+0-3.efi");
    assert_eq!(boots[1].word("tiny.file"), "edge_1.0.efi");
    assert_eq!(boots[1].variable("LoaderEntrySelected"), "edge_1.0.efi");
    assert_eq!(boots[1].variable("LoaderBootCountPath"), "");
}

/// Each case as a test of its own for each loader.
macro_rules! on_each_loader {
    ($($case:ident)*) => {
        on_each_loader! { @ systemd_252 Bookworm: $($case)* }
        on_each_loader! { @ systemd_257 Trixie: $($case)* }
        on_each_loader! { @ systemd_262 Forky: $($case)* }
    };
    (@ $module:ident $release:ident: $($case:ident)*) => {
        mod $module {
            $(#[test]
            fn $case() {
                super::$case(abide_qemu::tiny::Release::$release);
            })*
        }
    };
}

on_each_loader! {
    a_trial_is_tried_as_often_as_its_counter_says_then_the_old_entry_boots
    the_rules_that_abide_relies_on_hold
    linux_sees_the_try_in_the_name_and_in_the_variables
}
