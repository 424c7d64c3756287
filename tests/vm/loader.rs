//! What Abide relies on in systemd-boot, asked of the real loaders: 252, 257 and 262.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use abide_qemu::tiny::{Release, Report};
use support::World;

/// For each boot, the file as installed that was started and the names in `EFI/Linux` then.
fn story(reports: &[Report]) -> Vec<(&str, Vec<&str>)> {
    let tell = |report: &Report| report.word("tiny.file").to_owned();
    for report in reports {
        // The loader that answers is the one that was asked.
        assert!(report.variable("LoaderInfo").starts_with("systemd-boot"));
        assert!(!tell(report).is_empty());
    }
    reports.iter().map(|report| (report.word("tiny.file"), report.entries())).collect()
}

fn a_trial_is_tried_as_often_as_its_counter_says_then_the_old_entry_boots(release: Release) {
    let reports = World::new("loader-trial", release)
        .entry("edge_1.0.efi", "1.0")
        .entry("edge_2.0+3-0.efi", "2.0")
        .boots(4);
    assert_eq!(
        story(&reports),
        [
            ("edge_2.0+3-0.efi", vec!["edge_1.0.efi", "edge_2.0+2-1.efi"]),
            ("edge_2.0+3-0.efi", vec!["edge_1.0.efi", "edge_2.0+1-2.efi"]),
            ("edge_2.0+3-0.efi", vec!["edge_1.0.efi", "edge_2.0+0-3.efi"]),
            ("edge_1.0.efi", vec!["edge_1.0.efi", "edge_2.0+0-3.efi"]),
        ]
    );
    let path = |index: usize| reports[index].variable("LoaderBootCountPath");
    assert_eq!(path(0), r"\EFI\Linux\edge_2.0+2-1.efi");
    assert_eq!(path(2), r"\EFI\Linux\edge_2.0+0-3.efi");
    // A boot of an entry without a counter sets no path.
    assert_eq!(path(3), "");
    assert_eq!(reports[3].variable("LoaderEntrySelected"), "edge_1.0.efi");
}

fn a_trial_goes_on_where_its_counter_stands(release: Release) {
    let reports = World::new("loader-second-try", release)
        .entry("edge_1.0.efi", "1.0")
        .entry("edge_2.0+2-1.efi", "2.0")
        .boots(1);
    assert_eq!(story(&reports), [("edge_2.0+2-1.efi", vec!["edge_1.0.efi", "edge_2.0+1-2.efi"])]);
}

fn an_exhausted_entry_is_neither_booted_nor_renamed(release: Release) {
    let reports = World::new("loader-exhausted", release)
        .entry("edge_1.0.efi", "1.0")
        .entry("edge_2.0+0-3.efi", "2.0")
        .boots(1);
    assert_eq!(story(&reports), [("edge_1.0.efi", vec!["edge_1.0.efi", "edge_2.0+0-3.efi"])]);
}

fn a_downgrade_is_tried_while_the_running_entry_is_demoted_then_that_one_returns(release: Release) {
    let reports = World::new("loader-demoted", release)
        .entry("edge_1.0+3-0.efi", "1.0")
        .entry("edge_2.0+0-0.efi", "2.0")
        .boots(4);
    assert_eq!(
        story(&reports),
        [
            ("edge_1.0+3-0.efi", vec!["edge_1.0+2-1.efi", "edge_2.0+0-0.efi"]),
            ("edge_1.0+3-0.efi", vec!["edge_1.0+1-2.efi", "edge_2.0+0-0.efi"]),
            ("edge_1.0+3-0.efi", vec!["edge_1.0+0-3.efi", "edge_2.0+0-0.efi"]),
            ("edge_2.0+0-0.efi", vec!["edge_1.0+0-3.efi", "edge_2.0+0-1.efi"]),
        ]
    );
}

fn a_reinstall_with_an_underscore_suffix_sorts_before_the_running_entry(release: Release) {
    let reports = World::new("loader-reinstall", release)
        .entry("edge_2.0.efi", "2.0")
        .entry("edge_2.0_2+3-0.efi", "2.0")
        .boots(1);
    assert_eq!(story(&reports), [("edge_2.0_2+3-0.efi", vec!["edge_2.0.efi", "edge_2.0_2+2-1.efi"])]);
}

fn a_reinstall_with_a_dash_suffix_would_never_be_tried(release: Release) {
    let reports = World::new("loader-reinstall-dash", release)
        .entry("edge_2.0.efi", "2.0")
        .entry("edge_2.0-2+3-0.efi", "2.0")
        .boots(1);
    assert_eq!(story(&reports), [("edge_2.0.efi", vec!["edge_2.0-2+3-0.efi", "edge_2.0.efi"])]);
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
    a_trial_goes_on_where_its_counter_stands
    an_exhausted_entry_is_neither_booted_nor_renamed
    a_downgrade_is_tried_while_the_running_entry_is_demoted_then_that_one_returns
    a_reinstall_with_an_underscore_suffix_sorts_before_the_running_entry
    a_reinstall_with_a_dash_suffix_would_never_be_tried
}
