//! Whole lives of updates on a machine that is a folder, with the loader's model in place of the loader.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use abide_testing::{Image, Run, Tree};

#[test]
fn an_update_that_is_committed_stays() {
    let mut tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+3-0.efi"]);
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0+2-1.efi");
    assert_eq!(tree.status()["boot"]["kind"], "trial");
    assert_eq!(tree.status()["boot"]["attempt"], 1);
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0.efi"]);
    assert_eq!(tree.status()["update"]["userStatus"], "UPDATED");
    assert_eq!(tree.status()["boot"]["kind"], "committed");
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0.efi");
    assert_eq!(tree.status()["boot"]["kind"], "committed");
    assert_eq!(tree.status()["update"]["userStatus"], "UPDATED");
}

#[test]
fn an_update_whose_kernel_never_reports_uses_its_tries_and_is_refused() {
    let mut tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    for name in ["edge_2.0+2-1.efi", "edge_2.0+1-2.efi", "edge_2.0+0-3.efi"] {
        assert_eq!(tree.boot(), name);
    }
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    let status = tree.status();
    assert_eq!(status["boot"]["kind"], "fallback");
    assert_eq!(status["failures"][0]["version"], "2.0");
    assert_eq!(status["failures"][0]["attempts"], 3);
    assert_eq!(status["failures"][0]["phase"], "loader");
    assert_eq!(status["update"]["userStatus"], "FAILED");
    tree.boot_with_initrd("1.0");
    assert_eq!(tree.status()["boot"]["kind"], "committed");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).fails(6);
    tree.abide(&["forget", "2.0"]).ok();
    tree.abide(&["apply"]).ok();
}

#[test]
fn a_trial_that_is_rolled_back_does_not_use_up_its_tries() {
    let mut tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("2.0");
    tree.abide(&["rollback", "--reboot", "--reason", "the uplink is gone"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+0-1.efi"]);
    assert!(tree.path("run/abide/reboot-requested").exists());
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    let status = tree.status();
    assert_eq!(status["boot"]["kind"], "fallback");
    assert_eq!(status["failures"][0]["reason"], "the uplink is gone");
    assert_eq!(status["failures"][0]["attempts"], 1);
}

#[test]
fn the_root_that_was_mounted_must_carry_the_staged_version() {
    let mut tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    tree.boot();
    tree.abide(&["initrd", "early"]).ok();
    tree.mount_sysroot("1.9");
    tree.abide(&["initrd", "root"]).ok();
    assert!(tree.path("run/abide/reboot-requested").exists());
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+0-1.efi"]);
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    assert_eq!(tree.status()["failures"][0]["phase"], "initramfs");
}

#[test]
fn a_downgrade_demotes_the_running_entry_and_a_rollback_gives_its_name_back() {
    let mut tree = Tree::running("2.0");
    tree.stage("1.5", "b");
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.entries(), ["edge_1.5+3-0.efi", "edge_2.0+0-0.efi"]);
    for name in ["edge_1.5+2-1.efi", "edge_1.5+1-2.efi", "edge_1.5+0-3.efi"] {
        assert_eq!(tree.boot(), name);
    }
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0+0-1.efi");
    assert_eq!(tree.status()["boot"]["kind"], "fallback");
    assert_eq!(tree.entries(), ["edge_1.5+0-3.efi", "edge_2.0.efi"]);
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0.efi");
}

#[test]
fn a_committed_downgrade_stays_and_the_newer_system_is_kept_in_reserve() {
    let mut tree = Tree::running("2.0");
    tree.stage("1.0", "b");
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("1.0");
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+0-0.efi"]);
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    tree.abide(&["rollback"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+3-0.efi"]);
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0+2-1.efi");
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0.efi");
}

#[test]
fn a_reinstall_of_the_running_version_gets_an_own_id_that_sorts_first() {
    let mut tree = Tree::running("2.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.entries(), ["edge_2.0.efi", "edge_2.0_2+3-0.efi"]);
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0_2+2-1.efi");
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0_2.efi");
}

#[test]
fn commit_refuses_unless_the_running_slot_is_the_one_on_trial() {
    let mut tree = Tree::running("1.0");
    tree.abide(&["commit", "--now"]).fails(5);
    tree.stage("2.0", "b");
    tree.abide(&["commit", "--now"]).fails(5);
    tree.abide(&["apply"]).ok();
    tree.abide(&["commit", "--now"]).fails(5);
    for _ in 0..4 {
        tree.boot();
    }
    tree.abide(&["commit", "--now"]).fails(5);
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+0-3.efi"]);
}

#[test]
fn apply_refuses_while_the_running_system_is_on_trial() {
    let mut tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("2.0");
    tree.abide(&["apply"]).fails(6);
}

#[test]
fn apply_without_a_staged_update_has_nothing_to_do() {
    Tree::running("1.0").abide(&["apply"]).fails(5);
}

#[test]
fn apply_refuses_a_staged_uki_that_has_changed() {
    let tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    std::fs::write(tree.path("efi/EFI/Linux/staged.uki"), "something else").unwrap();
    tree.abide(&["apply"]).fails(7);
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
}

#[test]
fn apply_clears_a_pinned_default_and_a_one_shot() {
    let mut tree = Tree::running("1.0");
    tree.set_variable("LoaderEntryDefault", "edge_1.0.efi");
    tree.set_variable("LoaderEntryOneShot", "edge_1.0.efi");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.boot(), "edge_2.0+2-1.efi");
}

#[test]
fn apply_refuses_a_default_that_loader_conf_pins() {
    let tree = Tree::running("1.0");
    std::fs::write(tree.path("efi/loader/loader.conf"), "default edge_1.0.efi\n").unwrap();
    tree.stage("2.0", "b");
    let run = tree.abide(&["apply"]).fails(6);
    assert!(run.stderr.contains("default"), "{}", run.stderr);
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
}

#[test]
fn an_apply_that_was_cut_off_is_finished_by_saying_it_again() {
    let mut tree = Tree::running("2.0");
    tree.stage("1.0", "b");
    tree.abide(&["apply"]).ok();
    std::fs::rename(tree.entry("edge_2.0+0-0.efi"), tree.entry("edge_2.0.efi")).unwrap();
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0.efi");
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.boot(), "edge_1.0+2-1.efi");
}

#[test]
fn a_blessing_by_another_tool_is_understood() {
    let mut tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("2.0");
    std::fs::rename(tree.entry("edge_2.0+2-1.efi"), tree.entry("edge_2.0.efi")).unwrap();
    tree.boot_with_initrd("2.0");
    assert_eq!(tree.status()["boot"]["kind"], "committed");
    assert_eq!(tree.status()["update"]["userStatus"], "UPDATED");
}

#[test]
fn a_committed_boot_with_no_update_in_flight_writes_nothing_to_the_esp() {
    let mut tree = Tree::running("1.0");
    tree.boot_with_initrd("1.0");
    tree.status();
    assert!(!tree.path("efi/EFI/abide").exists());
    assert!(!tree.path("run/abide/trial").exists());
}

#[test]
fn tries_that_all_end_in_an_orderly_reboot_are_no_failure_of_the_image() {
    let mut tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    for _ in 0..3 {
        tree.boot_with_initrd("2.0");
        abide::update::trial::interrupt_trial(&tree.root()).unwrap();
    }
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    let status = tree.status();
    assert_eq!(status["boot"]["kind"], "fallback");
    assert!(status["boot"]["because"].as_str().unwrap().contains("orderly reboot"), "{status:#}");
    assert!(status["failures"].as_array().unwrap().is_empty(), "{status:#}");
    assert_eq!(status["update"]["userStatus"], "FAILED");
    assert_eq!(status["update"]["swErr"]["retryCondition"], "write it again");
    tree.boot_with_initrd("1.0");
    assert_eq!(tree.status()["boot"]["kind"], "committed");
    std::fs::remove_file(tree.entry("edge_2.0+0-3.efi")).unwrap();
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
}

#[test]
fn one_try_that_was_cut_off_among_orderly_reboots_is_a_failure() {
    let mut tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    for try_number in 0..3 {
        tree.boot_with_initrd("2.0");
        if try_number != 1 {
            abide::update::trial::interrupt_trial(&tree.root()).unwrap();
        }
    }
    tree.boot_with_initrd("1.0");
    let status = tree.status();
    let reason = status["failures"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("2 of them ended in an orderly reboot"), "{status:#}");
}

#[test]
fn an_update_that_the_loader_passes_over_waits_and_that_is_said() {
    let mut tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    let because = |tree: &Tree| tree.status()["boot"]["because"].as_str().unwrap().to_owned();
    assert!(because(&tree).contains("waits for the next boot"));
    tree.set_variable("LoaderEntryDefault", "edge_1.0.efi");
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    assert!(because(&tree).contains("skipped"), "{}", because(&tree));
    assert!(tree.status()["failures"].as_array().unwrap().is_empty());
}

/// 2.0 runs and is good, and so is 1.0 in the other slot.
fn both_good() -> Tree {
    let mut tree = Tree::running("1.0");
    tree.update("2.0", "b");
    tree
}

#[test]
fn a_second_name_left_by_a_power_cut_does_not_block_a_rollback() {
    let mut tree = both_good();
    // The earlier commit of 1.0 was interrupted between the two writes of its rename.
    std::fs::copy(tree.entry("edge_1.0.efi"), tree.entry("edge_1.0+2-1.efi")).unwrap();
    for _ in 0..2 {
        tree.abide(&["rollback"]).ok();
    }
    let names = tree.entries();
    assert!(names.contains(&"edge_1.0+3-0.efi".to_owned()), "{names:?}");
    assert!(!names.contains(&"edge_1.0+2-1.efi".to_owned()), "{names:?}");
    assert!(tree.entry("shared0.tmp").exists(), "to remove it would free the clusters of the other name");
    tree.boot_with_initrd("1.0");
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
}

#[test]
fn a_name_that_a_cut_has_left_without_bytes_is_not_taken_for_the_entry() {
    let mut tree = both_good();
    let entry = std::fs::read(tree.entry("edge_1.0.efi")).unwrap();
    std::fs::write(tree.entry("edge_1.0+0-0.efi"), "").unwrap();
    tree.abide(&["rollback"]).ok();
    assert_eq!(std::fs::read(tree.entry("edge_1.0+3-0.efi")).unwrap(), entry);
    assert!(!tree.entry("shared0.tmp").exists());
    tree.boot_with_initrd("1.0");
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
}

#[test]
fn an_apply_whose_rename_left_an_empty_file_is_finished_by_the_next_one() {
    let mut tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    std::fs::write(tree.entry("edge_2.0+3-0.efi"), "").unwrap();
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.boot(), "edge_2.0+2-1.efi");
}

#[test]
fn an_entry_that_was_half_removed_stays_whole_until_it_is_removed() {
    let tree = both_good();
    std::fs::copy(tree.entry("edge_1.0.efi"), tree.entry("removed.tmp")).unwrap();
    tree.abide(&["rollback"]).ok();
    assert!(tree.entry("shared0.tmp").exists() && !tree.entry("removed.tmp").exists());
    assert!(tree.entries().contains(&"edge_1.0+3-0.efi".to_owned()), "{:?}", tree.entries());
}

#[test]
fn a_failed_update_has_no_name_left_that_the_loader_would_try() {
    let mut tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0+2-1.efi");
    // An earlier attempt of the rollback was interrupted between the two writes of its rename.
    std::fs::copy(tree.entry("edge_2.0+2-1.efi"), tree.entry("edge_2.0+0-1.efi")).unwrap();
    tree.abide(&["rollback"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+0-1.efi", "edge_2.0+0-2.efi"]);
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
}

#[test]
fn an_entry_never_takes_the_name_of_another_file() {
    let tree = both_good();
    std::fs::write(tree.entry("edge_1.0+0-0.efi"), "another").unwrap();
    let run = tree.abide(&["rollback"]).fails(4);
    assert!(run.stderr.contains("edge_1.0+0-0.efi"), "{}", run.stderr);
    assert_eq!(std::fs::read(tree.entry("edge_1.0+0-0.efi")).unwrap(), b"another");
    assert!(std::fs::metadata(tree.entry("edge_1.0.efi")).unwrap().len() > 0);
}

#[test]
fn the_root_may_be_named_relative_to_the_working_folder() {
    let mut tree = Tree::running("1.0");
    std::fs::create_dir_all(tree.path("etc/abide")).unwrap();
    let check = "[[check]]\nname = 'self'\nkind = 'command'\ncommand = ['/usr/bin/self']\n";
    std::fs::write(tree.path("etc/abide/abide.toml"), check).unwrap();
    std::fs::create_dir_all(tree.path("usr/bin")).unwrap();
    std::fs::copy("/bin/true", tree.path("usr/bin/self")).unwrap();
    std::fs::write(tree.path("edge_2.0.raw"), Image::new("2.0", "b").bytes()).unwrap();
    let (name, above) = (tree.path(""), tree.path("").parent().unwrap().to_owned());
    let name = name.file_name().unwrap().to_str().unwrap().to_owned();
    let run = |from: &std::path::Path, root: &str, words: &[&str]| {
        Run::of(abide_testing::abide().current_dir(from).args(["--root", root]).args(words))
    };
    let image = format!("{name}/edge_2.0.raw");
    for words in
        [&["status", "--json"][..], &["list"], &["check"], &["config"], &["history"], &["write", &image]]
    {
        run(&above, &name, words).ok();
        run(&above, &format!("./{name}/../{name}"), words).ok();
    }
    run(&tree.path("efi"), "..", &["apply"]).ok();
    tree.boot_with_initrd("2.0");
    run(&tree.path(""), ".", &["assess", "--deadline"]).ok();
    assert!(tree.path("run/abide/reboot-requested").exists());
    let by_variable =
        abide_testing::abide().current_dir(&above).env("ABIDE_ROOT", &name).arg("list").output();
    assert!(by_variable.unwrap().status.success());
    run(&above, "", &["list"]).fails(2);
}
