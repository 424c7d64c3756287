//! What both tools need: EMT's files, and the exit codes.

use std::fs;
use std::path::PathBuf;

use crate::cli::context::root_at;
use crate::cli::{Context, output};
use abide_core::error::{Error, OrError, Result};
use abide_core::logger;
use abide_core::root::Root;

/// Exit code for an invalid command line, for another running tool and for nothing to do.
const USAGE: u8 = 1;

const IMAGE_ID: &str = "/etc/image-id";

/// Prints to stderr, as these tools do.
fn print_error(tool: &str, text: &str) {
    eprintln!("{tool}: {text}");
}

/// Shows the help; `why` is what is wrong with the command line, if anything is. Returns the exit code.
pub fn usage(tool: &str, help: &str, why: Option<&str>) -> u8 {
    if let Some(why) = why {
        print_error(tool, why);
    }
    output::say(help);
    USAGE
}

/// Reports the error of a request, if there is one. Returns the exit code.
pub fn exit_code(done: std::result::Result<(), (Job, Error)>) -> u8 {
    let Err((job, error)) = done else { return 0 };
    logger::error(&error);
    job.exit_code(&error)
}

/// The step in which an error occurred; it determines the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Anything that changes nothing.
    Look,
    Write,
    Apply,
    Commit,
}

impl Job {
    /// 1 if another Abide is running or there is nothing to do, else 3 for write and apply, 4 for commit.
    pub fn exit_code(self, error: &Error) -> u8 {
        match (self, error) {
            (_, Error::Busy(_) | Error::Nothing(_) | Error::Usage(_)) | (Self::Look, _) => USAGE,
            (Self::Write | Self::Apply, _) => 3,
            (Self::Commit, _) => 4,
        }
    }
}

/// The running system, or the tree of `ABIDE_ROOT`.
pub fn context() -> Result<Context> {
    let root = std::env::var_os("ABIDE_ROOT").filter(|r| !r.is_empty()).map(PathBuf::from);
    if root.is_none() && !nix::unistd::geteuid().is_root() {
        return Err(Error::Failed("must be run as root".into()));
    }
    Ok(Context { root: root_at(root)?, config: None })
}

/// `IMAGE_UUID` of `/etc/image-id`.
pub fn image_uuid(root: &Root) -> Result<String> {
    let text = fs::read_to_string(root.path(IMAGE_ID)).or_failed(|| format!("{IMAGE_ID}: cannot read"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("IMAGE_UUID="))
        .map(|uuid| uuid.trim().trim_matches('"').to_owned())
        .ok_or_else(|| Error::Failed(format!("{IMAGE_ID}: has no IMAGE_UUID")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_distinguishes_nothing_to_do_from_a_failure() {
        assert_eq!(Job::Commit.exit_code(&Error::Nothing(String::new())), 1);
        assert_eq!(Job::Commit.exit_code(&Error::Boot(String::new())), 4);
        assert_eq!(Job::Write.exit_code(&Error::Busy(String::new())), 1);
        assert_eq!(Job::Write.exit_code(&Error::Unverified(String::new())), 3);
        assert_eq!(Job::Apply.exit_code(&Error::Refused(String::new())), 3);
    }
}
