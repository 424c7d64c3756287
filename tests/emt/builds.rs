//! Builds that have the same version.

use std::fs;

use abide_testing::{Image, Tree};

use crate::{cmdline, machine, publish, tool};

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
