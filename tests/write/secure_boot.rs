//! UKIs that the firmware would not start, where Secure Boot is on.

use abide_testing::secure_boot::{Keys, digest_list, set};

use super::*;

/// A machine whose firmware enforces these lists and has started 1.0, which `vendor` signed.
fn enforcing(keys: &Keys, lists: &[(&str, Vec<u8>)]) -> Tree {
    let tree = machine();
    fs::write(tree.entry("edge_1.0.efi"), keys.sign("vendor", &[], &uki("edge", "1.0", &cmdline("a"))))
        .unwrap();
    set(&tree, "SecureBoot", &[1]);
    set(&tree, "SetupMode", &[0]);
    for (name, list) in lists {
        set(&tree, name, list);
    }
    tree
}

fn new_uki() -> Vec<u8> {
    uki("edge", "2.0", &cmdline("b"))
}

/// Writes an image with this UKI.
fn write_uki(tree: &Tree, uki: Vec<u8>) -> Run {
    write(tree, &Image { uki: Some(uki), ..Image::new("2.0", "b") })
}

#[track_caller]
fn accepted(tree: &Tree, uki: Vec<u8>) {
    assert_eq!(write_uki(tree, uki).ok().stderr, "");
    tree.abide(&["apply"]).ok();
}

#[track_caller]
fn refused(tree: &Tree, uki: Vec<u8>, why: &str) {
    let run = write_uki(tree, uki).fails(6);
    assert!(
        run.stderr.contains("Secure Boot is on, and the firmware would not start its UKI: "),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains(why), "{}", run.stderr);
    untouched(tree);
}

#[test]
fn a_uki_is_accepted_by_its_key_an_issuer_of_that_or_its_digest() {
    let keys = Keys::new(&["vendor", "ca"]);
    keys.issue("middle", "ca");
    keys.issue("leaf", "middle");
    let with_ca = [keys.list("vendor"), keys.list("ca")].concat();
    accepted(&enforcing(&keys, &[("db", keys.list("vendor"))]), keys.sign("vendor", &[], &new_uki()));
    accepted(&enforcing(&keys, &[("db", with_ca.clone())]), keys.sign("leaf", &["middle"], &new_uki()));
    let by_digest = [keys.list("vendor"), digest_list(&new_uki())].concat();
    accepted(&enforcing(&keys, &[("db", by_digest)]), new_uki());
    keys.issue_with("no-ca", "ca", "basicConstraints=CA:FALSE\n");
    keys.issue("below", "no-ca");
    let below = keys.sign("below", &["no-ca"], &new_uki());
    refused(&enforcing(&keys, &[("db", with_ca.clone())]), below, "the certificate 'below'");
    // Without the certificate in between there is no way from one to the other.
    let tree = enforcing(&keys, &[("db", with_ca)]);
    refused(
        &tree,
        keys.sign("leaf", &[], &new_uki()),
        "the certificate 'leaf', by which it is signed, is not in db",
    );
}

#[test]
fn a_uki_that_no_listed_key_has_signed_as_it_is_is_refused() {
    let keys = Keys::new(&["vendor", "other"]);
    let tree = enforcing(&keys, &[("db", keys.list("vendor"))]);
    refused(&tree, new_uki(), "it is not signed; sign it with `sbsign` and a key whose certificate is in db");
    refused(
        &tree,
        keys.sign("other", &[], &new_uki()),
        "the certificate 'other', by which it is signed, is not in db",
    );

    let signed = keys.sign("vendor", &[], &new_uki());
    let why = "the signature of 'vendor' does not fit it: it was changed after it was signed";
    let kernel = signed.windows(16).position(|bytes| bytes == [0xc3; 16]).unwrap();
    let mut changed = signed.clone();
    changed[kernel] = 0;
    refused(&tree, changed, why);
    // The signature as openssl makes it ends in that of RSA.
    let mut broken = signed.clone();
    let end = signed.len() - 20;
    broken[end] ^= 1;
    refused(&tree, broken, "does not fit it");
    // What is appended, objcopy's way, is not covered by the signature.
    let mut longer = signed.clone();
    longer.extend([0; 8]);
    refused(&tree, longer, "does not fit it");
    accepted(&tree, signed);
}

#[test]
fn what_dbx_revokes_is_refused_by_digest_certificate_or_its_hash() {
    let keys = Keys::new(&["vendor", "old"]);
    keys.issue("leaf", "old");
    let db = [keys.list("vendor"), keys.list("old")].concat();
    let of_old = "dbx revokes the certificate 'old', by which it is signed; sign it with another key";
    let of_leaf = of_old.replace("'old'", "'leaf'");
    let padded = keys.sign("vendor", &[], &new_uki());
    let cases = [
        (digest_list(&new_uki()), padded, "dbx revokes its digest".to_owned()),
        (keys.list("old"), keys.sign("old", &[], &new_uki()), of_old.to_owned()),
        (keys.list("old"), keys.sign("leaf", &[], &new_uki()), of_old.to_owned()),
        (keys.list("leaf"), keys.sign("leaf", &[], &new_uki()), of_leaf.clone()),
        (keys.revoking("leaf", false, 0), keys.sign("leaf", &[], &new_uki()), of_leaf),
        (keys.revoking("old", true, 0), keys.sign("leaf", &[], &new_uki()), of_old.to_owned()),
        // Nothing tells when it was signed.
        (keys.revoking("old", false, 9), keys.sign("old", &[], &new_uki()), of_old.to_owned()),
    ];
    for (dbx, uki, why) in cases {
        let tree = enforcing(&keys, &[("db", db.clone()), ("dbx", dbx.clone())]);
        refused(&tree, uki, &why);
        accepted(&enforcing(&keys, &[("db", db.clone())]), keys.sign("old", &[], &new_uki()));
    }
}

#[test]
fn with_shim_the_keys_of_the_owner_count_too() {
    let keys = Keys::new(&["vendor", "owner"]);
    let db = ("db", keys.list("vendor"));
    let signed = || keys.sign("owner", &[], &new_uki());
    accepted(&enforcing(&keys, &[db.clone(), ("MokListRT", keys.list("owner"))]), signed());
    let tree = enforcing(&keys, &[db.clone(), ("MokListRT", digest_list(b"MZ"[..].repeat(500).as_slice()))]);
    refused(&tree, signed(), "is not in db or MokListRT");
    let run = write_uki(&tree, signed()).fails(6);
    assert!(run.stderr.contains("or enrol its certificate with `mokutil --import`"), "{}", run.stderr);
    // A long list is in several variables.
    set(&tree, "MokListRT1", &keys.list("owner"));
    accepted(&tree, signed());
    let revoked = [("MokListRT", keys.list("owner")), ("MokListXRT", keys.list("owner")), db];
    refused(&enforcing(&keys, &revoked), signed(), "MokListXRT revokes the certificate 'owner'");
}

#[test]
fn nothing_is_asked_where_secure_boot_is_off() {
    let keys = Keys::new(&["vendor"]);
    for (name, value) in [("SecureBoot", 0), ("SetupMode", 1), ("MokSBStateRT", 1)] {
        let tree = enforcing(&keys, &[("db", keys.list("vendor"))]);
        set(&tree, name, &[value]);
        accepted(&tree, new_uki());
    }
}

#[test]
fn a_rule_that_does_not_hold_for_the_running_system_only_warns() {
    let keys = Keys::new(&["vendor", "other"]);
    let tree = enforcing(&keys, &[("db", keys.list("other"))]);
    let run = write_uki(&tree, new_uki()).ok();
    let told =
        "By the same rule it would not start the running EFI/Linux/edge_1.0.efi either, so this is ignored";
    assert!(run.stderr.contains(told), "{}", run.stderr);
}

#[test]
fn a_short_key_is_not_refused_with_any_hash() {
    for (hash, warns) in [("sha256", false), ("sha384", true), ("sha512", false)] {
        let keys = Keys::new(&["vendor"]);
        keys.issue_by_short("signer", "short", hash);
        let tree = enforcing(&keys, &[("db", [keys.list("vendor"), keys.list("short")].concat())]);
        let run = write_uki(&tree, keys.sign("signer", &[], &new_uki())).ok();
        assert_eq!(
            run.stderr.contains("it is not known whether the firmware would start"),
            warns,
            "{hash}: {run:?}"
        );
    }
}

#[test]
fn lists_that_cannot_be_read_only_warn() {
    let keys = Keys::new(&["vendor"]);
    for garbage in [vec![1; 40], vec![0xff; 4096], keys.list("vendor")[..100].to_vec()] {
        let run = write_uki(&enforcing(&keys, &[("db", garbage)]), new_uki()).ok();
        assert!(run.stderr.contains("the EFI variable db is not a list of keys"), "{}", run.stderr);
    }
    let tree = enforcing(&keys, &[("db", keys.list("vendor"))]);
    fs::create_dir(tree.path("sys/firmware/efi/efivars/dbx-d719b2cb-3d3a-4596-a3bc-dad00e67656f")).unwrap();
    let run = write_uki(&tree, new_uki()).ok();
    assert!(run.stderr.contains("the EFI variable dbx cannot be read"), "{}", run.stderr);
}

#[test]
fn a_table_of_signatures_that_is_cut_off_or_garbage_is_refused() {
    let keys = Keys::new(&["vendor"]);
    let tree = enforcing(&keys, &[("db", keys.list("vendor"))]);
    let signed = keys.sign("vendor", &[], &new_uki());
    let table = new_uki().len().next_multiple_of(8);
    let mut garbage = signed.clone();
    garbage[table + 8..].fill(0xff);
    refused(&tree, garbage, "the signature is damaged");
    let mut endless = signed.clone();
    endless[table..table + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    refused(&tree, endless, "its headers or its table of signatures are damaged");
    refused(&tree, signed[..signed.len() - 8].to_vec(), "its headers or its table of signatures are damaged");
}

#[test]
fn what_was_revoked_since_it_was_written_is_not_applied_or_gone_back_to() {
    let keys = Keys::new(&["vendor", "other"]);
    let db = [keys.list("vendor"), keys.list("other")].concat();
    let mut tree = enforcing(&keys, &[("db", db)]);
    write_uki(&tree, keys.sign("other", &[], &new_uki())).ok();
    set(&tree, "dbx", &keys.list("other"));
    let run = tree.abide(&["apply"]).fails(6);
    assert!(run.stderr.contains("dbx revokes the certificate 'other'"), "{}", run.stderr);
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
    set(&tree, "dbx", &[]);
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("2.0");
    tree.abide(&["commit", "--now"]).ok();
    tree.boot_with_initrd("2.0");
    set(&tree, "dbx", &keys.list("vendor"));
    let run = tree.abide(&["rollback"]).fails(6);
    assert!(run.stderr.contains("dbx revokes the certificate 'vendor'"), "{}", run.stderr);
    set(&tree, "dbx", &[]);
    tree.abide(&["rollback"]).ok();
}
