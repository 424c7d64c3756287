//! What a feed lists: names as the field gives them, lists as systemd and mkosi have them, and nothing for this machine.

use super::*;

/// The answer to a check that finds nothing.
#[track_caller]
fn nothing(tree: &Tree) -> String {
    tree.abide(&["update", "--check"]).fails(5).stdout.trim_end().to_owned()
}

#[test]
fn a_feed_that_has_nothing_for_this_machine_says_what_it_lists() {
    let feed = Feed::new();
    let tree = machine(&feed);
    assert!(nothing(&tree).ends_with("; its list is empty"));
    for name in ["edge_2.0_arm64.raw.zst", "edge_2.0-aarch64.img.zst", "other_2.0.raw.zst", "edge.bin"] {
        feed.put(name, b"x");
    }
    feed.list();
    let says = nothing(&tree);
    assert!(says.starts_with("The feed has no image of edge for "), "{says}");
    for listed in ["edge 2.0 (arm64)", "other 2.0", "edge.bin"] {
        assert!(says.contains(listed), "{says}");
    }
    units(&tree);
    let status = tree.status();
    assert_eq!(
        (&status["feed"]["no_image"], &status["feed"]["waiting"]),
        (&true.into(), &says.clone().into())
    );
    let shown = tree.abide(&["status"]).ok().stdout;
    assert!(shown.contains("no image for this machine") && shown.contains("edge.bin"), "{shown}");
    let doctor = tree.abide(&["doctor"]).stdout;
    assert!(doctor.contains("[feed-no-image]") && doctor.contains("edge.bin"), "{doctor}");
    assert_eq!(tree.abide(&["update", "--check", "--json"]).json()["state"], "no-image");
    // As soon as there is something, nothing of it is left.
    feed.publish("1.0", "a");
    let_time_pass(&tree);
    units(&tree);
    assert_eq!(tree.status()["feed"]["no_image"], false);
    assert_eq!(nothing(&tree), "Up to date");
}

#[test]
fn a_list_of_nothing_but_ambiguous_releases_is_not_called_empty() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.put("edge_2.0.raw.zst", b"x");
    feed.put("edge_2.0.raw.xz", b"y");
    feed.list();
    let says = nothing(&tree);
    let named = "nothing that it lists can be used: edge 2.0 is ignored: ";
    assert!(says.contains(named) && says.contains("both for the same partition"), "{says}");
    feed.put("edge_3.0.raw.zst", b"x");
    feed.put("edge_3.0.raw.xz", b"y");
    feed.list();
    assert!(nothing(&tree).ends_with("(and 1 more)"), "{}", nothing(&tree));
}

#[test]
fn a_version_with_a_letter_in_front_is_not_silently_older() {
    let feed = Feed::new();
    let tree = machine(&feed);
    for name in ["edge_v2.0.raw.zst", "edge_1.0.raw.zst"] {
        feed.put(name, b"x");
    }
    feed.list();
    let why = "Nothing to install: v2.0: it sorts before 1.0, as systemd and the boot loader compare versions; publish it as \
               2.0";
    assert_eq!(nothing(&tree), why);
    let answer = tree.abide(&["update", "--check", "--json"]).fails(5).json();
    assert_eq!((&answer["state"], &answer["version"]), (&"waiting".into(), &"v2.0".into()));
    assert!(tree.abide(&["status"]).ok().stdout.contains(why));
}

#[test]
fn the_metadata_without_a_format_is_told_so() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.put("feed.toml", b"[[release]]\nversion = '2.0'\n");
    feed.publish("2.0", "b");
    let run = tree.abide(&["update", "--check"]).fails(3);
    assert!(run.stderr.contains("feed.toml has no format; begin it with format = 1"), "{}", run.stderr);
}

#[test]
fn the_status_shows_the_error_of_a_download_once() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("2.0", "b");
    feed.configure(&tree, "download_spread = 0\n[download]\ngive_up_after = '0s'");
    fs::remove_file(feed.path("edge_2.0.raw.zst")).unwrap();
    units(&tree);
    let shown = tree.abide(&["status"]).ok().stdout;
    assert_eq!(shown.matches("404").count(), 1, "{shown}");
    units(&tree);
    let shown = tree.abide(&["status"]).ok().stdout;
    assert_eq!(shown.matches("404").count(), 1, "{shown}");
}

#[test]
fn the_usual_names_of_images_are_understood_and_installed() {
    let image = Image::new("2.0", "b");
    let (zst, gz) = (image.zst(), image.gz());
    for (name, bytes) in [
        ("edge_2.0_x86_64.raw.zst", &zst),
        ("edge_2.0-amd64.img.zst", &zst),
        ("edge_2.0_amd64.wic.gz", &gz),
        ("edge-2.0.img.gz", &gz),
        ("edge-2.0_x86-64.wic.zst", &zst),
    ] {
        let feed = Feed::new();
        let tree = machine(&feed);
        feed.put(name, bytes);
        feed.put("edge_9.0_arm64.raw", b"of another architecture");
        feed.put("edge_9.0-aarch64.img.zst", b"of another architecture");
        feed.put("edge_9.0.riscv64.raw", b"of another architecture");
        feed.list();
        let run = tree.abide(&["update", "--download-only"]).ok();
        assert!(run.stdout.starts_with("2.0 is staged in slot b\n"), "{name}: {run:?}");
    }
}

#[test]
fn files_of_subfolders_are_fetched_as_newer_systemd_lists_them() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.configure(&tree, "download_spread = 0");
    let image = Image::new("2.0", "b");
    fs::create_dir_all(feed.path("v2/parts")).unwrap();
    feed.put("v2/edge_2.0.efi", image.uki.as_ref().unwrap());
    feed.put("v2/parts/edge_2.0.root.raw", &image.root);
    feed.sh("printf '# made by hand\\r\\n\\r\\n' > SHA256SUMS
             sha256sum -b v2/edge_2.0.efi | sed 's/$/\\r/' >> SHA256SUMS
             sha256sum ./v2/parts/edge_2.0.root.raw >> SHA256SUMS
             minisign -S -s ../ours.key -m SHA256SUMS >/dev/null");
    let [_, _, fetch, install, boot] = units(&tree);
    for run in [fetch, install, boot] {
        run.ok();
    }
    assert!(feed.asked().contains(&"/v2/parts/edge_2.0.root.raw".to_owned()));
    assert!(reboots(&tree));
    // The same folder on a stick, and one that was copied without its subfolders.
    for flatten in ["true", "mv v2/*.efi v2/parts/* ."] {
        let tree = machine(&feed);
        feed.sh(flatten);
        tree.abide(&["write", feed.path("").to_str().unwrap()]).ok();
    }
}

#[test]
fn a_path_that_leaves_the_folder_refuses_the_list() {
    let feed = Feed::new();
    let tree = machine(&feed);
    for path in ["../edge_2.0.raw", "v2/../../edge_2.0.raw", "/srv/edge_2.0.raw"] {
        feed.put("SHA256SUMS", format!("{}  {path}\n", "0".repeat(64)).as_bytes());
        feed.sh("minisign -S -s ../ours.key -m SHA256SUMS >/dev/null");
        let run = tree.abide(&["update", "--check"]).fails(7);
        assert!(
            run.stderr.contains("line 1 does not name a file below this folder"),
            "{path}: {}",
            run.stderr
        );
    }
}

#[test]
fn an_entry_that_cannot_be_used_does_not_hide_the_others() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("2.0", "b");
    let zero = "0".repeat(64);
    feed.sh(&format!(
        "printf '%s\\n' '\\{zero}  a\\nb' '{zero}  edge_3.0.raw' '{}  edge_3.0.raw' >> SHA256SUMS
         minisign -S -s ../ours.key -m SHA256SUMS >/dev/null",
        "1".repeat(64)
    ));
    let run = tree.abide(&["update", "--check"]).ok();
    assert_eq!(run.stdout, "2.0 is available\n");
    assert!(run.stderr.contains("edge_3.0.raw: is listed again with another digest"), "{}", run.stderr);
}

#[test]
fn the_list_of_a_release_is_used_as_mkosi_writes_it() {
    let feed = Feed::new();
    feed.sh("rm -f SHA256SUMS*");
    for (version, slot) in [("1.0", "a"), ("2.0", "b")] {
        feed.put(&format!("edge_{version}.raw.zst"), &Image::new(version, slot).zst());
        feed.sh(&format!(
            "sha256sum edge_{version}.raw.zst > edge_{version}.SHA256SUMS
             minisign -S -s ../ours.key -m edge_{version}.SHA256SUMS >/dev/null"
        ));
    }
    let url = feed.server.url.trim_end_matches('/').to_owned();
    let folder = feed.path("");
    let folder = folder.to_str().unwrap();
    for words in [
        vec!["write", folder],
        vec!["write", folder, "--version", "2.0"],
        vec!["write", &format!("{folder}/edge_2.0.SHA256SUMS")],
        vec!["write", &format!("{folder}/edge_2.0.raw.zst")],
        vec!["write", &format!("{url}/edge_2.0.raw.zst")],
        vec!["write", &format!("{url}/edge_2.0.SHA256SUMS")],
        vec!["write", &format!("{url}/"), "--version", "2.0"],
    ] {
        let run = machine(&feed).abide(&words).ok();
        assert!(run.stdout.contains("2.0"), "{words:?}: {run:?}");
    }
    // Followed as a folder of this machine.
    let tree = machine(&feed);
    fs::rename(feed.path(""), tree.path("images")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), "[update]\nfeed = '/images'\n").unwrap();
    assert!(tree.abide(&["update"]).ok().stdout.contains("Rebooting into 2.0"));
    // What is changed is not installed.
    fs::write(tree.path("images/edge_3.0.SHA256SUMS"), format!("{}  edge_3.0.raw\n", "0".repeat(64)))
        .unwrap();
    tree.abide(&["write", tree.path("images").to_str().unwrap()]).fails(7);
}

#[test]
fn a_newest_release_that_cannot_be_used_is_named() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("1.0", "a");
    for (files, named) in [
        (&["edge_2.0.efi"][..], "edge 2.0 (incomplete)"),
        (&["edge_2.1.vmdk.lz4"], "edge_2.1.vmdk.lz4"),
        (&["edge_2.2.raw.zst", "edge_2.2.raw.xz"], "edge 2.2"),
    ] {
        for file in files {
            feed.put(file, file.as_bytes());
        }
        feed.list();
        let says = nothing(&tree);
        assert!(says.starts_with("Nothing to install: ") && says.contains(named), "{says}");
        for file in files {
            fs::remove_file(feed.path(file)).unwrap();
        }
    }
    feed.list();
    assert_eq!(nothing(&tree), "Up to date");
}
