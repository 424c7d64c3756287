//! Images that carry their signature in front of themselves, made as the documentation says, with the real tools.

use abide::config::Trust;
use abide::feed::cache::Cache;
use abide::feed::carried;
use abide::image::Source;
use abide::image::trust::{Installer, Verifier};

use super::publisher::*;
use super::*;

const NAME: &str = "edge_2.0.raw.zst";

/// The lines of the how-to.
fn lines() -> String {
    let page = include_str!("../../docs/how-to/publish.md");
    let block = |text: &str| text.split("```").next().unwrap().to_owned();
    page.split("```sh\n").map(block).find(|block| block.contains("abide-signature")).unwrap()
}

/// A publisher with the key `release` whose image carries its signature.
struct Signed {
    publisher: Publisher,
    key: std::path::PathBuf,
    plain: Vec<u8>,
    bytes: Vec<u8>,
}

impl Signed {
    fn new() -> Self {
        let publisher = Publisher::new();
        let key = publisher.minisign_key("release");
        fs::copy(publisher.path("release.key"), publisher.path("out/release.key")).unwrap();
        let plain = Image::new("2.0", "b").zst();
        fs::write(publisher.path("out").join(NAME), &plain).unwrap();
        publisher.run("sh", &["-euc", &lines()]);
        let bytes = read(&publisher.path("out/signed").join(NAME));
        Self { publisher, key, plain, bytes }
    }

    /// The content of the frame, without its tag.
    fn content(&self) -> String {
        let content = &self.bytes[8..self.bytes.len() - self.plain.len()];
        String::from_utf8(content.to_vec()).unwrap().strip_prefix("abide-signature 1\n").unwrap().to_owned()
    }

    fn machine(&self) -> Tree {
        let tree = machine();
        install(&tree, &self.key, "etc/abide/keys/release.pub");
        tree
    }

    /// Signs another list, which becomes the content of a frame.
    fn list(&self, list: &str) -> String {
        fs::write(self.publisher.path("out/list"), list).unwrap();
        self.publisher.minisign("release", "list");
        list.to_owned() + &fs::read_to_string(self.publisher.path("out/list.minisig")).unwrap()
    }
}

fn framed(content: &str, rest: &[u8]) -> Vec<u8> {
    frame(format!("abide-signature 1\n{content}").as_bytes(), rest)
}

fn frame(content: &[u8], rest: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len()).unwrap().to_le_bytes();
    [b"P*M\x18", &len[..], content, rest].concat()
}

#[track_caller]
fn refused(tree: &Tree, name: &str, bytes: &[u8], code: i32, words: &str) {
    let run = tree.abide(&["write", &publish(tree, name, bytes)]).fails(code);
    assert!(run.stderr.contains(words), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    untouched(tree);
}

#[test]
fn an_image_that_carries_its_signature_is_accepted_from_everywhere() {
    let signed = Signed::new();
    let server = Folder::serve(&signed.publisher.path("out/signed"));
    let url = format!("{}{NAME}", server.url);
    let path = signed.publisher.path("out/signed").join(NAME).to_str().unwrap().to_owned();
    for image in [path.as_str(), &url, "-"] {
        let tree = signed.machine();
        let mut command = tree.command();
        if image == "-" {
            command.stdin(fs::File::open(&path).unwrap());
        }
        let run = Run::of(command.args(["write", image])).ok();
        assert!(run.stdout.contains("signed by release.pub"), "{}", run.stdout);
        staged(&tree, &Image::new("2.0", "b"), &signed.plain);
        assert_eq!(tree.status()["slots"][1]["verified"], "signed by release.pub");
    }
}

#[test]
fn zstd_skips_the_signature() {
    let signed = Signed::new();
    let path = signed.publisher.path("out/signed").join(NAME);
    let output = program("zstd").arg("-dc").arg(path).output().unwrap();
    assert!(output.status.success());
    assert!(output.stdout == Image::new("2.0", "b").bytes());
}

#[test]
fn a_root_before_the_esp_is_read_twice_behind_the_signature() {
    let signed = Signed::new();
    let image = Image { root_first: true, ..Image::new("2.0", "b") };
    let plain = image.zst();
    let content = signed.list(&format!("{}  {NAME}\n", digest(&plain)));
    let tree = signed.machine();
    tree.abide(&["write", &publish(&tree, NAME, &framed(&content, &plain))]).ok();
    staged(&tree, &image, &plain);
}

#[test]
fn a_frame_that_is_not_a_signature_is_skipped_as_any_other() {
    let signed = Signed::new();
    let (content, plain) = (signed.content(), &signed.plain);
    let long = format!("{content}{}", "\n".repeat(64 << 10));
    for bytes in [
        framed(&long, plain),
        frame(format!("abide-signature 2\n{content}").as_bytes(), plain),
        // A frame of another program comes first.
        frame(b"pzstd", &framed(&content, plain)),
        signed.bytes[..40].to_vec(),
        signed.plain.clone(),
    ] {
        refused(&signed.machine(), NAME, &bytes, 7, "is not signed, but must be");
    }
    // Where no signature is required, the digest is of the whole file.
    let tree = machine();
    let bytes = &signed.bytes;
    tree.abide(&["write", &publish(&tree, NAME, bytes), "--sha256", &digest(bytes)]).ok();
    staged(&tree, &Image::new("2.0", "b"), bytes);
}

#[test]
fn a_signature_that_is_not_valid_is_refused_before_anything_is_written() {
    let signed = Signed::new();
    let (content, plain) = (signed.content(), &signed.plain);
    let cases = [
        (content.replacen('a', "b", 1), "does not match"),
        (content.split("untrusted").next().unwrap().to_owned(), "is not signed by an installed key"),
        (content.replace("trusted comment: timestamp:", "trusted comment: timestamp:9"), "does not match"),
        (content.split("trusted comment: ti").next().unwrap().to_owned(), "is not a minisign signature"),
        (signed.list("no list\n"), "line 1 is not a digest"),
        (signed.list(&format!("{}  feed.toml\n", digest(plain))), "must name one image"),
        (signed.list(&format!("{0}  {NAME}\n{0}  edge_1.0.raw\n", digest(plain))), "must name one image"),
        (signed.list(&format!("{0}  {NAME}\n{0}  BEST-BEFORE-2020-01-01\n", digest(plain))), "expired on"),
        (signed.list(""), "must name one image"),
    ];
    for (content, words) in cases {
        refused(&signed.machine(), NAME, &framed(&content, plain), 7, words);
    }
    let tree = machine();
    install(&tree, &signed.publisher.minisign_key("other"), "etc/abide/keys/other.pub");
    refused(&tree, NAME, &signed.bytes, 7, "is not installed");
}

#[test]
fn every_changed_bit_of_what_is_signed_is_refused() {
    let signed = Signed::new();
    let content = signed.content();
    let tree = signed.machine();
    // The untrusted comment is not signed, as its name says.
    let comment = content.find("untrusted").unwrap();
    let end = comment + content.split_at(comment).1.find('\n').unwrap();
    let head = 8 + "abide-signature 1\n".len();
    for at in (0..content.len()).filter(|at| !(comment..end).contains(at)).step_by(7) {
        let mut bytes = signed.bytes.clone();
        bytes[head + at] ^= 1 << (at % 7);
        refused(&tree, NAME, &bytes, 7, "");
    }
}

#[test]
fn an_image_that_is_not_the_signed_one_is_never_staged() {
    let signed = Signed::new();
    let middle = signed.bytes.len() - signed.plain.len() / 2;
    let mut changed = signed.bytes.clone();
    changed[middle] ^= 1;
    let other = Image::new("2.0", "c").zst();
    for bytes in [
        changed,
        signed.bytes[..signed.bytes.len() - 1].to_vec(),
        [&signed.bytes[..], &[0]].concat(),
        [&signed.bytes[..], &signed.plain].concat(),
        framed(&signed.content(), &other),
        // Another frame in between.
        framed(&signed.content(), &frame(b"more", &signed.plain)),
    ] {
        let tree = signed.machine();
        let run = tree.abide(&["write", &publish(&tree, NAME, &bytes)]).fails(7);
        assert!(run.stderr.contains("its SHA-256 is"), "{}", run.stderr);
        assert!(tree.state().update.is_none_or(|update| update.stage == Stage::Writing));
        tree.abide(&["apply"]).fails(5);
    }
}

#[test]
fn the_signed_name_the_name_of_the_file_and_the_image_must_agree() {
    let signed = Signed::new();
    // Any name that says nothing, and what may stand behind the version.
    for name in ["download", "edge_2.0-signed.raw.zst"] {
        let tree = signed.machine();
        tree.abide(&["write", &publish(&tree, name, &signed.bytes)]).ok();
    }
    refused(&signed.machine(), "edge_3.0.raw.zst", &signed.bytes, 6, "is signed as edge_2.0.raw.zst");
    let content = signed.list(&format!("{}  edge_3.0.raw.zst\n", digest(&signed.plain)));
    let bytes = framed(&content, &signed.plain);
    refused(&signed.machine(), "download", &bytes, 6, "is not the one in its name, 3.0");
}

#[test]
fn several_keys_may_be_required_of_the_signature_inside() {
    let signed = Signed::new();
    let second = signed.publisher.minisign_key("second");
    signed.publisher.key("third", "ed25519", "never", &[]);
    let machine = || {
        let tree = signed.machine();
        install(&tree, &second, "etc/abide/keys/second.pub");
        install(&tree, &signed.publisher.path("third.gpg"), "etc/abide/keys/third.gpg");
        configure(&tree, "[trust]\nrequired = 2\n");
        tree
    };
    refused(&machine(), NAME, &signed.bytes, 7, "is signed by 1 of the 2 keys");
    let twice = signed.content() + signed.content().split_once('\n').unwrap().1;
    refused(&machine(), NAME, &framed(&twice, &signed.plain), 7, "is signed by 1 of the 2 keys");
    signed.publisher.minisign("second", "list");
    signed.publisher.gpg(&["-u", "third", "--armor", "--output", "list.asc", "--detach-sign", "list"]);
    for file in ["list.minisig", "list.asc"] {
        let more = fs::read_to_string(signed.publisher.path("out").join(file)).unwrap();
        let tree = machine();
        tree.abide(&["write", &publish(&tree, NAME, &framed(&(signed.content() + &more), &signed.plain))])
            .ok();
    }
}

#[test]
fn a_failed_image_is_refused_under_another_signature_before_it_is_written() {
    let signed = Signed::new();
    let tree = signed.machine();
    remember(&tree, "other", Some(&digest(&signed.plain)));
    refused(&tree, NAME, &signed.bytes, 6, "failed");
    let content = signed.list(&format!("{}  {NAME}\n", digest(&signed.plain)));
    refused(&tree, NAME, &framed(&content, &signed.plain), 6, "failed");
}

#[test]
fn a_digest_that_is_given_is_that_of_the_image_behind_the_signature() {
    let signed = Signed::new();
    let tree = signed.machine();
    let path = publish(&tree, NAME, &signed.bytes);
    let run = tree.abide(&["write", &path, "--sha256", &digest(&signed.bytes)]).fails(7);
    assert!(run.stderr.contains("of everything behind the signature"), "{}", run.stderr);
    untouched(&tree);
    tree.abide(&["write", &path, "--sha256", &digest(&signed.plain)]).ok();
}

#[test]
fn a_folder_may_list_the_image_with_or_without_its_signature() {
    let signed = Signed::new();
    for (folder, listed) in [("inner", &signed.plain), ("outer", &signed.bytes)] {
        let folder = signed.publisher.path("out").join(folder);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(NAME), &signed.bytes).unwrap();
        signed.list(&format!("{}  {NAME}\n", digest(listed)));
        fs::copy(signed.publisher.path("out/list"), folder.join("SHA256SUMS")).unwrap();
        fs::copy(signed.publisher.path("out/list.minisig"), folder.join("SHA256SUMS.minisig")).unwrap();
        let tree = signed.machine();
        tree.abide(&["write", folder.to_str().unwrap()]).ok();
        staged(&tree, &Image::new("2.0", "b"), listed);
    }
}

#[test]
fn several_minisign_signatures_may_be_in_one_file() {
    let signed = Signed::new();
    let publisher = &signed.publisher;
    publisher.sums();
    let keys = ["one", "two"].map(|name| publisher.minisign_key(name));
    let signatures = ["one", "two"].map(|name| {
        publisher.minisign(name, "SHA256SUMS");
        fs::read(publisher.path("out/SHA256SUMS.minisig")).unwrap()
    });
    fs::write(publisher.path("out/SHA256SUMS.minisig"), signatures.concat()).unwrap();
    for key in &keys {
        let tree = machine();
        install(&tree, key, "etc/abide/keys/one.pub");
        accepted(&tree, &publisher.image());
    }
    let tree = machine();
    configure(&tree, "[trust]\nrequired = 2\n");
    install(&tree, &keys[0], "etc/abide/keys/one.pub");
    unverified(&tree, &publisher.image(), "is signed by 1 of the 2 keys");
    install(&tree, &keys[1], "etc/abide/keys/two.pub");
    accepted(&tree, &publisher.image());
}

#[test]
fn the_list_that_an_image_carries_is_stored_in_the_cache_as_that_of_a_feed() {
    let signed = Signed::new();
    let path = signed.publisher.path("out/signed").join(NAME).to_str().unwrap().to_owned();
    let tree = signed.machine();
    let cache = Cache::of(&tree.root());
    fs::create_dir_all(cache.dir()).unwrap();
    fs::write(cache.dir().join("SHA256SUMS.gpg"), "of another release").unwrap();
    let store = |tree: &Tree, path: &str| {
        let mut image = Source::file(path).unwrap().unwrap();
        let verifier = Verifier::new(&tree.root(), &Trust::default(), Installer::Agent).unwrap();
        carried::store(&mut image, NAME, &Cache::of(&tree.root()), &verifier)
    };
    assert!(store(&tree, &path).unwrap());
    assert!(!cache.dir().join("SHA256SUMS.gpg").exists());
    assert!(!store(&tree, &publish(&tree, "plain", &signed.plain)).unwrap());
    let other = machine();
    install(&other, &signed.publisher.minisign_key("other"), "etc/abide/keys/other.pub");
    assert_eq!(store(&other, &path).unwrap_err().exit_code(), 7);
    assert_eq!(Cache::of(&other.root()).list(), None);
    // Under another name it could not be found by its list.
    let mut image = Source::file(&path).unwrap().unwrap();
    let verifier = Verifier::new(&tree.root(), &Trust::default(), Installer::Agent).unwrap();
    let refused = carried::store(&mut image, "image.raw.zst", &cache, &verifier).unwrap_err();
    assert!(refused.to_string().contains("is signed as edge_2.0.raw.zst"), "{refused}");
    fs::copy(&path, cache.dir().join(NAME)).unwrap();
    assert!(cache.has(NAME, &digest(&signed.plain)));
    tree.abide(&["write", cache.dir().to_str().unwrap()]).ok();
    staged(&tree, &Image::new("2.0", "b"), &signed.plain);
}
