//! Scripts of the administrator that run before another system is put on trial, and may refuse it: for instance, to make
//! a TPM policy that holds for both systems.

use log::info;

use crate::config::Scripts;
use crate::health::{script_run, scripts};
use crate::image::sha256;
use crate::update::startable::file_of;
use abide_core::boot::{BootPartition, Entry};
use abide_core::error::{Error, OrError, Result};
use abide_core::state::Update;
use abide_core::update::machine::Machine;

/// The folder of the scripts.
const FOLDER: &str = "prepare.d";

/// A system that is about to be put on trial.
pub struct Candidate<'a> {
    /// As it will be recorded.
    pub update: &'a Update,
    /// The partition of the file that boots it.
    pub partition: BootPartition,
    /// The file that boots it, as it is named now.
    pub file: &'a str,
    /// The entry of the running system.
    pub running: &'a Entry,
}

impl Candidate<'_> {
    /// Runs the scripts, one after the other, and calls `verify` after them. Nothing has been changed yet: after a power cut
    /// they run again.
    ///
    /// # Errors
    /// [`Error::Refused`] if one of them fails, does not end in time, or cannot be run; [`Error::Unverified`] if they have
    /// changed the file that boots the system; those of `verify`.
    pub fn prepare(
        &self,
        machine: &Machine,
        config: &Scripts,
        verify: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if !config.enabled {
            return Ok(());
        }
        let root = &machine.root;
        let is_enabled = |name: &str| !config.disabled.iter().any(|disabled| disabled == name);
        if let Some(name) = scripts::unusable(root, FOLDER).into_iter().find(|name| is_enabled(name)) {
            return Err(Error::Refused(format!(
                "{FOLDER}/{name} is not an executable file, so it cannot prepare {}; make it executable or remove it",
                self.update.version
            )));
        }
        let mut scripts = scripts::find(root, FOLDER);
        scripts.retain(|script| is_enabled(&script.name));
        if scripts.is_empty() {
            return Ok(());
        }
        let before = self.digest(machine)?;
        for script in &scripts {
            let name = &script.name;
            match script_run::run(root, script, self.variables(machine), config.timeout) {
                Ok(said) => info!("{FOLDER}/{name} succeeded: {said}"),
                Err(why) => {
                    return Err(Error::Refused(format!(
                        "the script {FOLDER}/{name} refuses {}: {why}; nothing was changed",
                        self.update.version
                    )));
                }
            }
        }
        verify()?;
        if self.digest(machine)? != before {
            return Err(Error::Unverified(format!(
                "a script in {FOLDER} has changed {}; it is not booted; write the image again",
                self.file
            )));
        }
        Ok(())
    }

    /// Of the file that boots the system, as it is on the disk.
    fn digest(&self, machine: &Machine) -> Result<(String, u64)> {
        let volume = machine.dirs.volume(self.partition)?;
        let file = volume.open_on_disk(self.file).or_boot(|| format!("{}: cannot open", self.file))?;
        sha256::of_reader(file).or_boot(|| format!("{}: cannot read", self.file))
    }

    fn variables(&self, machine: &Machine) -> Vec<(&'static str, String)> {
        let path = |partition, file: &str| {
            let path = machine.dirs.volume(partition).ok()?.host_path(file)?;
            path.into_os_string().into_string().ok()
        };
        let all = [
            ("ABIDE_EVENT", Some("prepare".to_owned())),
            ("ABIDE_VERSION", Some(self.update.version.clone())),
            ("ABIDE_DIGEST", self.update.digest.clone()),
            ("ABIDE_SLOT", Some(self.update.slot.to_string())),
            ("ABIDE_PREVIOUS_VERSION", self.running.version.clone()),
            ("ABIDE_UKI", path(self.partition, self.file)),
            ("ABIDE_RUNNING_UKI", path(self.running.partition, &file_of(self.running))),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}
