//! Where the harness keeps its files: everything below the workspace's `target/`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::{Error, Result};

/// The workspace's target folder (`CARGO_TARGET_DIR` where it is set).
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => workspace().join("target"),
    }
}

/// The top folder of the workspace, where its `Cargo.toml` lies.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The folder of one machine: its disk, its EFI variables and its logs.
pub fn machine(name: &str) -> PathBuf {
    target().join("vm").join(name)
}

/// Creates a folder with all its parents.
pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(Error::at("create", dir))
}

/// Copies a file and keeps its holes: disk images are mostly empty.
///
/// # Errors
/// [`Error::Io`] when `cp` cannot be started, [`Error::Tool`] when it fails.
pub fn copy_sparse(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").args(["--sparse=always", "--reflink=auto", "--"]).arg(from).arg(to)).map(drop)
}

/// Runs a program to its end and returns what it wrote to standard output.
///
/// # Errors
/// [`Error::Io`] when it cannot be started, [`Error::Tool`] when its exit status is not 0.
pub fn run(command: &mut Command) -> Result<Vec<u8>> {
    let shown = format!("{command:?}");
    let output = command.output().map_err(Error::doing(format!("start {shown}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(Error::Tool {
        command: shown,
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
