//! Requests to the server, and downloads.

use std::net::TcpListener;
use std::process::Child;

use abide_testing::image::noise;

use super::*;

/// The file of an incomplete download.
fn part(tree: &Tree, image: &[u8]) -> PathBuf {
    tree.path(&format!("var/lib/abide/feed/{}.part", abide_testing::tree::digest(image)))
}

#[test]
fn each_poll_is_one_request_for_the_list() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.put("feed.toml", b"format = 1\n");
    feed.publish("1.0", "a");
    tree.abide(&["update", "--check"]).fails(5);
    assert_eq!(feed.asked(), ["/SHA256SUMS", "/SHA256SUMS.minisig", "/feed.toml"]);
    // Nothing has changed.
    for _ in 0..3 {
        tree.abide(&["update", "--check"]).fails(5);
        assert_eq!(feed.asked(), ["/SHA256SUMS"]);
    }
    // The list has changed, and not the rest.
    feed.publish("2.0", "b");
    tree.abide(&["update", "--download-only"]).ok();
    assert_eq!(feed.asked(), ["/SHA256SUMS", "/SHA256SUMS.minisig", "/edge_2.0.raw.zst"]);
}

#[test]
fn an_interrupted_download_resumes() {
    let feed = Feed::new();
    let tree = machine(&feed);
    fs::write(
        tree.path("etc/abide/abide.toml"),
        format!("[update]\nfeed = '{}'\n[download]\ngive_up_after = '0s'\n", feed.server.url),
    )
    .unwrap();
    let image = feed.publish("2.0", "b").zst();
    for cut in [100_000, 200_000] {
        *feed.server.cut.lock().unwrap() = Some(cut);
        tree.abide(&["update"]).fails(3);
    }
    assert_eq!(part(&tree, &image).metadata().unwrap().len(), 300_000);
    let (status, sub, said) = words(&tree);
    assert_eq!((status.as_str(), sub.as_str()), ("DOWNLOADING", "DOWNLOAD_INPROGRESS"));
    assert!(said.starts_with("Download ") && said.ends_with("% done"), "{said}");
    assert!(tree.status()["feed"]["error"].as_str().unwrap().contains("was interrupted"));
    feed.asked();
    tree.abide(&["update"]).ok();
    assert_eq!(feed.asked(), ["/SHA256SUMS", "/edge_2.0.raw.zst 300000"]);
    assert!(reboots(&tree));
    assert!(!part(&tree, &image).exists());
}

#[test]
fn a_partial_download_that_does_not_match_is_fetched_again() {
    let feed = Feed::new();
    let image = feed.publish("2.0", "b").zst();
    let [mut damaged, longer] = [image[..1000].to_vec(), noise(image.len() + 10, 3)];
    damaged[7] ^= 1;
    for (left, asked) in [
        (damaged, vec!["/edge_2.0.raw.zst 1000", "/edge_2.0.raw.zst"]),
        (longer.clone(), vec![&*format!("/edge_2.0.raw.zst {}", longer.len()), "/edge_2.0.raw.zst"]),
        (image.clone(), vec![]),
    ] {
        let tree = machine(&feed);
        fs::create_dir_all(tree.path("var/lib/abide/feed")).unwrap();
        fs::write(part(&tree, &image), left).unwrap();
        feed.asked();
        tree.abide(&["update"]).ok();
        assert_eq!(feed.asked()[2..], asked);
        assert!(reboots(&tree));
    }
}

#[test]
fn an_image_with_another_digest_is_never_written() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("2.0", "b");
    feed.put("edge_2.0.raw.zst", &Image::new("2.1", "b").zst());
    let run = tree.abide(&["update"]).fails(7);
    assert!(run.stderr.contains("is damaged or was replaced"), "{}", run.stderr);
    assert_eq!(tree.state().update, None);
    assert_eq!(
        fs::read_dir(tree.path("var/lib/abide/feed")).unwrap().count(),
        4,
        "list, signature, memory, lock"
    );
}

#[test]
fn a_list_without_a_valid_signature_changes_nothing() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("2.0", "b");
    tree.abide(&["update", "--check"]).ok();
    let before = fs::read(tree.path("var/lib/abide/feed/SHA256SUMS")).unwrap();
    feed.put("edge_3.0.raw.zst", &Image::new("3.0", "b").zst());
    feed.sh("sha256sum edge_3.0.raw.zst >> SHA256SUMS");
    tree.abide(&["update"]).fails(7);
    assert_eq!(fs::read(tree.path("var/lib/abide/feed/SHA256SUMS")).unwrap(), before);
    assert!(!reboots(&tree));
}

#[test]
fn downloads_of_other_releases_are_removed() {
    let feed = Feed::new();
    let tree = machine(&feed);
    *feed.server.cut.lock().unwrap() = Some(1000);
    fs::write(
        tree.path("etc/abide/abide.toml"),
        format!("[update]\nfeed = '{}'\n[download]\ngive_up_after = '0s'\n", feed.server.url),
    )
    .unwrap();
    let old = feed.publish("2.0", "b").zst();
    tree.abide(&["update"]).fails(3);
    assert!(part(&tree, &old).exists());
    feed.publish("2.1", "b");
    tree.abide(&["update"]).ok();
    assert!(!part(&tree, &old).exists());
    // A release that is in the slot is removed from the cache.
    assert!(!tree.path("var/lib/abide/feed/edge_2.1.raw.zst").exists());
}

#[test]
fn a_download_that_does_not_fit_is_not_started() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("2.0", "b");
    tree.abide(&["update", "--check"]).ok();
    // A server that announces more than any disk holds.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let lists = feed.path("");
    std::thread::spawn(move || {
        use std::io::{BufRead, BufReader, Write};
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let path = lines.next().unwrap().unwrap().split(' ').nth(1).unwrap().trim_matches('/').to_owned();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let bytes = fs::read(lists.join(&path)).unwrap_or_default();
            let len = if path.ends_with(".zst") { 1 << 50 } else { bytes.len() };
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n").unwrap();
            stream.write_all(&bytes).ok();
        }
    });
    let text = format!("[update]\nfeed = '{url}'\n[download]\nmax_size = {}\n", 1_u64 << 51);
    fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
    let run = tree.abide(&["update"]).fails(3);
    assert!(run.stderr.contains(": the download needs"), "{}", run.stderr);
}

/// busybox's httpd.
struct Httpd(Child);

impl Drop for Httpd {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_set_signed_with_gpg_is_installed_from_a_stock_web_server() {
    let feed = Feed::new();
    let image = Image::new("2.0", "b");
    feed.put("edge_2.0.efi", image.uki.as_ref().unwrap());
    feed.put("edge_2.0.root-x86-64.raw.zst", &abide_testing::image::zst(&image.root));
    feed.sh("mkdir -m 700 ../gpg; rm SHA256SUMS*; sha256sum * > ../sums; mv ../sums SHA256SUMS
        gpg='gpg --homedir ../gpg --batch --yes --quiet --passphrase='
        $gpg --quick-generate-key ours ed25519 sign never 2>/dev/null
        $gpg --export ours > ../ours.gpg
        $gpg --output SHA256SUMS.gpg --detach-sign SHA256SUMS
        gpgconf --homedir ../gpg --kill all");
    let tree = Tree::running("1.0");
    fs::create_dir_all(tree.path("etc/abide/keys")).unwrap();
    fs::copy(feed.dir.path().join("ours.gpg"), tree.path("etc/abide/keys/ours.gpg")).unwrap();
    // Another test may take the port in between; then the server says so by ending.
    let (_httpd, port) = loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let place = format!("127.0.0.1:{port}");
        let mut child = program("busybox");
        child.args(["httpd", "-f", "-p", &place, "-h"]).arg(feed.path("")).stderr(Stdio::null());
        let mut httpd = Httpd(child.spawn().unwrap());
        let up = loop {
            if std::net::TcpStream::connect(&place).is_ok() {
                break true;
            }
            if httpd.0.try_wait().unwrap().is_some() {
                break false;
            }
            std::thread::yield_now();
        };
        if up {
            break (httpd, port);
        }
    };
    let text = format!("[update]\nfeed = 'http://127.0.0.1:{port}'\n");
    fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
    // Half of it is there already.
    let root = fs::read(feed.path("edge_2.0.root-x86-64.raw.zst")).unwrap();
    fs::create_dir_all(tree.path("var/lib/abide/feed")).unwrap();
    fs::write(part(&tree, &root), &root[..root.len() / 2]).unwrap();
    let run = tree.abide(&["-v", "update"]).ok();
    assert!(run.stderr.contains(&format!("resuming at byte {}", root.len() / 2)), "{}", run.stderr);
    assert!(!run.stderr.contains("starting over"), "{}", run.stderr);
    assert!(run.stdout.contains("Rebooting into 2.0"), "{}", run.stdout);
    assert!(abide_testing::tree::read(&tree.path("dev/sda3")).starts_with(&image.root));
}

/// As hawkBit's orders are stored whose only artifact carries its signature.
#[test]
fn an_image_behind_its_signature_is_fetched_by_the_digest_in_its_own_list() {
    let feed = Feed::new();
    let image = feed.publish("2.0", "b").zst();
    let list = fs::read_to_string(feed.path("SHA256SUMS")).unwrap();
    let signature = fs::read_to_string(feed.path("SHA256SUMS.minisig")).unwrap();
    let content = format!("abide-signature 1\n{list}{signature}");
    let len = u32::try_from(content.len()).unwrap().to_le_bytes();
    let signed = [b"P*M\x18", &len[..], content.as_bytes(), &image].concat();
    feed.put("edge_2.0.raw.zst", &signed);
    let tree = machine(&feed);
    feed.configure(&tree, "[download]\ngive_up_after = '0s'\n");
    *feed.server.cut.lock().unwrap() = Some(100_000);
    tree.abide(&["update"]).fails(3);
    feed.asked();
    tree.abide(&["update"]).ok();
    assert_eq!(feed.asked(), ["/SHA256SUMS", "/edge_2.0.raw.zst 100000"]);
    assert_eq!(tree.state().update.unwrap().digest, Some(abide_testing::tree::digest(&image)));
}
