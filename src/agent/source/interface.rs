//! What the agent needs of a source of updates.

use std::time::Duration;

use crate::agent::goal::{Ending, Goal, Wait};
use crate::agent::survey::Survey;
use crate::agent::view::View;
use crate::config::Download;
use crate::feed::catalog::Release;
use abide_core::error::Result;
use abide_core::state::SeenList;

/// A source of updates.
pub trait UpdateSource {
    /// The folder of this machine that images are installed from directly; none if they are fetched into the cache.
    fn local_folder(&self) -> Option<String> {
        None
    }

    /// Whether the source may withdraw an update up to the reboot. The agent then polls once more before it, and no
    /// other process polls meanwhile.
    fn may_withdraw(&self) -> bool {
        false
    }

    /// The name under which the lists of the source are remembered; none where the source itself decides what is newer.
    fn list_name(&self) -> Option<&str> {
        None
    }

    /// What the list that was read last changes for good.
    fn lessons(&self, _: &View<'_>) -> Lessons {
        Lessons::default()
    }

    /// Whether this run's poll has brought an order that was not known. What has failed before does not count for it.
    fn has_new_order(&self) -> bool {
        false
    }

    /// Reads what the source remembers. Called once, when the cache is locked.
    fn load(&mut self) {}

    /// Writes what the source remembers.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if it cannot be written.
    fn save(&self) -> Result<()> {
        Ok(())
    }

    /// What the source asks of the agent beyond the policy.
    fn demands(&self) -> Demands {
        Demands::default()
    }

    /// Asks the source what to install, and stores the answer in the cache.
    ///
    /// # Errors
    /// Those of reaching the source and of verifying its answer.
    fn poll(&mut self, view: &View<'_>) -> Result<()>;

    /// What the source wants installed, from the last poll. Without network.
    ///
    /// # Errors
    /// If the answer of the last poll cannot be verified.
    fn wanted(&self, view: &View<'_>) -> Result<Goal>;

    /// Where to download a file of the wanted release.
    ///
    /// # Errors
    /// If the source does not offer the file, or the token cannot be read.
    fn place(&self, file: &str) -> Result<FileLocation>;

    /// Reports to the source how far the update has come. What cannot be delivered now is delivered later.
    ///
    /// # Errors
    /// If the message cannot be stored, or the token cannot be read.
    fn report(&mut self, _: News<'_>) -> Result<()> {
        Ok(())
    }
}

/// What a machine learns from a list of images, whether or not it installs one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lessons {
    /// The lists to remember; none if they are known.
    pub lists: Option<Vec<SeenList>>,
    /// The publisher's list of keys.
    pub keys: Option<Vec<u8>>,
}

/// What a source asks of the agent beyond the policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Demands {
    /// Something is assigned. It may change at any time, so that each scheduled run polls.
    pub assigned: bool,
    /// The interval of polls, instead of the configured one.
    pub interval: Option<Duration>,
    /// Download at once, not at a random time.
    pub download_now: bool,
    /// Why it must not be installed yet.
    pub hold: Option<Wait>,
    /// Reboot without regard to windows and inhibitors.
    pub reboot_now: bool,
}

/// How far an update has come, for its source.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    /// The state of the machine when a run begins.
    Machine(&'a Survey),
    /// The release that is to be installed.
    Selected(&'a Release),
    /// Its download starts.
    Downloading,
    /// It is downloaded and verified.
    Downloaded,
    /// It has to wait, and why.
    Deferred(&'a str),
    /// It is not installed after all, and why.
    Failed(&'a str),
    /// Nothing is installed: how the assignment ends.
    Ended(&'a Ending),
}

/// Where a file is downloaded from.
#[derive(Debug, Clone, PartialEq)]
pub struct FileLocation {
    /// Its URL.
    pub url: String,
    /// The value of the header `Authorization`, where the server wants one.
    pub authorization: Option<String>,
    /// Its length, where the source tells it.
    pub len: Option<u64>,
    /// The limits of the download.
    pub limits: Download,
}
