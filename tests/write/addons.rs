//! Files beside UKIs, which systemd-stub adds to them.

use super::*;

/// Puts an addon beside the entries.
fn add(tree: &Tree, dir: &str) {
    let dir = tree.entry(dir);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("debug.addon.efi"), "MZ").unwrap();
}

/// The directories beside the entries.
fn beside(tree: &Tree) -> Vec<String> {
    let all = fs::read_dir(tree.path("efi/EFI/Linux")).unwrap().map(Result::unwrap);
    let mut names: Vec<String> = all
        .filter(|e| e.file_type().unwrap().is_dir())
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_addons_of_an_entry_go_with_it_and_those_of_others_stay() {
    let tree = machine();
    add(&tree, "edge_0.9.efi.extra.d");
    add(&tree, "edge_0.9+3-0.efi.extra.d");
    add(&tree, "edge_1.0.efi.extra.d");
    add(&tree, "other_5.efi.extra.d");
    write(&tree, &Image::new("2.0", "b")).ok();
    assert_eq!(beside(&tree), ["edge_1.0.efi.extra.d", "other_5.efi.extra.d"]);
    assert!(tree.entry("edge_1.0.efi.extra.d/debug.addon.efi").exists());
}

#[test]
fn a_new_entry_inherits_no_addons_of_an_older_one_of_its_name() {
    let tree = machine();
    add(&tree, "Edge_2.0.EFI.extra.d");
    write(&tree, &Image::new("2.0", "b")).ok();
    assert_eq!(beside(&tree), [""; 0]);
    // What comes in between is none of the image either.
    add(&tree, "edge_2.0+3-0.efi.extra.d");
    let run = tree.abide(&["-v", "apply"]).ok();
    assert!(run.stderr.contains("edge_2.0+3-0.efi.extra.d"), "{}", run.stderr);
    assert_eq!(beside(&tree), [""; 0]);
    // From here on they may belong to it.
    add(&tree, "edge_2.0.efi.extra.d");
    tree.abide(&["apply"]).ok();
    assert_eq!(beside(&tree), ["edge_2.0.efi.extra.d"]);
    tree.abide(&["cancel"]).ok();
    assert_eq!(beside(&tree), [""; 0]);
}

#[test]
fn what_is_left_of_an_interrupted_removal_is_removed_by_the_next_write() {
    let mut tree = machine();
    tree.update("2.0", "b");
    add(&tree, "edge_1.0.efi.extra.d");
    // Its entry went, and then the power.
    fs::remove_file(tree.entry("edge_1.0.efi")).unwrap();
    write(&tree, &Image::new("3.0", "a")).ok();
    assert_eq!(beside(&tree), [""; 0]);
}

#[test]
fn an_image_with_addons_beside_its_uki_is_refused() {
    for beside in ["edge-from-the-image.efi.extra.d/debug.addon.efi", "x+3-0.efi.extra.d/secret.cred"] {
        let tree = machine();
        let run = write(&tree, &Image { beside: Some(beside), ..Image::new("2.0", "b") }).fails(6);
        assert!(run.stderr.contains(beside), "{}", run.stderr);
        untouched(&tree);
    }
    let tree = machine();
    write(&tree, &Image { beside: Some("other/file"), ..Image::new("2.0", "b") }).ok();
}
