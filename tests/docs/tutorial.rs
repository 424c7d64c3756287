//! The tutorial, run by a shell as a reader would.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use abide_testing::skip::skipped;
use abide_testing::{Run, program};

use crate::{blocks, session, top};

/// Below the top folder.
pub const PAGE: &str = "docs/tutorial/first-update.md";

#[test]
fn the_tutorial_leads_to_a_commit_and_to_a_rollback() {
    if let Some(missing) = missing() {
        return skipped("the tutorial", &missing);
    }
    let dir = tempfile::tempdir().unwrap();
    symlink(top().join("docs"), dir.path().join("docs")).unwrap();
    for block in blocks(&top().join(PAGE)) {
        match block.info.split_once(' ').unwrap_or((&block.info, "")) {
            ("console", _) => session::compare(&block, "$ ", |command| shell(dir.path(), command)),
            ("toml", file) => fs::write(dir.path().join(file), block.lines.join("\n")).unwrap(),
            // The build; tests/docs/described.rs knows the targets.
            ("sh", _) => {}
            (other, _) => panic!("{}: a block of kind '{other}'", block.place),
        }
    }
}

/// What the tutorial's scripts need and this machine does not have.
fn missing() -> Option<String> {
    let found = |name: &str| std::env::split_paths(&path()).any(|dir| dir.join(name).exists());
    let stubs = fs::read_dir("/usr/lib/systemd/boot/efi").into_iter().flatten().flatten();
    if stubs.map(|file| file.file_name()).all(|name| !name.to_string_lossy().ends_with(".efi.stub")) {
        return Some("no systemd stub (systemd-boot-efi)".to_owned());
    }
    ["objcopy", "iconv"].into_iter().find(|name| !found(name)).map(|name| format!("no {name}"))
}

/// The search path, with the executable under test first.
fn path() -> std::ffi::OsString {
    let built = Path::new(env!("CARGO_BIN_EXE_abide")).parent().map(PathBuf::from);
    let rest = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(built.into_iter().chain(std::env::split_paths(&rest))).unwrap()
}

fn shell(dir: &Path, command: &str) -> Run {
    let mut shell = program("sh");
    let shell = shell.args(["-c", command]).current_dir(dir).env("PATH", path());
    Run::of(shell.env("ABIDE_ROOT", "machine").env("LC_ALL", "C"))
}
