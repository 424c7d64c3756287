//! The folders of keys: whatever lies there and is not used must not go unnoticed.

use super::publisher::*;
use super::*;

const FOLDERS: [&str; 2] = ["etc/abide/keys", "usr/lib/abide/keys"];

#[test]
fn whatever_lies_in_a_key_folder_and_is_no_key_is_an_error() {
    let publisher = Publisher::new();
    let key = publisher.minisign_key("ours");
    publisher.minisign("ours", "edge.raw");
    for folder in FOLDERS {
        for name in
            ["ours.PUB", "ours.key", "ours.pub.dpkg-old", "README", ".hidden", "folder.pub", "empty.pub"]
        {
            // Alone, and beside a key that is in order.
            for is_alone in [true, false] {
                let tree = machine();
                let place = tree.path(folder).join(name);
                fs::create_dir_all(tree.path(folder)).unwrap();
                match name {
                    "folder.pub" => fs::create_dir(&place).unwrap(),
                    "empty.pub" => fs::write(&place, "").unwrap(),
                    _ => drop(fs::copy(&key, &place).unwrap()),
                }
                if !is_alone {
                    install(&tree, &key, "etc/abide/keys/good.pub");
                }
                unverified(&tree, &publisher.image(), name);
                let found = tree.abide(&["doctor"]).stdout;
                assert!(found.contains("[key-file]") && found.contains(name), "{found}");
            }
        }
    }
}

#[test]
fn only_a_link_to_dev_null_masks_a_key() {
    let publisher = Publisher::new();
    let key = publisher.minisign_key("ours");
    publisher.minisign("ours", "edge.raw");
    let tree = machine();
    install(&tree, &key, "usr/lib/abide/keys/ours.pub");
    accepted(&tree, &publisher.image());
    let tree = machine();
    install(&tree, &key, "usr/lib/abide/keys/ours.pub");
    install(&tree, &publisher.minisign_key("theirs"), "etc/abide/keys/theirs.pub");
    symlink("/dev/null", tree.path("etc/abide/keys/ours.pub")).unwrap();
    unverified(&tree, &publisher.image(), "is not installed");
}

#[test]
fn the_keyrings_of_systemd_are_merged_under_both_names() {
    let publisher = Publisher::new();
    publisher.sums();
    let ours = publisher.key("ours", "ed25519", "never", &[]);
    let theirs = publisher.key("theirs", "ed25519", "never", &[]);
    publisher.sign("ours", &[]);
    for vendor in ["usr/lib/systemd/import-pubring.pgp", "usr/lib/systemd/import-pubring.gpg"] {
        for admin in ["etc/systemd/import-pubring.pgp", "etc/systemd/import-pubring.gpg"] {
            for (first, second) in [(&ours, &theirs), (&theirs, &ours)] {
                let tree = machine();
                install(&tree, first, vendor);
                install(&tree, second, admin);
                accepted(&tree, &publisher.image());
            }
            let tree = machine();
            install(&tree, &ours, vendor);
            fs::create_dir_all(tree.path("etc/systemd")).unwrap();
            symlink("/dev/null", tree.path(admin)).unwrap();
            install(&tree, &theirs, "etc/abide/keys/theirs.gpg");
            unverified(&tree, &publisher.image(), "is not installed");
        }
    }
}

#[test]
fn a_revocation_counts_in_whichever_file_it_is() {
    let publisher = Publisher::new();
    publisher.sums();
    let key = publisher.key("ours", "ed25519", "never", &[]);
    publisher.sign("ours", &[]);
    publisher.run(
        "sh",
        &["-c", "for r in ../gpg/openpgp-revocs.d/*.rev; do sed s/^:---/---/ $r | gpg --homedir ../gpg --batch --import; done"],
    );
    let revoked = publisher.path("revoked.gpg");
    publisher.gpg(&["--output", revoked.to_str().unwrap(), "--export", "ours"]);
    for name in ["a.gpg", "z.gpg"] {
        let tree = machine();
        install(&tree, &key, "usr/lib/abide/keys/ours.gpg");
        install(&tree, &revoked, &format!("etc/abide/keys/{name}"));
        unverified(&tree, &publisher.image(), "revoked");
    }
}

#[test]
fn what_was_signed_in_the_future_is_refused() {
    let publisher = Publisher::new();
    publisher.sums();
    let then = ["--faked-system-time", "20990101T000000!"];
    let key = publisher.key("ours", "ed25519", "never", &[]);
    publisher.sign("ours", &then);
    let tree = machine();
    install(&tree, &key, "etc/abide/keys/ours.gpg");
    unverified(&tree, &publisher.image(), "was made on 2099-01-01, but this machine's clock says");
    // A key from the future.
    let key = publisher.key("later", "ed25519", "never", &then);
    publisher.sign("later", &then);
    let tree = machine();
    install(&tree, &key, "etc/abide/keys/ours.gpg");
    unverified(&tree, &publisher.image(), "clock says");
    // minisign says so in its comment.
    let key = publisher.minisign_key("mini");
    let tree = machine();
    install(&tree, &key, "etc/abide/keys/ours.pub");
    for file in ["SHA256SUMS", "edge.raw"] {
        publisher.minisign_with("mini", file, &["-t", "timestamp:4070908800"]);
        unverified(&tree, &publisher.image(), "clock says");
        fs::remove_file(publisher.path(&format!("out/{file}.minisig"))).unwrap();
    }
}

#[test]
fn an_armoured_signature_may_have_its_own_name() {
    let publisher = Publisher::new();
    publisher.sums();
    let key = publisher.key("ours", "ed25519", "never", &[]);
    publisher.gpg(&["-u", "ours", "--armor", "--output", "SHA256SUMS.asc", "--detach-sign", "SHA256SUMS"]);
    let tree = machine();
    install(&tree, &key, "etc/abide/keys/ours.gpg");
    accepted(&tree, &publisher.image());
}

#[test]
fn as_many_keys_must_sign_as_the_configuration_requires() {
    let publisher = Publisher::new();
    publisher.sums();
    let (one, two) =
        (publisher.key("one", "ed25519", "never", &[]), publisher.key("two", "ed25519", "never", &[]));
    let mini = publisher.minisign_key("mini");
    let tree = || {
        let tree = machine();
        install(&tree, &one, "etc/abide/keys/one.gpg");
        install(&tree, &two, "etc/abide/keys/two.gpg");
        install(&tree, &mini, "etc/abide/keys/mini.pub");
        configure(&tree, "[trust]\nrequired = 2\n");
        tree
    };
    publisher.sign("one", &[]);
    unverified(&tree(), &publisher.image(), "is signed by 1 of the 2 keys");
    // A key counts once, however often it has signed.
    publisher.run("sh", &["-c", "cat SHA256SUMS.gpg SHA256SUMS.gpg > twice; mv twice SHA256SUMS.gpg"]);
    unverified(&tree(), &publisher.image(), "is signed by 1 of the 2 keys");
    // The signature of the image itself is only one.
    publisher.minisign("mini", "edge.raw");
    unverified(&tree(), &publisher.image(), "is signed by 1 of the 2 keys");
    publisher.minisign("mini", "SHA256SUMS");
    accepted(&tree(), &publisher.image());
    fs::remove_file(publisher.path("out/SHA256SUMS.minisig")).unwrap();
    publisher.sign("one", &["-u", "two"]);
    let tree = tree();
    accepted(&tree, &publisher.image());
    assert_eq!(tree.status()["slots"][1]["verified"], "signed by one.gpg and two.gpg");
}

#[test]
fn a_file_with_two_minisign_keys_is_an_error() {
    let publisher = Publisher::new();
    let (one, two) = (publisher.minisign_key("one"), publisher.minisign_key("two"));
    publisher.minisign("one", "edge.raw");
    let both = [read(&one), read(&two)].concat();
    let tree = machine();
    install(&tree, &one, "etc/abide/keys/both.pub");
    fs::write(tree.path("etc/abide/keys/both.pub"), both).unwrap();
    unverified(&tree, &publisher.image(), "holds more than one minisign public key");
}

#[test]
fn a_folder_of_keys_that_is_away_is_not_the_same_as_none() {
    let publisher = Publisher::new();
    let tree = machine();
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    symlink("/data/keys", tree.path("etc/abide/keys")).unwrap();
    unverified(&tree, &publisher.image(), "cannot read the keys");
}

#[test]
fn a_file_of_an_older_list_is_refused_like_its_folder() {
    let publisher = Publisher::new();
    let key = publisher.minisign_key("ours");
    let tree = machine();
    install(&tree, &key, "etc/abide/keys/ours.pub");
    publisher.sums();
    publisher.minisign_with("ours", "SHA256SUMS", &["-t", "timestamp:1700000001"]);
    accepted(&tree, &publisher.image());
    assert_eq!(tree.state().lists.len(), 1);
    publisher.minisign_with("ours", "SHA256SUMS", &["-t", "timestamp:1700000000"]);
    let spelled = publisher.path("out/../out/./edge.raw").to_str().unwrap().to_owned();
    for image in [publisher.image(), spelled] {
        let run = tree.abide(&["write", &image]).fails(7);
        assert!(run.stderr.contains("is older than one that was seen before"), "{}", run.stderr);
    }
    tree.abide(&["write", &publisher.image(), "--allow-downgrade"]).ok();
}
