//! Images from a web server, and what servers and networks do.

use super::*;

#[test]
fn an_image_comes_from_a_web_server_too() {
    let image = Image::new("2.0", "b");
    let tree = machine_without_signatures();
    let url = serve(Answer::Whole(image.gz()));
    tree.abide(&["write", &serve(Answer::Redirect(url))]).ok();
    staged(&tree, &image, &image.gz());
}

#[test]
fn a_web_server_that_fails_is_an_error() {
    let image = Image::new("2.0", "b").zst();
    for code in [404, 403, 416, 500, 503] {
        let tree = machine();
        let run = tree.abide(&["write", &serve(Answer::Status(code))]).fails(3);
        assert!(run.stderr.contains(&code.to_string()), "{}", run.stderr);
        untouched(&tree);
    }
    for tenth in 0..10 {
        let tree = machine_without_signatures();
        impatient(&tree);
        tree.abide(&["write", &serve(Answer::CutAfter(image.len() * tenth / 10, image.clone()))]).fails(3);
        if tree.entries().len() == 2 { untouched(&tree) } else { unbootable(&tree) }
    }
}

/// Downloads are given up soon.
fn impatient(tree: &Tree) {
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    fs::write(
        tree.path("etc/abide/abide.toml"),
        "[download]\ngive_up_after = '400ms'\n[trust]\npolicy = 'digest'\n",
    )
    .unwrap();
}

#[test]
fn a_download_goes_on_where_the_connection_broke() {
    let image = Image::new("2.0", "b");
    let bytes = image.zst();
    let tree = machine_without_signatures();
    let run = tree.abide(&["write", &serve(Answer::Drops(bytes.len() / 10, bytes.clone()))]).ok();
    assert!(run.stderr.contains("retrying from byte"), "{}", run.stderr);
    staged(&tree, &image, &bytes);
}

#[test]
fn the_digest_decides_whether_an_image_changed_in_mid_download() {
    let image = Image::new("2.0", "b");
    let bytes = image.zst();
    let tree = machine_without_signatures();
    // The validators of its versions differ, the bytes do not.
    let run = tree.abide(&["write", &serve(Answer::Changes(bytes.len() / 2, bytes.clone()))]).ok();
    assert!(run.stderr.contains("its digest decides"), "{}", run.stderr);
    staged(&tree, &image, &bytes);
}
