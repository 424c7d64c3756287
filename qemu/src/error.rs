//! What can go wrong when a machine is built, started or watched.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a machine could not be built, started, watched or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file, socket or process failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the name of the thing.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A program that the harness needs answered with a failure.
    #[error("{command} failed ({status}): {stderr}")]
    Tool {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// What it wrote to standard error.
        stderr: String,
    },
    /// The disk has no partition of the kind that was asked for.
    #[error("{disk}: {cause}")]
    Disk {
        /// The disk's file.
        disk: String,
        /// What is wrong with it.
        cause: String,
    },
    /// What was waited for did not happen in time.
    #[error("{machine}: {waited_for} did not happen within {limit:?}; serial log: {log}\n{tail}")]
    Late {
        /// The machine's name.
        machine: String,
        /// What was waited for.
        waited_for: String,
        /// For how long.
        limit: Duration,
        /// Where the serial console was recorded.
        log: String,
        /// The last lines of the console.
        tail: String,
    },
    /// QEMU ended while something was waited for.
    #[error("{machine}: QEMU ended while waiting for {waited_for}; serial log: {log}\n{tail}")]
    Ended {
        /// The machine's name.
        machine: String,
        /// What was waited for.
        waited_for: String,
        /// Where the serial console was recorded.
        log: String,
        /// The last lines of the console.
        tail: String,
    },
    /// The guest started again while a command was running in it.
    #[error("{machine}: the guest started again while running `{command}`; serial log: {log}")]
    Rebooted {
        /// The machine's name.
        machine: String,
        /// The command that got no answer.
        command: String,
        /// Where the serial console was recorded.
        log: String,
    },
    /// QEMU's monitor refused a command.
    #[error("{machine}: QEMU refused {command}: {reply}")]
    Monitor {
        /// The machine's name.
        machine: String,
        /// The QMP command.
        command: String,
        /// QEMU's answer.
        reply: String,
    },
    /// The guest's agent broke its protocol.
    #[error("{machine}: the guest's agent answered `{line}`, which is not `STATUS BASE64`")]
    Agent {
        /// The machine's name.
        machine: String,
        /// The line that was not understood.
        line: String,
    },
}

impl Error {
    /// An [`Error::Io`] about a path.
    pub(crate) fn at(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = PathBuf::from(path);
        move |source| Error::Io { what: format!("{verb} {}", path.display()), source }
    }

    /// An [`Error::Io`] about anything else.
    pub(crate) fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}
