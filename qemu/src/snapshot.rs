//! The state of a running machine, saved: tests start from it instead of booting each time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::command_line::{Hardware, quoted};
use crate::paths::make_dir;
use crate::running::Running;
use crate::timeline::Event;
use crate::{Error, Result};

/// How long saving a state may take: the guest's memory has to be written.
const SAVE: Duration = Duration::from_secs(300);

/// Memory, devices, disks and EFI variables of a machine at one instant.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) hardware: Hardware,
    pub(crate) disks: Vec<PathBuf>,
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
        // The guest must not go on while its memory is written, which takes a busy host as long as
        // some checks do.
        self.monitor("stop", json!({}))?;
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
        let snapshot = Snapshot::new(dir, machine.hardware.clone(), machine.disks.len());
        let kept = machine.disks.iter().map(|(disk, _)| disk.clone());
        let kept = kept.chain([machine.variables()]);
        for (file, copy) in kept.zip(snapshot.disks.iter().chain([&snapshot.variables])) {
            fs::rename(&file, copy).map_err(Error::at("move", &file))?;
        }
        Ok(snapshot)
    }
}

impl Snapshot {
    fn new(dir: &Path, hardware: Hardware, disks: usize) -> Snapshot {
        let disks = (0..disks).map(|index| dir.join(format!("disk{index}.raw")));
        Snapshot {
            hardware,
            disks: disks.collect(),
            variables: dir.join("vars.fd"),
            state: dir.join("state"),
        }
    }

    /// A snapshot that an earlier process saved into `dir`, of a machine with one disk and the
    /// same hardware. `None` when there is none.
    pub fn find(dir: &Path, hardware: Hardware) -> Option<Snapshot> {
        let snapshot = Snapshot::new(dir, hardware, 1);
        let complete = snapshot.state.exists()
            && snapshot.variables.exists()
            && snapshot.disks.iter().all(|disk| disk.exists());
        complete.then_some(snapshot)
    }
}
