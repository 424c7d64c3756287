//! What stands in text files and in names.

use abide::boot::kernel_args;
use abide::disk::verity;
use abide_core::boot::model::name::EntryName;
use abide_core::boot::model::osrel::OsRelease;
use abide_core::boot::model::version::compare;
use abide_core::boot::model::{glob, type1};
use abide_core::boot::{LoaderConf, Quirks};
use abide_core::disk::RootArg;

use crate::used::used;

fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub fn os_release(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for single_quotes in [false, true] {
        let release = OsRelease::parse_as(&text, single_quotes);
        used((release.entry_title(), release.entry_version(), release.entry_sort_key()));
        used(release.image_version());
    }
}

pub fn os_release_seeds() -> Vec<Vec<u8>> {
    seeds(&["ID=edge\nIMAGE_ID=edge\nIMAGE_VERSION=2.0\nPRETTY_NAME=\"Edge \\\"2\\\"\"\n# x\nNAME='Edge'\n"])
}

/// A name that was understood is written as it was read.
pub fn entry_names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(name) = EntryName::parse(text) {
        assert_eq!(name.file(), text);
        let plain = name.with_counter(None);
        if plain.counter().is_some() {
            // `a+1+2`: without its counter another number takes that place, for the loader, too.
            return;
        }
        let counted = plain.with_counter(name.counter());
        assert_eq!(counted.counter(), name.counter());
        assert_eq!(counted.id(), name.id(), "a counter is no part of the id");
        if let Some(counter) = name.counter() {
            used(counter.after_boot());
        }
    }
}

pub fn entry_name_seeds() -> Vec<Vec<u8>> {
    seeds(&["edge_1.0.efi", "edge_1.0+3.efi", "edge_1.0+2-1.efi", "b.conf", "x+0-4294967295.conf", "ä+1.EFI"])
}

pub fn type1(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for quirks in [Quirks::V252, Quirks::V257, Quirks::NEWEST] {
        used(type1::parse(&text, &quirks));
    }
}

pub fn type1_seeds() -> Vec<Vec<u8>> {
    seeds(&[
        "title Edge\nversion 1\nsort-key edge\nmachine-id x\nlinux /vmlinuz\ninitrd /i\noptions root=a quiet\n\
             architecture x64\n# x\nefi /EFI/x.efi\n",
    ])
}

pub fn loader_conf(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for single_quotes in [false, true] {
        used(LoaderConf::parse(&text, single_quotes));
    }
    let (pattern, name) = text.split_once('\n').unwrap_or((&text, ""));
    used(glob::matches(pattern, name));
}

pub fn loader_conf_seeds() -> Vec<Vec<u8>> {
    seeds(&["timeout 3\ndefault edge_*.efi\npreferred @saved\neditor no\n", "edge_[0-9]*?.efi\nedge_1.0.efi"])
}

/// What a command line names as the root reads the same once it is written again.
pub fn command_line(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(root) = RootArg::parse(&text) {
        used((root.partition_uuid(), verity::hash_partition_uuid(&root)));
        let written = root.to_string();
        if !written.chars().any(|c| c == '\\') && written.matches('"').count() <= 2 {
            let again = RootArg::parse(&written);
            assert_eq!(again.map(|r| r.to_string()), Some(written), "of {text:?}");
        }
    }
    used(verity::mapped(&text));
    used((kernel_args::last(&text, "panic"), kernel_args::reboots_on_panic(&text)));
    used(kernel_args::waits_for_a_person(&text));
}

pub fn command_line_seeds() -> Vec<Vec<u8>> {
    seeds(&[
        "root=PARTUUID=AB-1 ro quiet panic=10",
        "\"root=PARTLABEL=my root\" boot_uuid=1",
        "roothash=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff root=/dev/mapper/root",
        "root=/dev/disk/by-partlabel/my\\x20root rd.shell rd.emergency=halt -- init",
    ])
}

/// An order is an order: it does not depend on which of two comes first, and has no circles.
pub fn versions(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let all: Vec<&str> = text.split('\n').take(3).collect();
    for a in &all {
        for b in &all {
            assert_eq!(compare(a, b), compare(b, a).reverse(), "{a:?} and {b:?}");
            for c in &all {
                if compare(a, b).is_le() && compare(b, c).is_le() {
                    assert!(compare(a, c).is_le(), "{a:?}, {b:?} and {c:?}");
                }
            }
        }
    }
}

pub fn version_seeds() -> Vec<Vec<u8>> {
    seeds(&[
        "1.0\n1.0~rc1\n1.0^post",
        "2\n10\n1-2",
        "a1\n1a\n",
        "0001\n1\n1.",
        "00000000000000000000000009\n9\n",
    ])
}
