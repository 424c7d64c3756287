//! The version that is named outside, the one inside, and how old it may be: the same wherever an image comes from.

use super::publisher::configure;
use super::*;

/// How an image can come: each writes `image` under the name of `version` and returns the run.
const WAYS: [fn(&Tree, &Image, &str) -> Run; 4] = [as_file, in_folder, from_server, as_set];

fn as_file(tree: &Tree, image: &Image, version: &str) -> Run {
    let path = publish(tree, &format!("edge_{version}.raw"), &image.bytes());
    tree.abide(&["write", &path, "--sha256", &digest(&image.bytes())])
}

/// A folder with a list of what is in it.
fn folder(tree: &Tree, files: &[(String, Vec<u8>)]) -> String {
    let folder = tree.path("images");
    fs::create_dir_all(&folder).unwrap();
    let list: String = files.iter().map(|(name, bytes)| format!("{}  {name}\n", digest(bytes))).collect();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
    fs::write(folder.join("SHA256SUMS"), list).unwrap();
    folder.to_str().unwrap().to_owned()
}

fn in_folder(tree: &Tree, image: &Image, version: &str) -> Run {
    let folder = folder(tree, &[(format!("edge_{version}.raw"), image.bytes())]);
    tree.abide(&["write", &folder])
}

fn from_server(tree: &Tree, image: &Image, version: &str) -> Run {
    folder(tree, &[(format!("edge_{version}.raw"), image.bytes())]);
    let server = Folder::serve(&tree.path("images"));
    tree.abide(&["write", &server.url])
}

fn as_set(tree: &Tree, image: &Image, version: &str) -> Run {
    let files = [
        (format!("edge_{version}.efi"), image.uki.clone().unwrap()),
        (format!("edge_{version}.root.raw"), image.root.clone()),
    ];
    let folder = folder(tree, &files);
    tree.abide(&["write", &folder])
}

#[test]
fn an_old_image_under_a_new_name_is_refused_wherever_it_comes_from() {
    for (number, way) in WAYS.iter().enumerate() {
        let tree = machine();
        configure(&tree, "[trust]\npolicy = 'digest'\n");
        let run = way(&tree, &Image::new("1.5", "b"), "3.0").fails(6);
        assert!(run.stderr.contains("1.5, is not the one in its name, 3.0"), "{number}: {}", run.stderr);
        untouched(&tree);
        way(&tree, &Image::new("3.0", "b"), "3.0").ok();
    }
}

#[test]
fn the_floor_and_the_lowest_version_hold_wherever_an_image_comes_from() {
    for (number, way) in WAYS.iter().enumerate() {
        for limit in ["floor = '0.9'", "min_version = '0.9'"] {
            let tree = machine();
            configure(&tree, &format!("[trust]\npolicy = 'digest'\n[update]\n{limit}\n"));
            let run = way(&tree, &Image::new("0.8", "b"), "0.8").fails(6);
            assert!(run.stderr.contains("0.8 is older than"), "{number}: {}", run.stderr);
            untouched(&tree);
            way(&tree, &Image::new("0.9.1", "b"), "0.9.1").ok();
        }
    }
    let tree = machine();
    configure(&tree, "[update]\nfloor = '0.9'\n");
    let path = publish(&tree, "edge_0.8.raw", &Image::new("0.8", "b").bytes());
    tree.abide(&["write", &path, "--allow-downgrade"]).ok();
}

#[test]
fn a_committed_image_raises_the_floor_to_its_security_epoch() {
    let mut tree = Tree::running("1.0");
    let image = |version: &str, slot: &str, epoch: &str| {
        let more = format!("ABIDE_SECURITY_EPOCH={epoch}\n");
        Image { uki: Some(uki_with("edge", version, &cmdline(slot), &more)), ..Image::new(version, slot) }
    };
    let path = publish(&tree, "image.raw", &image("2.0", "b", "1.5").bytes());
    tree.abide(&["write", &path]).ok();
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("2.0");
    assert_eq!(tree.state().floor, None, "not before the commit");
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.state().floor.as_deref(), Some("1.5"));
    let old = publish(&tree, "image.raw", &Image::new("1.4", "a").bytes());
    let run = tree.abide(&["write", &old]).fails(6);
    assert!(run.stderr.contains("1.4 is older than the floor, 1.5"), "{}", run.stderr);
    // A lower epoch does not lower it.
    let next = publish(&tree, "image.raw", &image("3.0", "a", "1.0").bytes());
    tree.abide(&["write", &next]).ok();
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("3.0");
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.state().floor.as_deref(), Some("1.5"));
}
