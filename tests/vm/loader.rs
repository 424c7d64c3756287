//! What Abide relies on in systemd-boot, asked of the real loaders: 252, 257 and 262.

use crate::support::World;
use abide_qemu::probe::Decision;
use abide_qemu::tiny::Release;

/// For each boot, the id of the entry that was started and the names in `EFI/Linux` then.
fn story(decisions: &[Decision]) -> Vec<(String, Vec<&str>)> {
    let tell = |decision: &Decision| match decision.selected().split_once('+') {
        // 252 keeps the counter in the id, as it was before the loader's rename.
        Some((name, _)) => format!("{name}.efi"),
        None => decision.selected(),
    };
    decisions.iter().map(|decision| (tell(decision), names(decision))).collect()
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

fn a_trial_goes_on_where_its_counter_stands(release: Release) {
    let boots = World::new("loader-second-try", release)
        .probe("edge_1.0.efi", "1.0")
        .probe("edge_2.0+2-1.efi", "2.0")
        .decisions(1);
    assert_eq!(story(&boots), told(&[("edge_2.0.efi", ["edge_1.0.efi", "edge_2.0+1-2.efi"])]));
}

fn an_exhausted_entry_is_neither_booted_nor_renamed(release: Release) {
    let boots = World::new("loader-exhausted", release)
        .probe("edge_1.0.efi", "1.0")
        .probe("edge_2.0+0-3.efi", "2.0")
        .decisions(1);
    assert_eq!(story(&boots), told(&[("edge_1.0.efi", ["edge_1.0.efi", "edge_2.0+0-3.efi"])]));
}

fn a_downgrade_is_tried_while_the_running_entry_is_demoted_then_that_one_returns(release: Release) {
    let boots = World::new("loader-demoted", release)
        .probe("edge_1.0+3-0.efi", "1.0")
        .probe("edge_2.0+0-0.efi", "2.0")
        .decisions(4);
    assert_eq!(
        story(&boots),
        told(&[
            ("edge_1.0.efi", ["edge_1.0+2-1.efi", "edge_2.0+0-0.efi"]),
            ("edge_1.0.efi", ["edge_1.0+1-2.efi", "edge_2.0+0-0.efi"]),
            ("edge_1.0.efi", ["edge_1.0+0-3.efi", "edge_2.0+0-0.efi"]),
            ("edge_2.0.efi", ["edge_1.0+0-3.efi", "edge_2.0+0-1.efi"]),
        ])
    );
}

fn a_reinstall_with_an_underscore_suffix_sorts_before_the_running_entry(release: Release) {
    let boots = World::new("loader-reinstall", release)
        .probe("edge_2.0.efi", "2.0")
        .probe("edge_2.0_2+3-0.efi", "2.0")
        .decisions(1);
    assert_eq!(story(&boots), told(&[("edge_2.0_2.efi", ["edge_2.0.efi", "edge_2.0_2+2-1.efi"])]));
}

fn a_reinstall_with_a_dash_suffix_would_never_be_tried(release: Release) {
    let boots = World::new("loader-reinstall-dash", release)
        .probe("edge_2.0.efi", "2.0")
        .probe("edge_2.0-2+3-0.efi", "2.0")
        .decisions(1);
    assert_eq!(story(&boots), told(&[("edge_2.0.efi", ["edge_2.0-2+3-0.efi", "edge_2.0.efi"])]));
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
    a_trial_goes_on_where_its_counter_stands
    an_exhausted_entry_is_neither_booted_nor_renamed
    a_downgrade_is_tried_while_the_running_entry_is_demoted_then_that_one_returns
    a_reinstall_with_an_underscore_suffix_sorts_before_the_running_entry
    a_reinstall_with_a_dash_suffix_would_never_be_tried
    linux_sees_the_try_in_the_name_and_in_the_variables
}
