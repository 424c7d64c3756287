//! The single operations that change a machine. A plan is a list of them.

use crate::boot::model::name::EntryName;
use crate::boot::{BootPartition, Entry};
use crate::error::Result;
use crate::state::State;
use crate::update::overrides::Override;

/// Where the staged UKI waits, relative to the ESP, under a name that no loader shows.
///
/// In the folder in which it will be an entry: a rename from one folder to another
/// changes two sectors, and a power cut between the two leaves both names for one
/// file. Replacing the staged UKI would then free the clusters of the system that runs.
pub const STAGED_UKI: &str = "EFI/Linux/staged.uki";

/// One change, durable when it is done, harmless when it is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make this the remembered state.
    Save(Box<State>),
    /// Give a boot entry another name in its folder; what steers the loader.
    Rename {
        /// The partition that the entry is on.
        partition: BootPartition,
        /// The folder and file name as it is, relative to the partition.
        from: String,
        /// The new file name.
        to: String,
    },
    /// Remove what a removal that was cut off has left behind.
    Sweep,
    /// Remove a boot entry.
    Remove {
        /// The partition that the entry is on.
        partition: BootPartition,
        /// Its path relative to the partition.
        file: String,
    },
    /// Remove the files beside UKIs from which this entry would take more, where there is no such entry.
    RemoveAddons {
        /// The id of the entry.
        id: String,
    },
    /// Move the staged UKI into `EFI/Linux` of the ESP under this file name.
    InstallStaged {
        /// The new file name.
        to: String,
    },
    /// Delete an EFI variable of the loader that overrides the counters.
    ClearOverride(Override),
}

/// What can carry out steps: a machine, or the disk of the simulator.
pub trait Effects {
    /// Does one step and makes it durable.
    ///
    /// # Errors
    /// What failed; nothing after it has been done.
    fn perform(&mut self, step: &Step) -> Result<()>;
}

/// Does the steps in order and stops at the first that fails.
///
/// # Errors
/// As [`Effects::perform`].
pub fn perform_all(effects: &mut dyn Effects, steps: &[Step]) -> Result<()> {
    steps.iter().try_for_each(|step| effects.perform(step))
}

/// The entries as they are once `steps` are done.
#[must_use]
pub fn entries_after(entries: &[Entry], steps: &[Step]) -> Vec<Entry> {
    let mut after = entries.to_vec();
    for step in steps {
        match step {
            Step::Rename { partition, from, to } => {
                let Some(name) = EntryName::parse(to) else { continue };
                for entry in after.iter_mut().filter(|e| e.partition == *partition && e.path() == *from) {
                    *entry = entry.renamed(name.clone());
                }
            }
            Step::Remove { partition, file } => {
                after.retain(|e| e.partition != *partition || e.path() != *file);
            }
            _ => {}
        }
    }
    after
}
