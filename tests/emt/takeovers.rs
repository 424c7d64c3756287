//! An update that EMT's own tool has applied, and that brings Abide to the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use abide::update::WholeMachine;
use abide::update::takeover::{self, Takeover};
use abide_core::update::machine::Machine;
use abide_core::update::step::perform_all;
use abide_testing::Tree;
use abide_testing::uki::uki;

use crate::{FILE_CHECK, cmdline, configure, image, machine, publish, tool};

/// EMT's own tool has put another build of 3.0 into slot b and applied it: once, with the old entry as the default.
fn applied_by_stock_tool() -> Tree {
    let mut tree = machine();
    fs::write(tree.entry("linux-2.efi"), uki("edge", "3.0", &cmdline("b"))).unwrap();
    fs::create_dir_all(tree.entry("os-update-tool-data")).unwrap();
    fs::write(tree.entry("os-update-tool-data/linux.bak"), "a copy of the UKI").unwrap();
    tree.set_variable("LoaderEntryDefault", "linux.efi");
    tree.set_variable("LoaderEntryOneShot", "linux-2.efi");
    assert_eq!(tree.boot(), "linux-2.efi");
    tree
}

#[test]
fn an_update_that_the_stock_tool_has_applied_is_taken_over() {
    let mut tree = applied_by_stock_tool();
    tool(&tree, &["-c"]).ok();
    assert!(!tree.variable("LoaderEntryDefault").exists());
    assert!(!tree.entry("os-update-tool-data/linux.bak").exists());
    // The old one would sort first.
    assert_eq!(tree.entries(), ["linux+0-0.efi", "linux-2.efi"]);
    assert_eq!(tree.boot_with_initrd("3.0"), "linux-2.efi");
    let status = tree.status();
    assert_eq!(status["boot"]["kind"], "committed");
    assert_eq!((&status["slots"][0]["good"], &status["slots"][1]["running"]), (&true.into(), &true.into()));
    tree.abide(&["rollback"]).ok();
    assert_eq!(tree.boot(), "linux+2-1.efi");
}

#[test]
fn what_the_stock_tool_applied_and_nobody_committed_is_no_good_system() {
    let mut tree = applied_by_stock_tool();
    let slots = || ["dev/sda2", "dev/sda6"].map(|slot| fs::read(tree.path(slot)).unwrap());
    let before = slots();
    let (path, sha256) = publish(&tree, "edge.raw.gz", &image("3.1", "a"));
    let why = "linux-2.efi was booted once by EMT's own tool and is not committed";
    let remedy = "`os-update-tool.sh -c` commits it";
    let run = tool(&tree, &["-w", "-a", "-u", &path, "-s", &sha256]).fails(3);
    assert!(run.stderr.contains(why) && run.stderr.contains(remedy), "{}", run.stderr);
    let write = ["write", path.as_str(), "--sha256", sha256.as_str()];
    for words in [write.as_slice(), &["rollback"], &["cancel"], &["doctor", "--fix"]] {
        let run = tree.abide(words).fails(6);
        assert!(run.stderr.contains(why), "{words:?}: {}{}", run.stdout, run.stderr);
    }
    for words in [&["commit"][..], &["commit", "--now"]] {
        let run = tree.abide(words).fails(5);
        assert!(run.stderr.contains(why) && run.stderr.contains(remedy), "{}", run.stderr);
    }
    assert_eq!(slots(), before);
    assert!(tree.variable("LoaderEntryDefault").exists());
    assert_eq!(tree.entries(), ["linux-2.efi", "linux.efi"]);

    assert_eq!(tree.status()["boot"]["kind"], "unknown");
    for command in ["status", "list"] {
        assert!(tree.abide(&[command]).ok().stdout.contains(why), "{command}");
    }
    let found = tree.abide(&["doctor"]).stdout;
    assert!(found.contains(why) && !found.contains("LoaderEntryDefault"), "{found}");
    tool(&tree, &["-c"]).ok();
    assert_eq!(tree.boot_with_initrd("3.0"), "linux-2.efi");
    tool(&tree, &["-w", "-u", &path, "-s", &sha256]).ok();
}

#[test]
fn every_entry_of_the_old_system_that_would_come_first_is_demoted() {
    let tree = applied_by_stock_tool();
    let conf = tree.path("efi/loader/entries/emt_user_kernel_param.conf");
    fs::create_dir_all(conf.parent().unwrap()).unwrap();
    fs::write(&conf, format!("title EMT\nefi /EFI/Linux/linux.efi\noptions {}\n", cmdline("a"))).unwrap();
    tree.set_variable("LoaderEntryDefault", "emt_user_kernel_param.conf");
    let mut tree = tree;
    tool(&tree, &["-c"]).ok();
    assert_eq!(tree.entries(), ["linux+0-0.efi", "linux-2.efi"]);
    assert_eq!(tree.boot_with_initrd("3.0"), "linux-2.efi");
    tree.abide(&["rollback"]).ok();
    assert_eq!(tree.boot(), "linux+2-1.efi");
}

#[test]
fn a_takeover_is_recorded_and_announced_as_a_commit() {
    let tree = applied_by_stock_tool();
    let ran = tree.path("ran");
    let script = tree.path("etc/abide/committed.d/x");
    fs::create_dir_all(script.parent().unwrap()).unwrap();
    fs::write(&script, format!("#!/bin/sh\ntouch {}\n", ran.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(tree.path("usr/lib")).unwrap();
    fs::write(tree.path("usr/lib/os-release"), "ID=edge\nIMAGE_VERSION=3.0\nABIDE_SECURITY_EPOCH=2.9\n")
        .unwrap();
    tool(&tree, &["-c"]).ok();
    assert!(ran.exists());
    let history = tree.abide(&["history"]).ok().stdout;
    assert!(history.contains("3.0") && history.contains("committed"), "{history}");
    assert_eq!(tree.state().floor.as_deref(), Some("2.9"));
    assert_eq!(tree.status()["update"]["userStatus"], "UPDATED");
}

#[test]
fn what_boots_next_is_committed_on_evidence_unless_it_is_the_old_system() {
    let mut tree = applied_by_stock_tool();
    // Somebody has cleared the default, and the new system sorts first.
    fs::remove_file(tree.variable("LoaderEntryDefault")).unwrap();
    fs::remove_file(tree.entry("linux.efi")).unwrap();
    fs::remove_file(tree.path("opt/ready")).unwrap();
    configure(&tree, &format!("{FILE_CHECK}[emt]\ncommit_wait = '1s'\n"));
    assert!(tool(&tree, &["-c"]).fails(4).stderr.contains("check 'app'"));
    assert!(tree.entry("os-update-tool-data/linux.bak").exists());
    fs::write(tree.path("opt/ready"), "").unwrap();
    tool(&tree, &["-c"]).ok();
    assert!(!tree.entry("os-update-tool-data/linux.bak").exists());
    assert_eq!(tree.boot(), "linux-2.efi");
}

#[test]
fn nothing_is_taken_over_where_the_variables_cannot_be_read() {
    let tree = applied_by_stock_tool();
    // By the names alone the new system would seem to boot next already.
    fs::remove_file(tree.entry("linux.efi")).unwrap();
    fs::remove_dir_all(tree.path("sys/firmware")).unwrap();
    let (path, sha256) = publish(&tree, "edge.raw.gz", &image("3.1", "a"));
    for (words, code) in [(&["-c"][..], 4), (&["-w", "-u", &path, "-s", &sha256], 3)] {
        let run = tool(&tree, words).fails(code);
        assert!(
            run.stderr.contains("EFI variables") && run.stderr.contains("mount efivarfs"),
            "{}",
            run.stderr
        );
    }
    assert!(tree.entry("os-update-tool-data/linux.bak").exists());
}

#[test]
fn a_takeover_that_is_cut_off_anywhere_leaves_both_systems_bootable() {
    let open = |tree: &Tree| <Machine as WholeMachine>::open_to_change(&tree.root(), None).unwrap();
    let count = match takeover::find(&open(&applied_by_stock_tool())).unwrap() {
        Takeover::Open { steps, .. } => steps.len(),
        other => panic!("{other:?}"),
    };
    for (done, with_variables) in (0..=count).flat_map(|done| [(done, true), (done, false)]) {
        let mut tree = applied_by_stock_tool();
        let mut machine = open(&tree);
        let Takeover::Open { steps, .. } = takeover::find(&machine).unwrap() else { panic!("{done}") };
        perform_all(&mut machine, &steps[..done]).unwrap();
        drop(machine);
        assert_eq!(tree.entries().len(), 2);
        // The firmware may have lost its variables.
        if !with_variables {
            fs::remove_file(tree.variable("LoaderEntryDefault")).unwrap_or_default();
        }
        let booted = tree.boot();
        let is_new = booted == "linux-2.efi";
        assert!(is_new || booted == "linux.efi", "{done}: {booted}");
        assert!(is_new || done < count, "{done}: {booted}");
        // The call is repeated, and whatever boots then stays.
        tool(&tree, &["-c"]).ok();
        assert_eq!(tree.state().takeover, None);
        assert!(!tree.entry("os-update-tool-data/linux.bak").exists(), "{done}");
        // A commit that was cut off has its line in the history; one that did not happen has none.
        let history = tree.abide(&["history"]).ok().stdout;
        assert_eq!(history.contains("committed"), is_new, "{done}: {history}");
        assert_eq!(tree.boot() == "linux-2.efi", is_new, "{done}");
    }
}

#[test]
fn the_stock_tools_update_is_taken_over_on_evidence_alone() {
    let mut tree = applied_by_stock_tool();
    fs::remove_file(tree.path("opt/ready")).unwrap();
    configure(&tree, &format!("{FILE_CHECK}[emt]\ncommit_wait = '1s'\n"));
    assert!(tool(&tree, &["-c"]).fails(4).stderr.contains("check 'app': "));
    assert_eq!(tree.entries(), ["linux-2.efi", "linux.efi"]);
    // The machine falls back: nothing to take over, and nothing to complain about.
    assert_eq!(tree.boot(), "linux.efi");
    tool(&tree, &["-c"]).ok();
    assert!(!tree.entry("os-update-tool-data/linux.bak").exists());
    assert_eq!(tree.boot(), "linux.efi");
    tool(&tree, &["-c"]).fails(1);
}

#[test]
fn what_the_loader_would_really_boot_decides_over_a_takeover() {
    let tree = applied_by_stock_tool();
    let conf = tree.path("efi/loader/loader.conf");
    fs::write(&conf, "default emt_user_kernel_param.conf\n").unwrap();
    let entry = tree.path("efi/loader/entries/emt_user_kernel_param.conf");
    fs::create_dir_all(entry.parent().unwrap()).unwrap();
    fs::write(&entry, format!("title EMT\nefi /EFI/Linux/linux.efi\noptions {}\n", cmdline("a"))).unwrap();
    let run = tool(&tree, &["-c"]).fails(4);
    assert!(run.stderr.contains("emt_user_kernel_param.conf"), "{}", run.stderr);
    assert_eq!(tree.entries(), ["linux-2.efi", "linux.efi"]);
    // A default that names no entry pins nothing.
    fs::remove_file(&entry).unwrap();
    tool(&tree, &["-c"]).ok();
}
