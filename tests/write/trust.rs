//! Images with and without digests and signatures: made with the real gpg, minisign and sha256sum.

use super::publisher::*;
use super::*;

#[test]
fn a_list_signed_with_gpg_is_trusted_from_every_place_for_keys() {
    let publisher = Publisher::new();
    publisher.sums();
    for kind in ["ed25519", "rsa2048", "nistp256"] {
        let key = publisher.key(kind, kind, "never", &[]);
        publisher.sign(kind, &[]);
        for place in [
            "etc/abide/keys/ours.gpg",
            "usr/lib/abide/keys/ours.pgp",
            "etc/systemd/import-pubring.gpg",
            "usr/lib/systemd/import-pubring.gpg",
        ] {
            let tree = machine();
            install(&tree, &key, place);
            accepted(&tree, &publisher.image());
        }
    }
}

#[test]
fn armoured_keys_signatures_and_signing_subkeys_are_understood() {
    let publisher = Publisher::new();
    publisher.sums();
    publisher.gpg(&["--quick-generate-key", "sub", "ed25519", "cert", "never"]);
    let list = program("gpg")
        .args(["--homedir", publisher.path("gpg").to_str().unwrap(), "--list-keys", "--with-colons", "sub"])
        .output()
        .unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let print = list.lines().find_map(|l| l.strip_prefix("fpr:")).unwrap().trim_matches(':').to_owned();
    publisher.gpg(&["--quick-add-key", &print, "rsa2048", "sign", "never"]);
    let key = publisher.path("sub.asc");
    publisher.gpg(&["--armor", "--output", key.to_str().unwrap(), "--export", "sub"]);
    publisher.sign("sub", &["--armor"]);
    let tree = machine();
    install(&tree, &key, "etc/abide/keys/ours.asc");
    accepted(&tree, &publisher.image());
}

#[test]
fn a_list_or_an_image_signed_with_minisign_is_trusted() {
    let publisher = Publisher::new();
    let key = publisher.minisign_key("ours");
    publisher.minisign("ours", "edge.raw");
    let tree = machine();
    install(&tree, &key, "etc/abide/keys/ours.pub");
    accepted(&tree, &publisher.image());
    fs::remove_file(publisher.path("out/edge.raw.minisig")).unwrap();
    publisher.sums();
    publisher.minisign("ours", "SHA256SUMS");
    let tree = machine();
    install(&tree, &key, "usr/lib/abide/keys/ours.pub");
    accepted(&tree, &publisher.image());
}

#[test]
fn keys_change_over_one_by_one() {
    let publisher = Publisher::new();
    publisher.sums();
    let (old, new) =
        (publisher.key("old", "ed25519", "never", &[]), publisher.key("new", "ed25519", "never", &[]));
    let tree = machine();
    install(&tree, &old, "usr/lib/abide/keys/old.gpg");
    install(&tree, &new, "etc/abide/keys/new.gpg");
    publisher.sign("old", &[]);
    accepted(&tree, &publisher.image());
    publisher.sign("new", &[]);
    accepted(&tree, &publisher.image());
    // A link to /dev/null disables the vendor's key.
    let tree = machine();
    install(&tree, &old, "usr/lib/abide/keys/old.gpg");
    install(&tree, &new, "etc/abide/keys/new.gpg");
    symlink("/dev/null", tree.path("etc/abide/keys/old.gpg")).unwrap();
    publisher.sign("old", &[]);
    unverified(&tree, &publisher.image(), "is not installed");
    // Signed by both, in one file.
    publisher.sign("old", &["-u", "new"]);
    accepted(&tree, &publisher.image());
}

#[test]
fn what_is_not_signed_by_an_installed_key_is_refused() {
    let publisher = Publisher::new();
    let key = publisher.key("ours", "ed25519", "never", &[]);
    publisher.key("theirs", "ed25519", "never", &[]);
    let tree = machine();
    install(&tree, &key, "etc/abide/keys/ours.gpg");
    let image = publisher.image();
    unverified(&tree, &image, "is not signed");
    publisher.sums();
    unverified(&tree, &image, "is not signed");
    publisher.minisign_key("mini");
    publisher.minisign("mini", "SHA256SUMS");
    unverified(&tree, &image, "is not signed");
    fs::write(publisher.path("out/SHA256SUMS.gpg"), "").unwrap();
    unverified(&tree, &image, "is empty");
    fs::write(publisher.path("out/SHA256SUMS.gpg"), "undefined data").unwrap();
    unverified(&tree, &image, "cannot be read as an OpenPGP signature");
    publisher.sign("theirs", &[]);
    unverified(&tree, &image, "is not installed");
    publisher.sign("ours", &["--digest-algo", "SHA1"]);
    unverified(&tree, &image, "SHA1, which is unknown or too weak");
    publisher.sign("ours", &[]);
    accepted(&tree, &image);
    // A digest on the command line is not a signature.
    fs::remove_file(publisher.path("out/SHA256SUMS.gpg")).unwrap();
    let tree = machine();
    install(&tree, &key, "etc/abide/keys/ours.gpg");
    let sum = digest(&Image::new("2.0", "b").bytes());
    tree.abide(&["write", &image, "--sha256", &sum]).fails(7);
    untouched(&tree);
}

#[test]
fn a_flipped_bit_in_the_list_or_in_its_signature_is_noticed() {
    let publisher = Publisher::new();
    let key = publisher.key("ours", "ed25519", "never", &[]);
    let mini = publisher.minisign_key("ours");
    publisher.sums();
    publisher.sign("ours", &[]);
    publisher.minisign("ours", "SHA256SUMS");
    let tree = machine();
    for (key, place, files) in [
        (key, "etc/abide/keys/ours.gpg", ["SHA256SUMS", "SHA256SUMS.gpg"]),
        (mini, "etc/abide/keys/ours.pub", ["SHA256SUMS", "SHA256SUMS.minisig"]),
    ] {
        install(&tree, &key, place);
        for file in files {
            let file = publisher.path("out").join(file);
            let good = fs::read(&file).unwrap();
            for at in [5, good.len() / 2, good.len() - 4] {
                let mut bad = good.clone();
                bad[at] ^= 1;
                // A comment of minisign's may say anything.
                let comment = bad.split_at(at).0.iter().filter(|b| **b == b'\n').count() == 0;
                if comment && file.extension().is_some_and(|e| e == "minisig") {
                    continue;
                }
                fs::write(&file, bad).unwrap();
                tree.abide(&["write", &publisher.image()]).fails(7);
                untouched(&tree);
            }
            fs::write(&file, good).unwrap();
        }
        fs::remove_file(tree.path(place)).unwrap();
    }
}

#[test]
fn a_signed_image_that_was_exchanged_is_written_but_never_boots() {
    let publisher = Publisher::new();
    let key = publisher.minisign_key("ours");
    publisher.sums();
    publisher.minisign("ours", "SHA256SUMS");
    let other = Image { root: noise(600 * 1024, 77), ..Image::new("2.0", "b") };
    fs::write(publisher.path("out/edge.raw"), other.bytes()).unwrap();
    let tree = machine();
    install(&tree, &key, "etc/abide/keys/ours.pub");
    let run = tree.abide(&["write", &publisher.image()]).fails(7);
    assert!(run.stderr.contains("is damaged or was replaced"), "{}", run.stderr);
    unbootable(&tree);
    // The same where the signature is of the image itself.
    fs::write(publisher.path("out/edge.raw"), Image::new("2.0", "b").bytes()).unwrap();
    publisher.minisign("ours", "edge.raw");
    fs::write(publisher.path("out/edge.raw"), other.bytes()).unwrap();
    let tree = machine();
    install(&tree, &key, "etc/abide/keys/ours.pub");
    let run = tree.abide(&["write", &publisher.image()]).fails(7);
    assert!(run.stderr.contains("signature does not match"), "{}", run.stderr);
    unbootable(&tree);
}

#[test]
fn an_image_whose_digest_is_known_and_that_is_damaged_fails_as_unverified() {
    let publisher = Publisher::new();
    let image = Image::new("2.0", "b");
    for bytes in [image.bytes(), image.gz()] {
        let file = publisher.path("out/edge.raw");
        for tenth in 1..10 {
            let at = bytes.len() * tenth / 10;
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            for damaged in [flipped, bytes[..at].to_vec()] {
                fs::write(&file, &damaged).unwrap();
                let tree = machine();
                tree.abide(&["write", &publisher.image(), "--sha256", &digest(&bytes)]).fails(7);
                if tree.entries().len() == 2 { untouched(&tree) } else { unbootable(&tree) }
            }
        }
    }
}

#[test]
fn expired_keys_signatures_and_lists_are_refused() {
    let publisher = Publisher::new();
    publisher.sums();
    let then = ["--faked-system-time", "20200101T000000!"];
    let key = publisher.key("old", "ed25519", "2020-02-01", &then);
    publisher.sign("old", &then);
    let tree = machine();
    install(&tree, &key, "etc/abide/keys/ours.gpg");
    unverified(&tree, &publisher.image(), "expired on 2020-02-01");
    let key = publisher.key("new", "ed25519", "never", &then);
    let tree = machine();
    install(&tree, &key, "etc/abide/keys/ours.gpg");
    publisher.sign("new", &[&then[..], &["--default-sig-expire", "2020-03-01"]].concat());
    unverified(&tree, &publisher.image(), "expired on 2020-03-01");
    publisher.run("sh", &["-c", "touch BEST-BEFORE-2021-06-30; sha256sum edge.raw BEST-* > SHA256SUMS"]);
    publisher.sign("new", &[]);
    unverified(&tree, &publisher.image(), "expired on 2021-06-30");
    publisher.run(
        "sh",
        &["-c", "rm BEST-*; touch BEST-BEFORE-2999-06-30; sha256sum edge.raw BEST-* > SHA256SUMS"],
    );
    publisher.sign("new", &[]);
    accepted(&tree, &publisher.image());
}

#[test]
fn a_revoked_key_is_refused() {
    let publisher = Publisher::new();
    publisher.sums();
    publisher.key("ours", "ed25519", "never", &[]);
    publisher.sign("ours", &[]);
    publisher.run(
        "sh",
        &["-c", "for r in ../gpg/openpgp-revocs.d/*.rev; do sed s/^:---/---/ $r | gpg --homedir ../gpg --batch --import; done"],
    );
    let key = publisher.path("revoked.gpg");
    publisher.gpg(&["--output", key.to_str().unwrap(), "--export", "ours"]);
    let tree = machine();
    install(&tree, &key, "etc/abide/keys/ours.gpg");
    unverified(&tree, &publisher.image(), "revoked");
}

#[test]
fn a_key_file_that_cannot_be_understood_refuses_everything() {
    let publisher = Publisher::new();
    let key = publisher.key("ours", "ed25519", "never", &[]);
    publisher.sums();
    publisher.sign("ours", &[]);
    for (place, content) in [
        ("etc/abide/keys/theirs.gpg", &b"not a key"[..]),
        ("etc/abide/keys/theirs.asc", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxxxx\n"),
        ("etc/abide/keys/theirs.pub", b"not a key"),
        ("etc/systemd/import-pubring.gpg", b"\0\0\0 \x01\x01\0\x02KBXf\0\0\0\0"),
    ] {
        let tree = machine();
        install(&tree, &key, "etc/abide/keys/ours.gpg");
        fs::create_dir_all(tree.path("etc/systemd")).unwrap();
        fs::write(tree.path(place), content).unwrap();
        unverified(&tree, &publisher.image(), "the key file");
    }
}

#[test]
fn the_policy_decides_what_is_enough() {
    let publisher = Publisher::new();
    let image = publisher.image();
    let sum = digest(&Image::new("2.0", "b").bytes());
    let tree = machine();
    configure(&tree, "[trust]\npolicy = 'signature'\n");
    unverified(&tree, &image, "no key is installed");
    configure(&tree, "[trust]\npolicy = 'digest'\n");
    unverified(&tree, &image, "give --sha256");
    tree.abide(&["write", &image, "--sha256", &sum]).ok();
    publisher.sums();
    let tree = machine();
    configure(&tree, "[trust]\npolicy = 'digest'\n");
    accepted(&tree, &image);
    // The list and what was given must agree.
    publisher.run("sh", &["-c", "sed -i s/^../00/ SHA256SUMS"]);
    tree.abide(&["write", &image]).fails(7);
    let tree = machine();
    configure(&tree, "[trust]\npolicy = 'none'\n");
    accepted(&tree, &image);
    // Without a configuration a list that lies beside the image counts.
    let tree = machine();
    tree.abide(&["write", &image]).fails(7);
    unbootable(&tree);
}

#[test]
fn from_a_server_nothing_is_taken_on_faith() {
    let image = Image::new("2.0", "b").bytes();
    let tree = machine();
    let run = tree.abide(&["write", &serve(Answer::Bare(image.clone()))]).fails(7);
    assert!(run.stderr.contains("comes over a network, and no key is installed"), "{}", run.stderr);
    untouched(&tree);
    let given = tree.abide(&["write", &serve(Answer::Bare(image.clone())), "--sha256", &digest(&image)]).ok();
    assert!(given.stdout.contains("slot b: digest given by hand, "), "{}", given.stdout);
    let tree = machine();
    configure(&tree, "[trust]\npolicy = 'none'\n");
    let run = tree.abide(&["write", &serve(Answer::Bare(image))]).ok();
    assert!(run.stdout.contains("slot b: not verified, "), "{}", run.stdout);
    assert_eq!(tree.status()["slots"][1]["verified"], "not verified");
}

#[test]
fn standard_input_is_never_signed() {
    let publisher = Publisher::new();
    let tree = machine();
    install(&tree, &publisher.minisign_key("ours"), "etc/abide/keys/ours.pub");
    assert_eq!(start(&tree).wait().unwrap().code(), Some(7));
    untouched(&tree);
}
