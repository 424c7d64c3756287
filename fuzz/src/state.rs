//! What is remembered on the ESP and in the firmware, where anything may have written.

use std::fs;

use abide::boot::firmware::BootOptions;
use abide_core::boot::{EfiVars, LoaderVars};
use abide_core::root::Root;
use abide_core::state::State;
use abide_core::state::state_file::{Decoded, decode};

use crate::used::used;
use sha2::{Digest, Sha256};

/// A generation as it is on the disk, and then its body as if its checksum were right.
pub fn state(bytes: &[u8]) {
    used(decode(bytes));
    let mut hash = Sha256::new();
    hash.update(1_u64.to_le_bytes());
    hash.update(bytes);
    let sum = abide_core::hex::encode(&hash.finalize());
    let head = format!("abide-state 1 {:020} {:05} {sum}\n", 1, bytes.len());
    if let Decoded::State(_, contents) = decode(&[head.as_bytes(), bytes].concat()) {
        let state = contents.state;
        used(abide::update::refusal::failure_of(&state, Some("1"), None).is_some());
        assert_eq!(again(&state).as_ref(), Some(&state));
    }
}

/// What is remembered, written and read.
fn again(state: &State) -> Option<State> {
    serde_json::from_slice(&serde_json::to_vec(state).ok()?).ok()
}

pub fn state_seeds() -> Vec<Vec<u8>> {
    let update = r#"{"image_id":"edge","version":"2.0","digest":null,"slot":"b","stage":"staged","uki":null,
        "root":"root=PARTLABEL=b","entry":"","tries":3,"applied_in":"","previous":null,"boots":[],"verdict":null,
        "ended":null}"#;
    let failure = r#"{"version":"3.0","digest":null,"attempts":3,"phase":"initramfs","reason":"x","checks":[],"time":""}"#;
    let whole = format!(r#"{{"update":{update},"failures":[{failure}]}}"#);
    vec![b"{}".to_vec(), whole.into_bytes(), vec![b'\n'; 64], b"abide-state 1 00001 00002 00\n{}\n".to_vec()]
}

const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// The variables of a machine: the first byte says which one the rest is of.
pub fn efi_variables(bytes: &[u8]) {
    let Some((which, rest)) = bytes.split_first() else { return };
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return };
    let vars = dir.path().join("sys/firmware/efi/efivars");
    if fs::create_dir_all(&vars).is_err() {
        return;
    }
    let put =
        |name: &str, guid: &str, bytes: &[u8]| fs::write(vars.join(format!("{name}-{guid}")), bytes).is_ok();
    let order = put("BootOrder", GLOBAL, &[7, 0, 0, 0, 1, 0, 2, 0]);
    const NAMES: [(&str, &str); 10] = [
        ("Boot0001", GLOBAL),
        ("BootOrder", GLOBAL),
        ("BootCurrent", GLOBAL),
        ("LoaderBootCountPath", LOADER),
        ("LoaderEntrySelected", LOADER),
        ("LoaderDevicePartUUID", LOADER),
        ("LoaderInfo", LOADER),
        ("LoaderEntries", LOADER),
        ("LoaderFeatures", LOADER),
        ("LoaderEntryOneShot", LOADER),
    ];
    let Some((name, guid)) = NAMES.get(usize::from(*which) % NAMES.len()) else { return };
    if !order || !put(name, guid, rest) {
        return;
    }
    let vars = EfiVars::new(&Root::at(dir.path()));
    let read = LoaderVars::read(&vars);
    used((read.quirks(), LoaderVars::read_device(&vars)));
    used(BootOptions::read(&vars));
}

pub fn efi_variable_seeds() -> Vec<Vec<u8>> {
    let text = |which: u8, text: &str| {
        let mut bytes = vec![which, 7, 0, 0, 0];
        bytes.extend(text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        bytes
    };
    // Attributes, then a load option (UEFI 2.10, 3.1.3): active, the paths' length, a name, a hard drive
    // and a file on it, the end.
    let mut option = vec![0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0];
    option.extend("Linux".encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
    let mut paths = vec![4, 1, 42, 0, 1, 0, 0, 0];
    paths.extend([0; 16]);
    paths.extend([0x11; 16]);
    paths.extend([2, 2]);
    let file: Vec<u8> = "\\EFI\\x.efi".encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    paths.extend([4, 4, u8::try_from(file.len() + 4).unwrap_or(0), 0]);
    paths.extend(file);
    paths.extend([0x7f, 0xff, 4, 0]);
    option[9] = u8::try_from(paths.len()).unwrap_or(0);
    option.extend(paths);
    vec![
        option,
        vec![1, 7, 0, 0, 0, 1, 0, 2, 0],
        text(3, "\\EFI\\Linux\\edge_1.0+2-1.efi"),
        text(4, "edge_1.0.efi"),
        text(5, "0AB1DE00-0000-4000-8000-000000000001"),
        text(6, "systemd-boot 257.13"),
        vec![8, 7, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0],
    ]
}
