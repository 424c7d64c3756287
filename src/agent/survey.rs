//! The survey of the machine: what only root can find out, for the part of the agent that is not root.

use serde::{Deserialize, Serialize};

use crate::agent::inhibit;
use crate::boot::installed_version::installed_version;
use crate::config::Config;
use crate::feed::memory;
use crate::feed::policy::{RunningSystem, TrialState};
use crate::feed::rollout::Turn;
use crate::files;
use crate::update::WholeMachine;
use abide_core::arch;
use abide_core::boot::Access;
use abide_core::boot::model::entry::EntryKind;
use abide_core::boot::model::osrel::OsRelease;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::state::{Failure, SeenList, Stage, State, Update};
use abide_core::update::Machine;
use abide_core::update::finding::Boot;
use abide_core::update::kernel::os_release;

/// The file of the survey, for this boot.
const FILE: &str = "/run/abide/update-facts.json";

/// The state of the machine, as far as updates depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// The `IMAGE_ID` of its images.
    pub image: String,
    /// The running version.
    pub version: String,
    /// Whether the running image has no version of its own.
    #[serde(default)]
    pub unversioned: bool,
    /// SHA-256 of the running system's published image, where it is known.
    #[serde(default)]
    pub digest: Option<String>,
    /// Whether the running system is known to be good.
    pub trial: TrialState,
    /// The update in the other slot that is not booted yet, if there is one.
    pub waiting: Option<InSlot>,
    /// The update in flight, or the last one that ended.
    pub update: Option<Update>,
    /// Whether the running system is committed, but was not healthy in this boot.
    pub unhealthy: bool,
    /// The images that failed here.
    pub failures: Vec<Failure>,
    /// The lists of images that were accepted.
    #[serde(default)]
    pub lists: Vec<SeenList>,
    /// The lowest version that may be installed, as the committed images have demanded.
    #[serde(default)]
    pub floor: Option<String>,
    /// The active inhibitors.
    pub held: Vec<String>,
    /// Whether the machine is pinned to the running version.
    pub pinned: bool,
}

/// An update that is written and waits to be booted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InSlot {
    /// Its version.
    pub version: String,
    /// Its digest.
    pub digest: String,
    /// Whether it boots next.
    pub applied: bool,
}

impl Survey {
    /// Surveys the machine.
    ///
    /// # Errors
    /// [`Error::Refused`] if the running system is unknown; [`Error::Failed`] if the pin cannot be read.
    pub fn of(machine: &Machine, config: &Config) -> Result<Self> {
        let entry = machine.running_entry()?;
        let own_id = entry.sort_key.clone().filter(|_| entry.kind == EntryKind::Uki);
        let image = config.trust.image_id.clone().or(own_id).ok_or_else(|| {
            Error::Refused(
                "the running image is unknown; set image_id in [trust] of the configuration".into(),
            )
        })?;
        let state = machine.state();
        // What the loader shows of such an image may be a sentence.
        let release = os_release(&machine.root).filter(OsRelease::is_unversioned);
        let build = release.and_then(|release| installed_version(&release).map(str::to_owned));
        Ok(Self {
            image,
            digest: digest_of_running(machine, &state, &entry.name.id()),
            unversioned: build.is_some(),
            version: build.or(entry.version).unwrap_or_default(),
            trial: trial(machine),
            waiting: waiting(&state),
            unhealthy: state.unhealthy.iter().any(|unhealthy| unhealthy.entry == entry.name.id()),
            update: state.update,
            failures: state.failures,
            lists: state.lists,
            floor: state.floor,
            held: inhibit::active(&machine.root, &config.update.inhibit),
            pinned: memory::pinned(&machine.root)?.is_some(),
        })
    }

    /// The survey of this boot that root has left.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is none.
    pub fn read(root: &Root) -> Result<Self> {
        let path = root.path(FILE);
        files::read_json(&path)?.ok_or_else(|| {
            let path = path.display();
            Error::Failed(format!("{path}: does not exist; check abide-survey.service (`systemctl status`)"))
        })
    }

    /// What the policy decides from.
    #[must_use]
    pub fn system(&self) -> RunningSystem {
        RunningSystem {
            image: self.image.clone(),
            arch: arch::NATIVE.name.to_owned(),
            version: self.version.clone(),
            unversioned: self.unversioned,
            digest: self.digest.clone(),
            trial: self.trial.clone(),
            pinned: self.pinned,
            floor: self.floor.clone(),
            failed: self.failures.iter().map(Into::into).collect(),
            turn: Turn::default(),
        }
    }
}

/// Leaves a survey for the part that is not root.
///
/// # Errors
/// As [`Survey::of`], and if it cannot be written.
pub fn leave_survey(root: &Root, config: &Config) -> Result<()> {
    if config.update.source().is_none() {
        return Ok(());
    }
    let path = root.path(FILE);
    // If this survey fails, the one before must not count.
    files::remove(&path)?;
    let machine = Machine::read(root, config.slots.as_ref(), Access::Read)?;
    files::write_json(&path, &Survey::of(&machine, config)?)
}

fn trial(machine: &Machine) -> TrialState {
    match machine.finding().boot {
        Boot::Committed | Boot::Fallback => TrialState::Committed,
        Boot::Trial { .. } => TrialState::OnTrial,
        Boot::Unknown(contradiction) => TrialState::Unknown(contradiction.to_string()),
    }
}

/// The digest by which the running system was installed. A record of another entry in its slot does not count.
fn digest_of_running(machine: &Machine, state: &State, entry: &str) -> Option<String> {
    let installed = state.installed(machine.running_slot().ok()?)?;
    installed.digest.clone().filter(|_| installed.entry == entry)
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
