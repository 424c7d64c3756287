//! The status of the configured feed, as of the last poll.

use jiff::Timestamp;
use serde::Serialize;

use crate::config::Config;
use crate::feed::memory::{FetchState, InstallState, pinned};
use crate::url::shown;
use abide_core::update::machine::Machine;

/// `feed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FeedStatus {
    /// The feed's folder or server.
    pub source: String,
    /// Time of the last successful poll; RFC 3339 UTC.
    pub polled: Option<String>,
    /// Why the last poll failed.
    pub error: Option<String>,
    /// The version to be installed.
    pub available: Option<String>,
    /// How much of it is downloaded, in percent.
    pub percent: u8,
    /// Why nothing is installed yet, in one sentence.
    pub waiting: Option<String>,
    /// When that ends, if known; RFC 3339 UTC.
    pub until: Option<String>,
    /// Whether the feed has no image for this machine.
    pub no_image: bool,
    /// The version that the machine is pinned to.
    pub pinned: Option<String>,
}

impl FeedStatus {
    /// Reads what is remembered of the feed; `None` if no feed is configured.
    #[must_use]
    pub fn read(machine: &Machine, config: &Config) -> Option<Self> {
        let source = shown(config.update.source()?);
        let (seen, plan) = (FetchState::read(&machine.root), InstallState::read(&machine.root));
        let state = machine.state();
        // An update that has ended since the poll is no longer available.
        let is_over = |digest: &str| {
            let ended = state.update.as_ref().filter(|u| u.ended.is_some() || u.verdict.is_some());
            ended.is_some_and(|u| u.digest.as_deref() == Some(digest))
        };
        let download = seen.wanted.as_ref().filter(|wanted| !is_over(&wanted.digest));
        let download_error =
            download.and_then(|wanted| seen.attempts.error_of(&wanted.digest)).map(str::to_owned);
        let planned = (!plan.digest.is_empty() && !is_over(&plan.digest) && plan.waiting.is_some())
            .then(|| plan.version.clone());
        Some(Self {
            source,
            polled: seen.polled.and_then(time),
            error: seen.error.or(download_error),
            available: download.map(|wanted| wanted.version.clone()).or(planned),
            percent: download.map_or(0, |wanted| wanted.percent),
            waiting: plan.waiting,
            no_image: plan.no_image,
            until: plan.until.and_then(time),
            pinned: pinned(&machine.root).ok().flatten(),
        })
    }
}

fn time(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(|t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
