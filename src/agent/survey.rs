//! The machine, as far as an update depends on it: what only root can find out, left for the part that
//! talks to the network and is not root.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;
use log::warn;
use nix::unistd::{Gid, Uid};
use serde::{Deserialize, Serialize};

use crate::agent::inhibit;
use crate::config::Config;
use crate::feed::{cache, memory, policy};
use crate::update::write::NATIVE;
use abide_core::boot::model::entry::EntryKind;
use abide_core::error::{Error, OrError, Result};
use abide_core::files::replace;
use abide_core::root::Root;
use abide_core::state::{BootKind, Failure, Stage, State, Update};
use abide_core::update::Machine;

/// Where it is left; for this boot.
const FACTS: &str = "/run/abide/update-facts.json";

/// What systemd sets for a unit with `RuntimeDirectory=`. The folder belongs to the unit's user.
const RUNTIME_DIRECTORY: &str = "RUNTIME_DIRECTORY";

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// `IMAGE_ID` of the images that fit.
    pub image: String,
    /// The version that runs.
    pub version: String,
    /// What runs: see [`Running`].
    pub running: Running,
    /// The update in the other slot, if it is verified and waits.
    pub waiting: Option<InSlot>,
    /// The update in flight, or the last one that came to its end.
    pub update: Option<Update>,
    /// That the running system, which is committed, was not healthy in this boot.
    pub unhealthy: bool,
    /// The images that failed here.
    pub failures: Vec<Failure>,
    /// What holds off a reboot.
    pub held: Vec<String>,
    /// Whether the machine is to stay on what runs.
    pub pinned: bool,
}

/// Whether the running system is known to be good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Running {
    /// It was kept.
    Committed,
    /// It is on trial.
    OnTrial,
    /// It cannot be told, and why.
    Unknown(String),
}

/// An update that was written and waits to be booted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InSlot {
    /// Its version.
    pub version: String,
    /// By what it is remembered.
    pub digest: String,
    /// Whether it boots next.
    pub applied: bool,
}

impl Survey {
    /// Looks at the machine.
    ///
    /// # Errors
    /// [`Error::Refused`] if it cannot be told what runs; [`Error::Failed`] if what was decided by hand
    /// cannot be read.
    pub fn of(machine: &Machine, config: &Config) -> Result<Self> {
        let entry = machine.running_entry()?;
        let own_id = entry.sort_key.clone().filter(|_| entry.kind == EntryKind::Uki);
        let image = config.trust.image_id.clone().or(own_id).ok_or_else(|| {
            Error::Refused(
                "it cannot be told which image runs here; name it as image_id in [trust] of the configuration"
                    .into(),
            )
        })?;
        let state = machine.state();
        Ok(Self {
            image,
            version: entry.version.unwrap_or_default(),
            running: running(machine),
            waiting: waiting(&state),
            unhealthy: state.unhealthy.iter().any(|unhealthy| unhealthy.entry == entry.name.id()),
            update: state.update,
            failures: state.failures,
            held: inhibit::look(&machine.root, &config.update.inhibit),
            pinned: memory::pinned(&machine.root)?.is_some(),
        })
    }

    /// What was left by the privileged part.
    ///
    /// # Errors
    /// [`Error::Failed`] if nothing was left in this boot.
    pub fn read(root: &Root) -> Result<Self> {
        let path = root.path(FACTS);
        let bytes = fs::read(&path)
            .or_failed(|| format!("{}: cannot read; has abide-survey.service failed?", path.display()))?;
        serde_json::from_slice(&bytes).or_failed(|| format!("{}: not understood", path.display()))
    }

    /// Leaves it for the part that is not privileged.
    ///
    /// # Errors
    /// [`Error::Failed`] if it cannot be written.
    pub fn leave(&self, root: &Root) -> Result<()> {
        let bytes = serde_json::to_vec(self).or_failed(|| "cannot encode what was found")?;
        replace(&root.path(FACTS), &bytes)
    }

    /// What was left before does not count any more.
    ///
    /// # Errors
    /// [`Error::Failed`] if it cannot be removed.
    pub fn withdraw(root: &Root) -> Result<()> {
        let path = root.path(FACTS);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(e).or_failed(|| format!("{}: cannot remove", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// As the policy takes it.
    #[must_use]
    pub fn facts(&self) -> policy::RunningSystem {
        policy::RunningSystem {
            image: self.image.clone(),
            arch: NATIVE.1.to_owned(),
            version: self.version.clone(),
            trial: match &self.running {
                Running::Committed => policy::TrialState::Committed,
                Running::OnTrial => policy::TrialState::OnTrial,
                Running::Unknown(why) => policy::TrialState::Unknown(why.clone()),
            },
            pinned: self.pinned,
            failed: self.failures.iter().map(Into::into).collect(),
        }
    }
}

fn running(machine: &Machine) -> Running {
    let Err(e) = machine.refuse_on_trial() else { return Running::Committed };
    match machine.note.as_ref().is_some_and(|note| note.kind == BootKind::Trial)
        || machine.reconcile().note.kind == BootKind::Trial
    {
        true => Running::OnTrial,
        false => Running::Unknown(e.to_string()),
    }
}

fn waiting(state: &State) -> Option<InSlot> {
    let update = state.update.as_ref().filter(|u| u.verdict.is_none())?;
    let applied = match update.stage {
        Stage::Staged => false,
        Stage::Applied => true,
        Stage::Writing | Stage::Testing | Stage::Committed | Stage::Failed => return None,
    };
    Some(InSlot { version: update.version.clone(), digest: update.digest.clone()?, applied })
}

/// Gives the cache, and what is in it, to the user of the unit whose first step this is.
///
/// # Errors
/// [`Error::Failed`] if it cannot be given.
pub(super) fn hand_over(root: &Root) -> Result<()> {
    let dir = &root.path(cache::DIR);
    let cannot = || format!("{}: cannot hand over", dir.display());
    fs::create_dir_all(dir).or_failed(cannot)?;
    let Some(own) = std::env::var_os(RUNTIME_DIRECTORY) else { return Ok(()) };
    let meta = fs::metadata(&own).or_failed(cannot)?;
    let (uid, gid) = (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()));
    let give = |path: &Path| -> Result<()> {
        let there = fs::symlink_metadata(path).or_failed(cannot)?;
        // What is not a plain file of its own is not given away: it may be something else's.
        let plain = there.is_dir() || there.is_file() && there.nlink() == 1;
        if !plain {
            warn!("{}: is no plain file; it is left alone", path.display());
            return Ok(());
        }
        if there.uid() == meta.uid() && there.gid() == meta.gid() {
            return Ok(());
        }
        let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
        nix::unistd::fchownat(nix::fcntl::AT_FDCWD, path, Some(uid), Some(gid), flags).or_failed(cannot)
    };
    give(dir)?;
    for entry in fs::read_dir(dir).or_failed(cannot)? {
        let path = entry.or_failed(cannot)?.path();
        if !path.is_dir() {
            give(&path)?;
        }
    }
    Ok(())
}

/// What draws this machine's moments.
#[must_use]
pub fn machine_id(root: &Root) -> String {
    fs::read_to_string(root.path("/etc/machine-id")).unwrap_or_default().trim().to_owned()
}

/// When this boot began; none where the kernel does not tell.
#[must_use]
pub fn booted_at(root: &Root, now: Timestamp) -> Option<Timestamp> {
    let text = fs::read_to_string(root.path("/proc/uptime")).ok()?;
    let seconds: i64 = text.split('.').next()?.parse().ok()?;
    Timestamp::from_second(now.as_second().saturating_sub(seconds)).ok()
}
