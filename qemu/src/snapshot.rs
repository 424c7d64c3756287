//! The state of a running machine, saved: tests start from it instead of booting each time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::command_line::{Config, quoted};
use crate::paths::{copy_sparse, make_dir};
use crate::running::Running;
use crate::timeline::Event;
use crate::{Error, Result};

/// How long saving a state may take: the guest's memory has to be written.
const SAVE: Duration = Duration::from_secs(300);

/// Memory, devices, disks and EFI variables of a machine at one instant.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) config: Config,
    pub(crate) disks: Vec<(PathBuf, &'static str)>,
    pub(crate) variables: PathBuf,
    pub(crate) state: PathBuf,
}

impl Running {
    /// Saves the state of the machine into the folder `dir` and ends the machine.
    ///
    /// The machine must have been started from raw disks only. The agent must be idle.
    ///
    /// # Errors
    /// When QEMU refuses to save the state, or a file cannot be copied.
    pub fn save(mut self, dir: &Path) -> Result<Snapshot> {
        make_dir(dir)?;
        let state = dir.join("state");
        self.skip_to_now();
        let capability = json!({"capability": "events", "state": true});
        self.monitor("migrate-set-capabilities", json!({"capabilities": [capability]}))?;
        // Bytes per second; the default is meant for networks.
        self.monitor("migrate-set-parameters", json!({"max-bandwidth": 8_u64 << 30}))?;
        self.monitor("migrate", json!({"uri": format!("exec:cat > {}", quoted(&state))}))?;
        let completed = self.wait_for("the saved state", SAVE, |event| match event {
            Event::Migration(status) if status == "completed" => Some(true),
            Event::Migration(status) if status == "failed" => Some(false),
            _ => None,
        })?;
        if !completed {
            let status = self.monitor("query-migrate", json!({}))?;
            return Err(Error::Disk {
                disk: state.display().to_string(),
                cause: format!("the state was not saved: {status}"),
            });
        }
        let machine = self.cut_power()?;
        let mut disks = Vec::new();
        for (index, (disk, format)) in machine.disks.iter().enumerate() {
            let copy = dir.join(format!("disk{index}.raw"));
            fs::rename(disk, &copy).map_err(Error::at("move", disk))?;
            disks.push((copy, *format));
        }
        let variables = dir.join("vars.fd");
        fs::rename(machine.variables(), &variables).map_err(Error::at("move", &variables))?;
        let snapshot = Snapshot { config: machine.config.clone(), disks, variables, state };
        Ok(snapshot)
    }
}

impl Snapshot {
    /// A copy of the snapshot's disks and variables that can be changed without harm to it.
    ///
    /// # Errors
    /// When a file cannot be copied.
    pub fn copy_disk(&self, to: &Path) -> Result<()> {
        match self.disks.first() {
            Some((disk, _)) => copy_sparse(disk, to),
            None => Ok(()),
        }
    }
}
