//! The parts of the update agent: the one with network access, and those without.

use super::*;

#[test]
fn the_units_do_together_what_a_command_does() {
    let feed = Feed::new();
    let mut tree = machine(&feed);
    feed.publish("2.0", "b");
    feed.configure(&tree, "download_spread = 0");
    tree.abide(&["update", "--survey"]).ok();
    tree.abide(&["update", "--fetch"]).ok();
    assert!(tree.path("var/lib/abide/feed/edge_2.0.raw.zst").exists());
    assert_eq!(tree.state().update, None);
    feed.asked();
    tree.abide(&["update", "--install"]).ok();
    assert_eq!(words(&tree).0, "DOWNLOAD_DONE");
    assert!(!reboots(&tree));
    tree.abide(&["update", "--boot"]).ok();
    assert!(reboots(&tree));
    assert!(feed.asked().is_empty(), "only the first part uses the network");
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0+2-1.efi");
}

#[test]
fn without_a_survey_nothing_is_fetched() {
    let feed = Feed::new();
    let tree = machine(&feed);
    tree.abide(&["update", "--survey"]).ok();
    // The next survey fails: the one before no longer counts.
    fs::rename(tree.path("efi"), tree.path("gone")).unwrap();
    tree.abide(&["update", "--survey"]).fails(4);
    let run = tree.abide(&["update", "--fetch"]).fails(1);
    assert!(run.stderr.contains("check abide-survey.service"), "{}", run.stderr);
    assert!(feed.asked().is_empty());
}

#[test]
fn the_feed_is_polled_once_per_interval() {
    let feed = Feed::new();
    let tree = machine(&feed);
    for _ in 0..3 {
        units(&tree);
    }
    assert_eq!(feed.asked().iter().filter(|path| *path == "/SHA256SUMS").count(), 1);
    let_time_pass(&tree);
    units(&tree);
    assert_eq!(feed.asked(), ["/SHA256SUMS"]);
}

#[test]
fn a_fetched_release_is_installed_while_the_feed_is_unreachable() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("2.0", "b");
    feed.configure(&tree, "download_spread = 0");
    tree.abide(&["update", "--survey"]).ok();
    tree.abide(&["update", "--fetch"]).ok();
    let_time_pass(&tree);
    fs::rename(feed.path(""), feed.dir.path().join("away")).unwrap();
    tree.abide(&["update", "--fetch"]).fails(3);
    tree.abide(&["update", "--install"]).ok();
    tree.abide(&["update", "--boot"]).ok();
    assert!(reboots(&tree));
}

/// A change of the cache.
type Change<'a> = &'a dyn Fn(&Tree);

#[test]
fn the_content_of_the_cache_is_verified_before_it_is_installed() {
    let feed = Feed::new();
    feed.publish("2.0", "b");
    let cache = "var/lib/abide/feed";
    let tamper: [(&str, Change); 4] = [
        ("another list", &|tree| {
            fs::write(tree.path(&format!("{cache}/edge_9.raw.zst")), "x").unwrap();
            let list = format!("{}  edge_9.raw.zst\n", abide_testing::tree::digest(b"x"));
            fs::write(tree.path(&format!("{cache}/SHA256SUMS")), list).unwrap();
        }),
        ("no signature", &|tree| fs::remove_file(tree.path(&format!("{cache}/SHA256SUMS.minisig"))).unwrap()),
        ("another image", &|tree| {
            let other = Image { root: abide_testing::image::noise(5000, 1), ..Image::new("2.0", "b") };
            fs::write(tree.path(&format!("{cache}/edge_2.0.raw.zst")), other.zst()).unwrap();
        }),
        ("half an image", &|tree| {
            let path = tree.path(&format!("{cache}/edge_2.0.raw.zst"));
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
    ];
    for (what, change) in tamper {
        let tree = machine(&feed);
        feed.configure(&tree, "download_spread = 0");
        tree.abide(&["update", "--survey"]).ok();
        tree.abide(&["update", "--fetch"]).ok();
        change(&tree);
        let run = tree.abide(&["update", "--install"]).fails(7);
        assert!(!run.stderr.is_empty(), "{what}");
        tree.abide(&["update", "--boot"]);
        assert!(!reboots(&tree), "{what}");
        assert_eq!(tree.entries(), ["edge_1.0.efi"], "{what}");
        // The next poll repairs it.
        let_time_pass(&tree);
        for run in units(&tree) {
            run.ok();
        }
        assert!(reboots(&tree), "{what}");
    }
}

#[test]
fn the_part_that_installs_checks_the_policy_again() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("2.0", "b");
    feed.configure(&tree, "download_spread = 0");
    tree.abide(&["update", "--survey"]).ok();
    tree.abide(&["update", "--fetch"]).ok();
    tree.abide(&["update", "--pin"]).ok();
    tree.abide(&["update", "--install"]).ok();
    tree.abide(&["update", "--boot"]).ok();
    assert_eq!(tree.state().update, None);
    assert!(!reboots(&tree));
}

#[test]
fn an_image_that_does_not_fit_is_tried_once() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.put("edge_2.0.raw.zst", &Image::with_cmdline("2.0", "root=/dev/sda9").zst());
    feed.list();
    feed.configure(&tree, "download_spread = 0");
    let [_, _, _, install, _] = units(&tree);
    install.fails(6);
    feed.asked();
    for _ in 0..2 {
        let_time_pass(&tree);
        let [_, _, _, install, _] = units(&tree);
        install.ok();
    }
    assert_eq!(feed.asked(), ["/SHA256SUMS", "/SHA256SUMS"]);
    let waiting = tree.status()["feed"]["waiting"].as_str().unwrap().to_owned();
    assert!(waiting.contains("root="), "{waiting}");
    // A newer one is.
    feed.publish("2.1", "b");
    let_time_pass(&tree);
    units(&tree);
    assert!(reboots(&tree));
}

#[test]
fn losing_the_memory_of_the_agent_repeats_work_only() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("2.0", "b");
    feed.configure(&tree, "download_spread = 0");
    for undefined in ["", "{\"tried\":", "null"] {
        for part in ["--survey", "--fetch", "--install"] {
            tree.abide(&["update", part]).ok();
            fs::create_dir_all(tree.path("var/lib/abide/feed")).unwrap();
            for file in ["feed/feed.json", "update.json"] {
                fs::write(tree.path("var/lib/abide").join(file), undefined).unwrap();
            }
        }
    }
    tree.abide(&["update", "--boot"]).ok();
    assert!(reboots(&tree));
}
