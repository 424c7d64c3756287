//! One machine: what it is, and what it is doing.

use std::time::Duration;

use abide::feed::catalog::Release;
use abide::feed::jitter;
use abide::feed::policy::{RunningSystem, TrialState};
use abide::feed::rollout::Turn;
use jiff::Timestamp;

use crate::scenario::HOUR;

/// One node in 50 is off when the release appears, and comes back within three days.
const OFF_SHARE: u64 = 50;
const OFF_FOR: Duration = Duration::from_secs(72 * 60 * 60);

pub struct Node {
    pub system: RunningSystem,
    /// Which of the configurations is its own.
    pub configuration: usize,
    /// From when on it is switched on.
    pub on_from: Timestamp,
    pub doing: Doing,
    /// Events of what it is not doing any more have an older one.
    pub ticket: u32,
    /// What the last decision was made from: the state of the feed, and how often it was updated or failed.
    pub decided: Option<(u64, u32)>,
    /// How often it was updated or failed.
    pub changes: u32,
    seed: u64,
}

pub enum Doing {
    Nothing,
    /// On its way to be installed.
    Fetching(Release),
    Trying(Release),
}

impl Node {
    pub fn new(seed: u64, number: u32, configurations: usize, start: Timestamp) -> Self {
        let id = format!("{seed}-{number}");
        let off = draw(&id, "off").is_multiple_of(OFF_SHARE);
        let off_for = if off { jitter::share(draw(&id, "off for"), OFF_FOR) } else { Duration::ZERO };
        let system = RunningSystem {
            unversioned: false,
            digest: None,
            image: "edge".into(),
            arch: "x86-64".into(),
            version: "1.0".into(),
            trial: TrialState::Committed,
            pinned: false,
            floor: None,
            failed: vec![],
            turn: Turn { machine: id.clone(), ..Turn::default() },
        };
        // Of each zone's two, the first is for one node in a hundred.
        let zone = usize::try_from(draw(&id, "zone")).unwrap() % (configurations / 2);
        let canary = number.is_multiple_of(100);
        Self {
            system,
            configuration: zone * 2 + usize::from(!canary),
            on_from: start + off_for,
            doing: Doing::Nothing,
            ticket: 0,
            decided: None,
            changes: 0,
            seed: draw(&id, "node"),
        }
    }

    /// A number of its own for each purpose.
    pub fn draw(&self, what: &str) -> u64 {
        draw(&self.seed.to_string(), what)
    }

    /// What `[update]`'s polls are spread by.
    pub fn poll_seed(&self) -> u64 {
        self.seed
    }

    /// Whether a release that is bad on `percent` of the nodes is bad on this one.
    pub fn is_bad(&self, version: &str, percent: u32) -> bool {
        let at = jitter::share(self.draw(version), 100 * HOUR);
        at < percent * HOUR
    }
}

fn draw(id: &str, what: &str) -> u64 {
    jitter::seed(&[id, what])
}
