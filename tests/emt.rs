//! Called as the tools of Intel's Edge Microvisor Toolkit, on a machine laid out as that does it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;

use abide::update::WholeMachine;
use abide::update::takeover::{self, Takeover};
use abide_core::update::machine::Machine;
use abide_core::update::step::perform_all;
use abide_testing::tree::{digest, partuuid};
use abide_testing::uki::uki;
use abide_testing::{Answer, Image, Run, Tree, program, serve};
use nix::fcntl::{Flock, FlockArg};

/// What the running UKI and the image's say; EMT names the root's UUID twice.
fn cmdline(slot: &str) -> String {
    let uuid = partuuid(slot);
    format!("root=PARTUUID={uuid} boot_uuid={uuid} panic=10")
}

/// A check that passes while /opt/ready exists.
const FILE_CHECK: &str = "[[check]]\nname = 'app'\nkind = 'file'\npath = '/opt/ready'\n";

fn configure(tree: &Tree, text: &str) {
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
}

/// 3.0 runs from p2, as EMT installs it; p6 is free.
fn machine() -> Tree {
    let mut tree = Tree::running("3.0");
    fs::remove_file(tree.entry("edge_3.0.efi")).unwrap();
    fs::write(tree.entry("linux.efi"), uki("edge", "3.0", &cmdline("a"))).unwrap();
    let dev = tree.path("dev");
    fs::rename(dev.join("sda3"), dev.join("sda6")).unwrap();
    for dir in ["by-partlabel", "by-partuuid"] {
        fs::remove_dir_all(dev.join("disk").join(dir)).unwrap();
        fs::create_dir(dev.join("disk").join(dir)).unwrap();
    }
    for (label, slot, node) in [("rootfs", "a", "sda2"), ("rootfs_b", "b", "sda6")] {
        for link in [format!("by-partlabel/{label}"), format!("by-partuuid/{}", partuuid(slot))] {
            symlink(format!("../../{node}"), dev.join("disk").join(link)).unwrap();
        }
    }
    fs::create_dir_all(tree.path("etc")).unwrap();
    fs::create_dir_all(tree.path("opt")).unwrap();
    fs::write(tree.path("opt/ready"), "").unwrap();
    configure(&tree, FILE_CHECK);
    fs::write(tree.path("etc/image-id"), "BUILD_NUMBER=7\nIMAGE_BUILD_DATE=20260101\nIMAGE_UUID=11-22\n")
        .unwrap();
    tree.boot();
    tree
}

fn image(version: &str, slot: &str) -> Vec<u8> {
    Image { root_label: "rootfs".into(), ..Image::with_cmdline(version, &cmdline(slot)) }.gz()
}

fn tool(tree: &Tree, words: &[&str]) -> Run {
    tree.called("os-update-tool.sh", words)
}

/// Puts a file beside the tree; its path and digest.
fn publish(tree: &Tree, name: &str, bytes: &[u8]) -> (String, String) {
    let path = tree.path(name);
    fs::write(&path, bytes).unwrap();
    (path.to_str().unwrap().to_owned(), digest(bytes))
}

#[test]
fn the_active_partition_and_the_image_are_shown() {
    let tree = machine();
    let shown = tool(&tree, &["-v"]).ok().stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines, ["os-update-tool ver-2.9", "", "Active partition: /dev/sda2", "Image UUID: 11-22"]);
}

#[test]
fn help_and_mistakes_exit_with_1() {
    let tree = machine();
    assert!(tool(&tree, &["-h"]).fails(1).stdout.starts_with("os-update-tool ver-"));
    tool(&tree, &[]).fails(1);
    tool(&tree, &["-x"]).fails(1);
    tool(&tree, &["-w", "-u", "/no/such", "-s", &"0".repeat(64)]).fails(1);
    tool(&tree, &["-a"]).fails(1);
    tool(&tree, &["-c"]).fails(1);
    tree.called("os-update.sh", &[]).fails(1);
    tree.called("os-update.sh", &["-h"]).ok();
    tool(&tree, &["--dev", "-a"]).fails(1);
}

#[test]
fn the_manual_procedure_updates_back_and_forth() {
    let mut tree = machine();
    let (path, sha256) = publish(&tree, "edge.raw.gz", &image("3.1", "b"));
    tool(&tree, &["-w", "-u", &path, "-s", &sha256]).ok();
    assert_eq!(tree.entries(), ["linux.efi"]);
    tool(&tree, &["-a"]).ok();
    assert_eq!(tree.entries(), ["edge_3.1+3-0.efi", "linux.efi"]);
    assert_eq!(tree.boot_with_initrd("3.1"), "edge_3.1+2-1.efi");
    assert!(tool(&tree, &["-v"]).ok().stdout.contains("Active partition: /dev/sda6"));
    tool(&tree, &["-c"]).ok();
    assert_eq!(tree.entries(), ["edge_3.1.efi", "linux.efi"]);
    tool(&tree, &["-c"]).ok();

    let (path, sha256) = publish(&tree, "edge.raw.gz", &image("3.2", "a"));
    tool(&tree, &["-w", "-a", "-u", &path, "-s", &sha256]).ok();
    assert_eq!(tree.entries(), ["edge_3.1.efi", "edge_3.2+3-0.efi"]);
    assert_eq!(tree.boot_with_initrd("3.2"), "edge_3.2+2-1.efi");
    tool(&tree, &["-c"]).ok();
    assert_eq!(tree.entries(), ["edge_3.1.efi", "edge_3.2.efi"]);
}

/// 3.1 is on trial in slot b.
fn on_trial() -> Tree {
    let mut tree = machine();
    let (path, sha256) = publish(&tree, "edge.raw.gz", &image("3.1", "b"));
    tool(&tree, &["-w", "-a", "-u", &path, "-s", &sha256]).ok();
    assert_eq!(tree.boot_with_initrd("3.1"), "edge_3.1+2-1.efi");
    tree
}

#[test]
fn a_commit_after_a_fallback_says_why_and_exits_as_upstream_does() {
    let mut tree = machine();
    let (path, sha256) = publish(&tree, "edge.raw.gz", &image("3.1", "b"));
    tool(&tree, &["-w", "-a", "-u", &path, "-s", &sha256]).ok();
    for _ in 0..3 {
        tree.boot();
    }
    for _ in 0..2 {
        assert_eq!(tree.boot_with_initrd("3.0"), "linux.efi");
        let run = tool(&tree, &["-c"]).ok();
        assert!(run.stderr.contains("3.1 was rolled back: 3 tries used up"), "{}", run.stderr);
        assert_eq!(tree.entries(), ["edge_3.1+0-3.efi", "linux.efi"]);
    }
    assert_eq!(tree.state().update.unwrap().stage, abide_core::state::Stage::Failed);
}

#[test]
fn a_commit_waits_until_the_checks_have_passed() {
    let tree = on_trial();
    // It fails the first time. Programs of checks are those of the tree.
    let (probe, seen) = (tree.path("usr/bin/probe"), tree.path("seen"));
    fs::create_dir_all(probe.parent().unwrap()).unwrap();
    let script = format!("#!/bin/sh\ntest -e {0} && exit 0\ntouch {0}\nexit 1\n", seen.display());
    fs::write(&probe, script).unwrap();
    fs::set_permissions(&probe, fs::Permissions::from_mode(0o755)).unwrap();
    configure(&tree, "[[check]]\nname = 'app'\nkind = 'command'\ncommand = ['/usr/bin/probe']\n");
    tool(&tree, &["-c"]).ok();
    assert!(seen.exists());
    assert_eq!(tree.entries(), ["edge_3.1.efi", "linux.efi"]);
}

#[test]
fn a_commit_without_evidence_exits_with_4_and_spoils_nothing() {
    let tree = on_trial();
    fs::remove_file(tree.path("opt/ready")).unwrap();
    configure(&tree, &format!("{FILE_CHECK}[emt]\ncommit_wait = '1s'\n"));
    let run = tool(&tree, &["-c"]).fails(4);
    assert!(
        run.stderr.contains("check 'app': ") && run.stderr.contains("the assessment continues"),
        "{}",
        run.stderr
    );
    tree.abide(&["commit"]).fails(6);
    assert_eq!(tree.entries(), ["edge_3.1+2-1.efi", "linux.efi"]);
    fs::write(tree.path("opt/ready"), "").unwrap();
    tree.abide(&["commit"]).ok();
    assert_eq!(tree.entries(), ["edge_3.1.efi", "linux.efi"]);
    tool(&tree, &["-c"]).ok();
}

#[test]
fn a_commit_at_once_asks_for_no_evidence() {
    let tree = on_trial();
    fs::remove_file(tree.path("opt/ready")).unwrap();
    configure(&tree, &format!("{FILE_CHECK}[emt]\ncommit = 'at-once'\n"));
    tool(&tree, &["-c"]).ok();
    assert_eq!(tree.entries(), ["edge_3.1.efi", "linux.efi"]);
}

#[test]
fn the_results_of_this_boots_assessment_are_the_evidence() {
    let tree = on_trial();
    fs::remove_file(tree.path("opt/ready")).unwrap();
    configure(&tree, &format!("{FILE_CHECK}[emt]\ncommit_wait = '1s'\n"));
    let results = |boot: &str, result: &str| {
        let check =
            format!(r#"{{"name":"app","required":true,"result":"{result}","reason":"","seconds":0}}"#);
        let text = format!(r#"{{"boot_id":"{boot}","deadline":1200,"checks":[{check}]}}"#);
        fs::write(tree.path("run/abide/checks.json"), text).unwrap();
    };
    let assessing = assessing(&tree);
    let boot = fs::read_to_string(tree.path("proc/sys/kernel/random/boot_id")).unwrap();
    results("another", "pass");
    tool(&tree, &["-c"]).fails(4);
    results(boot.trim(), "pending");
    assert!(tool(&tree, &["-c"]).fails(4).stderr.contains("check 'app' has not ended yet"));
    // An assessment that has died says nothing about the system as it is now.
    drop(assessing);
    results(boot.trim(), "pass");
    assert!(tool(&tree, &["-c"]).fails(4).stderr.contains("/opt/ready"));
    let _assessing = self::assessing(&tree);
    tool(&tree, &["-c"]).ok();
}

#[test]
fn results_of_an_assessment_that_has_died_keep_no_commit_waiting() {
    let tree = on_trial();
    let boot = fs::read_to_string(tree.path("proc/sys/kernel/random/boot_id")).unwrap();
    let text = format!(
        r#"{{"boot_id":"{}","deadline":1200,"checks":[{{"name":"app","required":true,"result":"pending","reason":"","seconds":0}}]}}"#,
        boot.trim()
    );
    fs::write(tree.path("run/abide/checks.json"), text).unwrap();
    tool(&tree, &["-c"]).ok();
}

#[test]
fn a_commit_that_waits_runs_the_checks_no_more_than_once_a_second() {
    let tree = on_trial();
    let runs = tree.path("runs");
    let check = "[[check]]\nname = 'app'\nkind = 'command'\n";
    let line = format!("echo run >> '{}'; false", runs.display());
    let text = format!("{check}command = ['sh', '-c', \"{line}\"]\n[emt]\ncommit_wait = '2s'\n");
    configure(&tree, &text);
    tool(&tree, &["-c"]).fails(4);
    let runs = fs::read_to_string(runs).unwrap().lines().count();
    assert!((1..=3).contains(&runs), "{runs}");
}

/// What an assessment holds while it runs.
fn assessing(tree: &Tree) -> impl Sized {
    let file = fs::File::create(tree.path("run/abide/assessing")).unwrap();
    Flock::lock(file, FlockArg::LockShared).unwrap()
}

#[test]
fn a_call_is_not_the_answer_that_a_confirm_check_waits_for() {
    let tree = on_trial();
    let confirm = "[[check]]\nname = 'operator'\nkind = 'confirm'\n";
    configure(&tree, &format!("{FILE_CHECK}{confirm}[emt]\ncommit_wait = '1s'\n"));
    assert!(tool(&tree, &["-c"]).fails(4).stderr.contains("waiting for `abide confirm`"));
    tree.abide(&["confirm"]).ok();
    tool(&tree, &["-c"]).ok();
}

#[test]
fn a_commit_waits_for_the_lock_that_the_assessment_holds() {
    let tree = on_trial();
    tool(&tree, &["-v"]).ok();
    let lock = abide_core::state::Lock::take(&tree.root()).unwrap();
    let mut command = program(tree.path("os-update-tool.sh"));
    let mut child =
        command.arg("-c").env("ABIDE_ROOT", tree.dir.path()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("waiting for the lock"), "{line}");
    drop(lock);
    assert!(child.wait().unwrap().success());
    assert_eq!(tree.entries(), ["edge_3.1.efi", "linux.efi"]);
}

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
fn a_rollback_that_fails_refuses_no_other_build_of_its_version() {
    let mut tree = machine();
    let first = abide_testing::uki::uki_of(EMT, "first", &cmdline("a"));
    fs::write(tree.entry("linux.efi"), first).unwrap();
    fs::create_dir_all(tree.path("usr/lib")).unwrap();
    fs::write(tree.path("usr/lib/os-release"), EMT).unwrap();
    boot_build(&mut tree);
    let (path, a) = publish(&tree, "a.raw.gz", &build("A", "b"));
    tool(&tree, &["-w", "-a", "-u", &path, "-s", &a]).ok();
    boot_build(&mut tree);
    tool(&tree, &["-c"]).ok();
    tree.abide(&["rollback"]).ok();
    for _ in 0..3 {
        assert!(tree.boot().starts_with("linux+"));
    }
    boot_build(&mut tree);
    let failures = tree.state().failures;
    assert_eq!((failures.len(), failures[0].digest.as_deref()), (1, None));
    let run = tree.abide(&["rollback"]).fails(6);
    assert!(run.stderr.contains("`abide forget 3.0`"), "{}", run.stderr);
    let (path, b) = publish(&tree, "b.raw.gz", &build("B", "a"));
    tool(&tree, &["-w", "-u", &path, "-s", &b]).ok();
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

/// The os-release of every build of 3.0.
const EMT: &str = "NAME=\"Edge Microvisor Toolkit\"\nID=\"Edge Microvisor Toolkit\"\nVERSION_ID=\"3.0\"\n";

fn build(name: &str, slot: &str) -> Vec<u8> {
    let uki = abide_testing::uki::uki_of(EMT, name, &cmdline(slot));
    Image { root_label: "rootfs".into(), uki: Some(uki), ..Image::new(name, slot) }.gz()
}

fn boot_build(tree: &mut Tree) -> String {
    let booted = tree.boot();
    tree.abide(&["initrd", "early"]).ok();
    fs::create_dir_all(tree.path("sysroot/usr/lib")).unwrap();
    fs::write(tree.path("sysroot/usr/lib/os-release"), EMT).unwrap();
    tree.abide(&["initrd", "root"]).ok();
    booted
}

#[test]
fn of_builds_of_one_version_only_the_one_that_failed_is_refused() {
    let mut tree = machine();
    fs::write(tree.entry("linux.efi"), abide_testing::uki::uki_of(EMT, "first", &cmdline("a"))).unwrap();
    fs::create_dir_all(tree.path("usr/lib")).unwrap();
    fs::write(tree.path("usr/lib/os-release"), EMT).unwrap();
    boot_build(&mut tree);
    assert!(tree.abide(&["status"]).ok().stdout.contains("committed, build 7"));

    let (path, a) = publish(&tree, "a.raw.gz", &build("A", "b"));
    tool(&tree, &["-w", "-a", "-u", &path, "-s", &a]).ok();
    let name = "edge-microvisor-toolkit_3.0";
    assert_eq!(tree.entries(), [format!("{name}+3-0.efi"), "linux+0-0.efi".into()]);
    assert_eq!(boot_build(&mut tree), format!("{name}+2-1.efi"));
    tool(&tree, &["-c"]).ok();

    let (path, b) = publish(&tree, "b.raw.gz", &build("B", "a"));
    tool(&tree, &["-w", "-a", "-u", &path, "-s", &b]).ok();
    for _ in 0..3 {
        assert!(tree.boot().starts_with(&format!("{name}_2")));
    }
    assert_eq!(boot_build(&mut tree), format!("{name}.efi"));
    let failures = tree.state().failures;
    assert_eq!((failures.len(), failures[0].digest.as_deref()), (1, Some(b.as_str())));
    let run = tool(&tree, &["-w", "-u", &path, "-s", &b]).fails(3);
    assert!(run.stderr.contains("failed before") && run.stderr.contains(&b), "{}", run.stderr);
    let shown = tree.abide(&["status"]).ok().stdout;
    assert!(shown.contains(&format!("refused until `abide forget {}`", b.get(..12).unwrap())), "{shown}");
    assert_eq!(tree.status()["slots"][1]["good"], true, "A is not refused for B");

    let (path, c) = publish(&tree, "c.raw.gz", &build("C", "a"));
    tool(&tree, &["-w", "-a", "-u", &path, "-s", &c]).ok();
    assert_eq!(boot_build(&mut tree), format!("{name}_2+2-1.efi"));
    tool(&tree, &["-c"]).ok();
    assert_eq!(boot_build(&mut tree), format!("{name}_2.efi"));
    assert_eq!(tree.status()["slots"][0]["digest"], c.as_str());
    tree.abide(&["forget", b.get(..12).unwrap()]).ok();
    assert!(tree.state().failures.is_empty());
}

#[test]
fn a_wrong_digest_exits_with_3_and_leaves_nothing_bootable() {
    let tree = machine();
    let (path, _) = publish(&tree, "edge.raw.gz", &image("3.1", "b"));
    let run = tool(&tree, &["-w", "-a", "-u", &path, "-s", &"0".repeat(64)]).fails(3);
    assert!(run.stderr.contains("SHA-256"), "{}", run.stderr);
    assert_eq!(tree.entries(), ["linux.efi"]);
    tool(&tree, &["-a"]).fails(1);
}

#[test]
fn a_wrong_digest_of_a_file_costs_nothing() {
    let mut tree = on_trial();
    tool(&tree, &["-c"]).ok();
    tree.boot_with_initrd("3.1");
    let before = fs::read(tree.path("dev/sda2")).unwrap();
    let (path, _) = publish(&tree, "edge.raw.gz", &image("3.2", "a"));
    let wrong = "0".repeat(64);
    tool(&tree, &["-w", "-u", &path, "-s", &wrong]).fails(3);
    let run = tree.abide(&["write", &path, "--sha256", &wrong]).fails(7);
    assert!(run.stderr.contains("its SHA-256 is"), "{}", run.stderr);
    assert_eq!(tree.entries(), ["edge_3.1.efi", "linux.efi"]);
    assert_eq!(fs::read(tree.path("dev/sda2")).unwrap(), before);
    tree.abide(&["rollback"]).ok();
}

#[test]
fn a_second_tool_at_work_exits_with_1() {
    let tree = machine();
    fs::create_dir_all(tree.path("run/abide")).unwrap();
    let _held = abide_core::state::Lock::take(&tree.root()).unwrap();
    assert!(tool(&tree, &["-a"]).fails(1).stderr.contains("is running"));
}

#[test]
fn an_image_that_needs_a_verity_tree_of_the_device_is_refused() {
    let tree = machine();
    let cmdline = format!("root=/dev/mapper/rootfs_verity boot_uuid={} panic=10", partuuid("b"));
    let bytes = Image { root_label: "rootfs".into(), ..Image::with_cmdline("3.1", &cmdline) }.gz();
    let (path, sha256) = publish(&tree, "edge.raw.gz", &bytes);
    let run = tool(&tree, &["-w", "-u", &path, "-s", &sha256]).fails(3);
    assert!(run.stderr.contains("/dev/mapper/rootfs_verity"), "{}", run.stderr);
    assert_eq!(tree.state().update, None);
}

#[test]
fn the_script_writes_applies_and_reboots_from_a_path_or_a_server() {
    for from_server in [false, true] {
        let mut tree = machine();
        let bytes = image("3.1", "b");
        let (path, sha256) = publish(&tree, "edge.raw.gz", &bytes);
        let (sums, _) = publish(&tree, "edge.sha256sum", format!("{sha256}  edge.raw.gz\n").as_bytes());
        if from_server {
            let text = format!("{sha256}  edge.raw.gz\n");
            let image = serve(Answer::Whole(bytes));
            let checksum = serve(Answer::Whole(text.into_bytes()));
            // Who can replace the image there can replace the checksum.
            let run = tree.called("os-update.sh", &["-u", &image, &checksum]).fails(1);
            assert!(run.stderr.contains("does not prove who published the image"), "{}", run.stderr);
            assert_eq!(tree.state().update, None);
            configure(&tree, &format!("{FILE_CHECK}[trust]\npolicy = 'digest'\n"));
            tree.called("os-update.sh", &["-u", &image, &checksum]).ok();
        } else {
            let run = tree.called("os-update.sh", &["-o", "-i", &path, "-c", &sums]).ok();
            assert!(run.stderr.contains("are not carried over"), "{}", run.stderr);
        }
        assert_eq!(tree.entries(), ["edge_3.1+3-0.efi", "linux.efi"]);
        assert!(tree.path("run/abide/reboot-requested").exists());
        assert_eq!(tree.boot_with_initrd("3.1"), "edge_3.1+2-1.efi");
        tool(&tree, &["-c"]).ok();
    }
}
