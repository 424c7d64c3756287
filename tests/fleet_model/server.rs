//! What the nodes are offered, and how that changes with what they report.

use std::time::Duration;

use abide::feed::catalog::{Catalog, Release, Terms};
use abide::feed::published::{ListedFile, ReleaseFiles};
use abide::feed::rollout::{Rollout, Stage};
use jiff::Timestamp;

use crate::scenario::{
    CANARY, FIRST_SHARE, GROUPS, NEXT_GROUP, REACTION, REPAIRED, Scenario, Server as Kind, TOO_MANY_ERRORS,
};

pub const FIRST: &str = "2.0";
pub const SECOND: &str = "2.1";

pub struct Server {
    kind: Kind,
    start: Timestamp,
    is_bad: bool,
    /// Counts what was published and pulled.
    pub generation: u64,
    catalog: Catalog,
    /// What changes the feed next, and when.
    due: Vec<(Timestamp, Change)>,
    groups: Vec<Group>,
    pub started: usize,
    pub stopped: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Promote,
    /// The next stage of a rollout begins.
    Stage,
    Pull,
    Repair,
}

#[derive(Default)]
struct Group {
    size: u32,
    good: u32,
    bad: u32,
}

/// What the nodes do when something was reported.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    None,
    /// The feed changes at this moment.
    At(Timestamp),
    /// The next group gets the release now.
    NextGroup,
}

impl Server {
    pub fn new(scenario: &Scenario, start: Timestamp) -> Self {
        let kind = scenario.way.server;
        let terms = match kind {
            Kind::Canaries => Terms { channels: vec!["canary".to_owned()], ..Terms::default() },
            Kind::Phased => phased(start, false),
            Kind::Feed | Kind::Waves => Terms::default(),
        };
        let mut server = Self {
            kind,
            start,
            is_bad: scenario.bad.0 > 0,
            generation: 1,
            catalog: Catalog::of(vec![release(FIRST, terms)]),
            due: vec![],
            groups: vec![],
            started: 1,
            stopped: None,
        };
        match kind {
            Kind::Feed => {}
            Kind::Canaries => server.due.push((start + CANARY, Change::Promote)),
            Kind::Phased => server.due.push((start + CANARY, Change::Stage)),
            Kind::Waves => {
                server.groups = (0..GROUPS.len()).map(|_| Group::default()).collect();
                for number in 0..scenario.nodes {
                    server.groups[group_of(number, scenario.nodes)].size += 1;
                }
            }
        }
        if server.is_bad && kind != Kind::Waves {
            server.due.push((start + REPAIRED, Change::Repair));
        }
        server
    }

    /// What a node is offered, if anything.
    pub fn offers(&self, number: u32, nodes: u32) -> Option<&Catalog> {
        let told = self.kind != Kind::Waves || group_of(number, nodes) < self.started;
        told.then_some(&self.catalog)
    }

    /// The moments at which the feed changes.
    pub fn due(&self) -> Vec<Timestamp> {
        self.due.iter().map(|(at, _)| *at).collect()
    }

    /// Publishes and pulls what is due.
    pub fn advance(&mut self, now: Timestamp) {
        let is_due: Vec<Change> = self.due.iter().filter(|(at, _)| *at <= now).map(|(_, c)| *c).collect();
        self.due.retain(|(at, _)| *at > now);
        for change in is_due {
            match change {
                Change::Promote if self.stopped.is_some() => continue,
                Change::Promote => self.catalog = Catalog::of(vec![release(FIRST, Terms::default())]),
                // What the machines are offered is the same: their turn comes with time.
                Change::Stage => {}
                Change::Pull => {
                    self.catalog = match self.kind {
                        Kind::Phased => Catalog::of(vec![release(FIRST, phased(self.start, true))]),
                        Kind::Feed | Kind::Canaries | Kind::Waves => Catalog::default(),
                    };
                    self.stopped = Some(now);
                }
                Change::Repair => self.catalog = Catalog::of(vec![release(SECOND, Terms::default())]),
            }
            self.generation += 1;
        }
    }

    /// A node has committed, or rolled back.
    pub fn report(&mut self, number: u32, nodes: u32, good: bool, now: Timestamp) -> News {
        if self.kind != Kind::Waves {
            let is_first =
                !good && self.stopped.is_none() && !self.due.iter().any(|(_, c)| *c == Change::Pull);
            if !is_first || now > self.start + REPAIRED {
                return News::None;
            }
            // Not promoted while a failure is investigated.
            self.due.retain(|(_, change)| *change != Change::Promote);
            self.due.push((now + REACTION, Change::Pull));
            return News::At(now + REACTION);
        }
        let number = group_of(number, nodes);
        let group = &mut self.groups[number];
        match good {
            true => group.good += 1,
            false => group.bad += 1,
        }
        if self.stopped.is_none() && group.bad * 100 >= group.size * TOO_MANY_ERRORS {
            // Assigned releases stay assigned.
            self.stopped = Some(now);
        }
        let is_last = number + 1 == self.started && self.started < GROUPS.len();
        if self.stopped.is_none() && is_last && group.good * 100 >= group.size * NEXT_GROUP {
            self.started += 1;
            self.generation += 1;
            return News::NextGroup;
        }
        News::None
    }
}

/// The group of a node. Every group has one node at least, as far as there are nodes.
pub fn group_of(number: u32, nodes: u32) -> usize {
    let mut end = 0;
    for (group, percent) in GROUPS.iter().enumerate() {
        end += (nodes * percent / 100).max(1);
        if number < end {
            return group;
        }
    }
    GROUPS.len() - 1
}

/// A release that is for a few machines first.
fn phased(published: Timestamp, halted: bool) -> Terms {
    let of = |after, percent| Stage { after, percent };
    let stages = vec![of(Duration::ZERO, FIRST_SHARE), of(CANARY, 100)];
    Terms { rollout: Some(Box::new(Rollout { published, stages, halted })), ..Terms::default() }
}

fn release(version: &str, terms: Terms) -> Release {
    let file = ListedFile { name: format!("edge_{version}.raw.zst"), sha256: format!("{version:0>64}") };
    Release {
        image: "edge".into(),
        version: version.into(),
        arch: None,
        digest: file.sha256.clone(),
        files: ReleaseFiles::Disk(file),
        parts: None,
        terms,
    }
}
