//! Images over HTTPS, from a real server: openssl's.

use std::path::Path;

use abide_testing::HttpsServer as Server;

use super::*;

fn pin(tree: &Tree, ca: &Path) {
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    // With `--root` the path is one of the tree.
    let pem = fs::read(ca).unwrap_or_default();
    fs::write(tree.path("etc/abide/ca.pem"), pem).unwrap();
    let text = "[download]\nca = '/etc/abide/ca.pem'\ngive_up_after = '400ms'\n[trust]\npolicy = 'digest'\n";
    fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
}

#[test]
fn an_image_comes_over_https_from_a_server_with_the_pinned_certificate() {
    let image = Image::new("2.0", "b");
    let bytes = image.zst();
    let list = format!("{}  edge.raw.zst\n", digest(&bytes));
    let server = Server::new(&[("edge.raw.zst", &bytes), ("SHA256SUMS", list.as_bytes())]);
    let tree = machine();
    pin(&tree, &server.ca());
    tree.abide(&["write", &server.url("edge.raw.zst")]).ok();
    staged(&tree, &image, &bytes);
}

#[test]
fn a_server_that_the_certificates_do_not_vouch_for_is_refused() {
    let server = Server::new(&[("edge.raw", b"x")]);
    let other = Server::new(&[]);
    let tree = machine();
    // With the system's certificates, with another authority's, and under another name.
    tree.abide(&["write", &server.url("edge.raw")]).fails(3);
    pin(&tree, &other.ca());
    let run = tree.abide(&["write", &server.url("edge.raw")]).fails(3);
    assert!(run.stderr.contains("certificate"), "{}", run.stderr);
    pin(&tree, &server.ca());
    tree.abide(&["write", &server.url("edge.raw").replace("localhost", "127.0.0.1")]).fails(3);
    pin(&tree, Path::new("/no/such/file"));
    tree.abide(&["write", &server.url("edge.raw")]).fails(2);
    untouched(&tree);
}
