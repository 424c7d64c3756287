//! What this boot is: found out in the initramfs, handed over in `/run`.

use std::fs;

use log::warn;
use serde::{Deserialize, Serialize};

use crate::disk::SlotName;
use crate::error::{OrError, Result};
use crate::root::Root;
use crate::state::run_file;
use crate::text;

/// What this boot is, for the units and commands that run later in it.
pub const NOTE: &str = "/run/abide/boot.json";
/// Exists on a trial boot; a condition of the units.
pub const TRIAL: &str = "/run/abide/trial";
/// Exists on the boot after a failed trial; an event is pending then.
const FALLBACK: &str = "/run/abide/fallback";
/// Exists on a committed boot without an update in flight; the rest of the initramfs stage is then
/// skipped.
const COMMITTED: &str = "/run/abide/committed";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The kinds of boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BootKind {
    /// A committed system.
    Committed,
    /// An update under test.
    Trial,
    /// The system before a failed trial.
    Fallback,
    /// It is unknown which of these.
    Unknown,
}

/// The initramfs stage's finding, which survives switch-root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootNote {
    /// The kernel's id of the boot that this describes.
    pub boot_id: String,
    /// What this boot is.
    pub kind: BootKind,
    /// Which try, from 1; on a trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Tries that the update was given; on a trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The slot that this boot came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<SlotName>,
    /// The version that this boot must have; on a trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How the kind was found out, for the log and for `status`.
    #[serde(default, deserialize_with = "text::read_line")]
    pub because: String,
    /// Whether this boot of a committed system is one of its tries, which it gets back once it is
    /// healthy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counted: bool,
}

impl BootNote {
    /// The note of a boot that is neither committed nor on trial, and why.
    #[must_use]
    pub fn unknown(boot_id: String, because: String) -> Self {
        Self { kind: BootKind::Unknown, ..Self::committed(boot_id, because) }
    }

    /// The note of a committed boot, and how that was told.
    #[must_use]
    pub fn committed(boot_id: String, because: String) -> Self {
        Self {
            boot_id,
            kind: BootKind::Committed,
            attempt: None,
            attempts: None,
            slot: None,
            version: None,
            because,
            counted: false,
        }
    }

    /// The note of this very boot; one from another boot does not count.
    #[must_use]
    pub fn read(root: &Root) -> Option<Self> {
        let path = root.path(NOTE);
        let text = fs::read_to_string(&path).ok()?;
        let note: Self = match serde_json::from_str(&text) {
            Ok(note) => note,
            Err(e) => {
                warn!("{}: cannot parse: {e}", path.display());
                return None;
            }
        };
        (note.boot_id == boot_id(root)).then_some(note)
    }

    /// Leaves the marker for the units, and then the note for the system that boots next.
    ///
    /// # Errors
    /// [`crate::error::Error::Failed`] if `/run/abide` cannot be written.
    pub fn write(&self, root: &Root) -> Result<()> {
        self.mark(root)?;
        let text = serde_json::to_string(self).or_failed(|| "cannot encode the boot note")?;
        run_file::write(root, NOTE, &text)
    }

    /// Leaves only the marker of a trial: this boot may be one, and nothing tells more.
    ///
    /// # Errors
    /// [`crate::error::Error::Failed`] if `/run/abide` cannot be written.
    pub fn suspect(root: &Root) -> Result<()> {
        Self { kind: BootKind::Trial, ..Self::committed(String::new(), String::new()) }.mark(root)
    }

    /// Removes the note, so that what this boot is can be found out anew.
    ///
    /// # Errors
    /// [`crate::error::Error::Failed`] if it cannot be removed.
    pub fn withdraw(root: &Root) -> Result<()> {
        let path = root.path(NOTE);
        fs::remove_file(&path).or_failed(|| format!("{}: cannot remove", path.display()))
    }

    /// Leaves only the marker for the units.
    ///
    /// # Errors
    /// [`crate::error::Error::Failed`] if `/run/abide` cannot be written.
    pub fn mark(&self, root: &Root) -> Result<()> {
        mark(root, TRIAL, self.kind == BootKind::Trial)?;
        mark(root, FALLBACK, self.kind == BootKind::Fallback)?;
        mark(root, COMMITTED, self.kind == BootKind::Committed)
    }
}

/// Creates or removes a marker.
fn mark(root: &Root, path: &str, wanted: bool) -> Result<()> {
    if wanted {
        return run_file::write(root, path, "");
    }
    let path = root.path(path);
    if path.exists() {
        fs::remove_file(&path).or_failed(|| format!("{}: cannot remove", path.display()))
    } else {
        Ok(())
    }
}

/// The kernel's random id of this boot; empty where it cannot be read.
#[must_use]
pub fn boot_id(root: &Root) -> String {
    fs::read_to_string(root.path(BOOT_ID)).map(|t| t.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn note(boot_id: &str) -> BootNote {
        BootNote {
            boot_id: boot_id.into(),
            kind: BootKind::Trial,
            attempt: Some(1),
            attempts: Some(3),
            slot: Some(SlotName::B),
            version: Some("2.0".into()),
            because: String::new(),
            counted: false,
        }
    }

    #[test]
    fn a_note_of_another_boot_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        fs::create_dir_all(dir.path().join("proc/sys/kernel/random")).unwrap();
        fs::write(dir.path().join("proc/sys/kernel/random/boot_id"), "this\n").unwrap();
        note("this").write(&root).unwrap();
        assert_eq!(BootNote::read(&root), Some(note("this")));
        note("that").write(&root).unwrap();
        assert_eq!(BootNote::read(&root), None);
    }

    #[test]
    fn only_a_trial_leaves_the_marker_for_the_units() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        note("").write(&root).unwrap();
        assert!(dir.path().join("run/abide/trial").exists());
        assert!(!dir.path().join("run/abide/committed").exists());
        BootNote { kind: BootKind::Committed, ..note("") }.write(&root).unwrap();
        assert!(!dir.path().join("run/abide/trial").exists());
        assert!(dir.path().join("run/abide/committed").exists());
    }
}
