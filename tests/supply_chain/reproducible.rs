//! The same sources give the same executables, in any folder and for any user.

use super::*;

use std::os::unix::fs::symlink;
use std::process::Command;

/// Runs `make`; prints what it printed if it fails.
fn make(folder: &Path, targets: &[&str]) -> Command {
    let mut make = program("make");
    make.arg("--silent").args(targets).current_dir(folder);
    // Of the run of Cargo that runs this test.
    for name in
        ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "RUSTFLAGS", "MAKEFLAGS", "MAKELEVEL", "CARGO_HOME"]
    {
        make.env_remove(name);
    }
    make
}

fn ok(command: &mut Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
}

/// Where Cargo and rustup keep what they have fetched.
fn home(variable: &str, folder: &str) -> PathBuf {
    std::env::var_os(variable)
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(folder), Into::into)
}

/// Copies what git tracks.
fn copy_sources(to: &Path) {
    let list = program("git").args(["ls-files", "-z"]).current_dir(top()).output().unwrap();
    for name in String::from_utf8(list.stdout).unwrap().split_terminator('\0') {
        let (from, to) = (top().join(name), to.join(name));
        // A file that was deleted, but not yet in git.
        if from.is_file() {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(&from, &to).unwrap();
        }
    }
}

#[test]
fn a_build_in_another_folder_by_another_user_gives_the_same_bytes() {
    // The full product takes minutes: `make soak`.
    let all = std::env::var_os("ABIDE_REPRODUCE").is_some();
    let built: &[(&str, &str)] = if all {
        &[("build-initramfs", "abide-initramfs"), ("build-full", "abide")]
    } else {
        &[("build-initramfs", "abide-initramfs")]
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let (folder, user) = (elsewhere.path().join("a/longer/way/to/sources"), elsewhere.path().join("someone"));
    copy_sources(&folder);
    let cargo = user.join("crates");
    fs::create_dir_all(&cargo).unwrap();
    let (own_cargo, rustup) = (home("CARGO_HOME", ".cargo"), home("RUSTUP_HOME", ".rustup"));
    for name in ["registry", "bin", "config.toml"] {
        if own_cargo.join(name).exists() {
            symlink(own_cargo.join(name), cargo.join(name)).unwrap();
        }
    }
    for (target, name) in built {
        ok(make(&top(), &[target]).env("CARGO_HOME", &own_cargo));
        let there = &mut make(&folder, &[target]);
        ok(there
            .env("HOME", &user)
            .env("CARGO_HOME", &cargo)
            .env("RUSTUP_HOME", &rustup)
            .env("USER", "someone"));
        let read = |top: &Path| fs::read(top.join("target/out").join(name)).unwrap();
        assert!(read(&top()) == read(&folder), "{name}: two builds differ");
    }
}
