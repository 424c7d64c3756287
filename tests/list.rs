//! `abide list` on trees: what the loader has, what boots next and why.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;

use abide_testing::{Tree, uki};
use serde_json::{Value, json};

fn list(tree: &Tree) -> Value {
    tree.abide(&["list", "--json"]).ok().json()
}

fn files(list: &Value) -> Vec<&str> {
    list["entries"].as_array().unwrap().iter().map(|e| e["file"].as_str().unwrap()).collect()
}

fn put(tree: &Tree, file: &str, version: &str) {
    fs::write(tree.entry(file), uki("edge", version, "root=/dev/vda9")).unwrap();
}

#[test]
fn the_json_is_that_of_the_contract() {
    let tree = Tree::running("1.0");
    put(&tree, "edge_2.0+2-1.efi", "2.0");
    assert_eq!(
        list(&tree),
        json!({
            "schema": 1,
            "entries": [
                {"id": "edge_2.0.efi", "file": "EFI/Linux/edge_2.0+2-1.efi", "partition": "esp", "type": "uki",
                 "title": "Edge 2.0", "sort_key": "edge", "version": "2.0", "tries_left": 2, "tries_done": 1,
                 "state": "trial", "running": false},
                {"id": "edge_1.0.efi", "file": "EFI/Linux/edge_1.0.efi", "partition": "esp", "type": "uki",
                 "title": "Edge 1.0", "sort_key": "edge", "version": "1.0", "tries_left": null,
                 "tries_done": null, "state": "good", "running": true},
            ],
            "next": {"id": "edge_2.0.efi", "because": "highest version with tries left"},
        })
    );
}

#[test]
fn looking_changes_nothing() {
    let tree = Tree::running("1.0");
    put(&tree, "edge_2.0+2-1.efi", "2.0");
    let all = || {
        let format = ["-printf", "%p %T@ %s\n"];
        abide_testing::program("find").arg(tree.dir.path()).args(format).output().unwrap().stdout
    };
    let before = all();
    list(&tree);
    tree.abide(&["list"]).ok();
    assert_eq!(all(), before);
}

#[test]
fn both_types_on_both_partitions_are_listed() {
    let tree = Tree::running("2.0");
    fs::create_dir_all(tree.path("boot/loader/entries")).unwrap();
    fs::write(tree.path("boot/vmlinuz"), "x").unwrap();
    let conf = "title Rescue\nsort-key edge\nversion 1.0\nlinux /vmlinuz\n";
    fs::write(tree.path("boot/loader/entries/rescue.conf"), conf).unwrap();
    let list = list(&tree);
    assert_eq!(files(&list), ["EFI/Linux/edge_2.0.efi", "loader/entries/rescue.conf"]);
    assert_eq!(list["entries"][1]["partition"], "xbootldr");
    assert_eq!(list["entries"][1]["type"], "conf");
}

#[test]
fn a_pinned_default_and_a_one_shot_are_the_reason() {
    let tree = Tree::running("2.0");
    put(&tree, "edge_1.0+0-3.efi", "1.0");
    fs::write(tree.path("efi/loader/loader.conf"), "default edge_1*\n").unwrap();
    let next = list(&tree)["next"].clone();
    let because = "pinned default (default in loader.conf is edge_1*)";
    assert_eq!(next, json!({"id": "edge_1.0.efi", "because": because}));
    tree.set_variable("LoaderEntryOneShot", "Edge_2.0.efi");
    assert_eq!(list(&tree)["next"]["because"], "one-shot (LoaderEntryOneShot is edge_2.0.efi)");
}

#[test]
fn without_efi_variables_the_running_entry_follows_from_the_command_line() {
    let tree = Tree::running("1.0");
    put(&tree, "edge_2.0.efi", "2.0");
    fs::remove_dir_all(tree.path("sys")).unwrap();
    let list = list(&tree);
    assert_eq!(list["entries"][0]["running"], false);
    assert_eq!(list["entries"][1]["running"], true);
}

#[test]
fn a_damaged_uki_is_left_out_and_the_rest_is_listed() {
    let tree = Tree::running("1.0");
    fs::write(tree.entry("edge_9.0.efi"), "MZ and no more").unwrap();
    assert_eq!(files(&list(&tree)), ["EFI/Linux/edge_1.0.efi"]);
}

#[test]
fn the_table_shows_what_runs_and_what_boots_next() {
    let tree = Tree::running("1.0");
    put(&tree, "edge_2.0+3-0.efi", "2.0");
    assert_eq!(
        tree.abide(&["list"]).ok().stdout,
        "   FILE                        VERSION  STATE\n \
         > EFI/Linux/edge_2.0+3-0.efi  2.0      trial: 3 left, 0 used\n\
         *  EFI/Linux/edge_1.0.efi      1.0      good\n\n\
         next boot: edge_2.0.efi: highest version with tries left\n"
    );
}

#[test]
fn a_tree_without_an_esp_is_an_error_that_says_where_it_looked() {
    let dir = tempfile::tempdir().unwrap();
    let tree = Tree::running("1.0");
    fs::rename(tree.path("efi"), dir.path().join("efi")).unwrap();
    let run = tree.abide(&["list"]).fails(4);
    assert!(run.stderr.contains("no ESP") && run.stderr.lines().count() == 1, "{}", run.stderr);
}
