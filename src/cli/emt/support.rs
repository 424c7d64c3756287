//! What both tools need: EMT's disk layout, and the exit codes.

use std::fs;
use std::path::PathBuf;

use crate::cli::context::root_at;
use crate::cli::{Context, output};
use abide_core::disk::RootArg;
use abide_core::error::{Error, OrError, Result};
use abide_core::logger;
use abide_core::root::Root;

/// Exit code for an invalid command line, for another running tool and for nothing to do.
const USAGE: u8 = 1;

const IMAGE_ID: &str = "/etc/image-id";
const BLOCK: &str = "/sys/block";

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

/// Refuses EMT with full-disk encryption, or with a verity tree that is made on the device: writing an image
/// as it was published cannot produce such a root.
pub fn refuse_foreign_devices(root: &Root) -> Result<()> {
    let cmdline = root.kernel_cmdline();
    let published_hash = matches!(RootArg::parse(&cmdline), Some(RootArg::RootHash(_)));
    for device in fs::read_dir(root.path(BLOCK)).into_iter().flatten().flatten() {
        let attribute =
            |name: &str| fs::read_to_string(device.path().join("dm").join(name)).unwrap_or_default();
        let (name, uuid) = (attribute("name"), attribute("uuid"));
        if !name.trim().starts_with("rootfs") {
            continue;
        }
        if uuid.starts_with("CRYPT-VERITY-") {
            if !published_hash {
                return Err(unsupported("a dm-verity tree that is created on the device", name.trim()));
            }
        } else if uuid.starts_with("CRYPT-") {
            return Err(unsupported("full-disk encryption", name.trim()));
        }
    }
    Ok(())
}

fn unsupported(what: &str, device: &str) -> Error {
    Error::Refused(format!(
        "the root is on /dev/mapper/{device}: {what} is not supported; Abide writes an image as it was published"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tree_with(name: &str, uuid: &str, cmdline: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let dm = dir.path().join("sys/block/dm-0/dm");
        fs::create_dir_all(&dm).unwrap();
        fs::write(dm.join("name"), format!("{name}\n")).unwrap();
        fs::write(dm.join("uuid"), format!("{uuid}\n")).unwrap();
        fs::create_dir(dir.path().join("proc")).unwrap();
        fs::write(dir.path().join("proc/cmdline"), cmdline).unwrap();
        dir
    }

    fn refusal(name: &str, uuid: &str, cmdline: &str) -> Option<String> {
        let dir = tree_with(name, uuid, cmdline);
        refuse_foreign_devices(&Root::at(dir.path())).err().map(|e| e.to_string())
    }

    #[test]
    fn encryption_and_a_verity_tree_of_the_device_are_refused_by_name() {
        let why = refusal("rootfs_a", "CRYPT-LUKS2-1", "root=/dev/mapper/rootfs_a").unwrap();
        assert!(why.contains("encryption is not supported"), "{why}");
        let why =
            refusal("rootfs_verity", "CRYPT-VERITY-1", "root=/dev/mapper/rootfs_verity boot_uuid=1").unwrap();
        assert!(why.contains("created on the device is not supported"), "{why}");
        assert_eq!(refusal("rootfs_verity", "CRYPT-VERITY-1", "roothash=aa"), None);
        assert_eq!(refusal("edge_persistent", "CRYPT-LUKS2-1", "root=PARTUUID=1"), None);
    }

    #[test]
    fn an_exit_code_distinguishes_nothing_to_do_from_a_failure() {
        assert_eq!(Job::Commit.exit_code(&Error::Nothing(String::new())), 1);
        assert_eq!(Job::Commit.exit_code(&Error::Boot(String::new())), 4);
        assert_eq!(Job::Write.exit_code(&Error::Busy(String::new())), 1);
        assert_eq!(Job::Write.exit_code(&Error::Unverified(String::new())), 3);
        assert_eq!(Job::Apply.exit_code(&Error::Refused(String::new())), 3);
    }
}
