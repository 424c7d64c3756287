//! The scenarios: how releases reach the fleet, and how they are bad.

use std::time::Duration;

use abide::config::{Config, Update};

use crate::server::{FIRST, SECOND};

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(60 * 60);

/// Bytes of an image, and bytes per second that a node downloads.
pub const IMAGE: u64 = 300_000_000;
pub const LINK: u64 = 2_500_000;

/// From the reboot until the new system is assessed.
pub const REBOOT: Duration = Duration::from_secs(2 * 60);

/// How long someone takes to pull a release from the feed once the first node has reported that it failed.
pub const REACTION: Duration = Duration::from_secs(2 * 60 * 60);

/// How long a release is for the canaries alone, or for the first share of the machines, in percent.
pub const FIRST_SHARE: u32 = 5;
pub const CANARY: Duration = Duration::from_secs(24 * 60 * 60);

/// When the release appears that repairs a bad one, after that.
pub const REPAIRED: Duration = Duration::from_secs(48 * 60 * 60);

/// One way in which a release reaches the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    pub name: &'static str,
    /// Keys of `[update]` for every node.
    pub keys: &'static str,
    /// Whether nodes may only be rebooted at night.
    pub night: bool,
    pub server: Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// A folder that is the same for all.
    Feed,
    /// A folder in which a release is for one channel first.
    Canaries,
    /// A folder in which a release is for [`FIRST_SHARE`] of the machines first.
    Phased,
    /// A rollout in groups, as hawkBit cascades them.
    Waves,
}

pub const AT_ONCE: Way = Way {
    name: "feed, nothing spread",
    keys: "jitter = 0\ndownload_spread = 0",
    night: false,
    server: Server::Feed,
};
pub const FEED: Way = Way { name: "feed, as it is by default", keys: "", night: false, server: Server::Feed };
pub const NIGHT: Way = Way { name: "feed, windows at night", keys: "", night: true, server: Server::Feed };
pub const CANARIES: Way =
    Way { name: "feed, canaries first, windows at night", keys: "", night: true, server: Server::Canaries };
pub const PHASED: Way =
    Way { name: "feed, 5 % on the first day", keys: "", night: false, server: Server::Phased };
pub const WAVES: Way =
    Way { name: "waves, windows at night", keys: "interval = '5min'", night: true, server: Server::Waves };

pub const WAYS: [Way; 6] = [AT_ONCE, FEED, NIGHT, CANARIES, PHASED, WAVES];

/// The zones that the nodes are in.
const ZONES: [&str; 3] = ["Europe/Berlin", "America/New_York", "Asia/Tokyo"];

impl Way {
    /// The configurations of the nodes, one after the other: of each zone, and of it the canaries' one first.
    pub fn configurations(&self) -> Vec<Update> {
        let of = |zone: &str, channel: &str| {
            let window = match self.night {
                true => format!("[[update.window]]\nstart = '02:00'\nlength = '3h'\ntime_zone = '{zone}'\n"),
                false => String::new(),
            };
            let text = format!("[update]\nchannel = '{channel}'\n{}\n{window}", self.keys);
            Config::parse("fleet", &text).unwrap().update
        };
        ZONES.iter().flat_map(|zone| [of(zone, "canary"), of(zone, "stable")]).collect()
    }
}

/// The groups of a rollout, in percent of the fleet, and its thresholds, in percent of a group.
pub const GROUPS: [u32; 4] = [1, 9, 30, 60];
pub const NEXT_GROUP: u32 = 90;
pub const TOO_MANY_ERRORS: u32 = 5;

/// The share of the nodes on which a release is bad, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bad(pub u32);

pub const GOOD: Bad = Bad(0);

/// One simulation.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub way: Way,
    pub bad: Bad,
    pub nodes: u32,
    pub seed: u64,
}

impl Scenario {
    /// The release that every node is to end with: a feed has a second one where the first is bad.
    pub fn last(&self) -> &'static str {
        match self.bad != GOOD && self.way.server != Server::Waves {
            true => SECOND,
            false => FIRST,
        }
    }
}
