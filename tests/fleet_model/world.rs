//! The virtual clock and what happens on it.

use abide::config::Update;
use abide::config::update::Target;
use abide::feed::catalog::Release;
use abide::feed::jitter;
use abide::feed::maintenance_window::{Begin, begin};
use abide::feed::policy;
use abide::feed::policy::{FailedImage, Ruling, TrialState};
use jiff::{SignedDuration, Timestamp};

use crate::node::{Doing, Node};
use crate::outcome::Outcome;
use crate::scenario::{HOUR, IMAGE, LINK, MINUTE, REBOOT, Scenario, Server as Kind};
use crate::server::{FIRST, News, Server, group_of};

/// A Monday on which nobody sets a clock, at an hour at which no window is open.
const START: &str = "2026-03-02T12:00:00Z";

/// The healthy system is kept after this long, the sick one given up.
const TEST_WINDOW: std::time::Duration = MINUTE.saturating_mul(10);
const DEADLINE: std::time::Duration = MINUTE.saturating_mul(20);

const DAYS: i64 = 10;

/// The next event of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Change,
    Poll,
    Load(u32),
    Begin(u32),
    End(u32, bool),
}

struct World<'s> {
    scenario: &'s Scenario,
    configurations: Vec<Update>,
    nodes: Vec<Node>,
    server: Server,
    /// By the minute since the start.
    events: Vec<Vec<(Timestamp, u32, Event)>>,
    outcome: Outcome,
    /// How many nodes have the release that they are to end with.
    done: usize,
    now: Timestamp,
}

/// Runs until nothing is left to happen, or ten days are over.
pub fn run(scenario: &Scenario) -> Outcome {
    let start: Timestamp = START.parse().unwrap();
    let configurations = scenario.way.configurations();
    let count = configurations.len();
    let mut world = World {
        scenario,
        nodes: (0..scenario.nodes).map(|n| Node::new(scenario.seed, n, count, start)).collect(),
        configurations,
        server: Server::new(scenario, start),
        events: vec![],
        outcome: Outcome::new(start, scenario.nodes),
        done: 0,
        now: start,
    };
    for at in world.server.due() {
        world.at(at, 0, Event::Change);
    }
    world.tell_group(0);
    let mut minute = 0;
    while minute < world.events.len() {
        let mut batch = std::mem::take(&mut world.events[minute]);
        batch.sort_unstable();
        for (at, node, event) in batch {
            world.now = at;
            world.happens(node, event);
        }
        // Events within this minute.
        if world.events[minute].is_empty() {
            minute += 1;
        }
        if world.is_over() {
            break;
        }
    }
    world.finish()
}

impl World<'_> {
    fn at(&mut self, at: Timestamp, node: u32, event: Event) {
        let end = self.outcome.start + SignedDuration::from_hours(24 * DAYS);
        if at > end {
            return;
        }
        let minute = usize::try_from(self.outcome.second(at) / 60).unwrap();
        if self.events.len() <= minute {
            self.events.resize(minute + 1, vec![]);
        }
        self.events[minute].push((at, node, event));
    }

    fn is_waves(&self) -> bool {
        self.scenario.way.server == Kind::Waves
    }

    /// The nodes of a group of a rollout, or all of them, begin to ask.
    fn tell_group(&mut self, group: usize) {
        for number in 0..self.scenario.nodes {
            if !self.is_waves() || group_of(number, self.scenario.nodes) == group {
                self.poll_again(number);
            }
        }
    }

    fn poll_again(&mut self, number: u32) {
        let node = &self.nodes[number as usize];
        let rules = &self.configurations[node.configuration];
        let after = self.now.max(node.on_from);
        let next = jitter::next_poll(node.poll_seed(), after, rules.interval, rules.jitter);
        self.at(next, number, Event::Poll);
    }

    fn happens(&mut self, number: u32, event: Event) {
        let ticket = self.nodes[number as usize].ticket;
        match event {
            Event::Change => self.server.advance(self.now),
            Event::Poll => self.poll(number),
            Event::Load(of) if of == ticket => self.load(number),
            Event::Begin(of) if of == ticket => self.begin(number),
            Event::End(of, good) if of == ticket => self.end(number, good),
            _ => {}
        }
    }

    fn poll(&mut self, number: u32) {
        self.outcome.request(self.now);
        self.decide(number);
        // A node of a rollout that has its order asks on, but gets no other one: not simulated. Nor is what
        // those that are through with it ask after the first day.
        let is_done = self.nodes[number as usize].system.version == self.scenario.last();
        let is_silent = self.is_waves() || is_done && self.is_second_day();
        if !is_silent {
            self.poll_again(number);
        }
    }

    fn decide(&mut self, number: u32) {
        let node = &mut self.nodes[number as usize];
        let state = (self.server.generation, node.changes);
        if node.decided == Some(state) {
            // The decision is a pure function, and without back-off it does not change with time.
            return;
        }
        node.decided = Some(state);
        let Some(catalog) = self.server.offers(number, self.scenario.nodes) else { return };
        let rules = &self.configurations[node.configuration];
        let ruling = match self.scenario.way.server {
            // The server has decided; the policy of the node still applies.
            Kind::Waves => {
                let rules = Update { target: Target::Version(FIRST.into()), ..rules.clone() };
                policy::decide(&node.system, &rules, catalog, self.now).ruling
            }
            Kind::Feed | Kind::Canaries | Kind::Phased => {
                policy::decide(&node.system, rules, catalog, self.now).ruling
            }
        };
        match (&node.doing, ruling) {
            (Doing::Trying(_), _) => {}
            (Doing::Fetching(old), Ruling::Take(new)) if *old == new.release => {}
            (_, Ruling::Take(new)) => self.take(number, new.release),
            // A removed release is no longer installed.
            (Doing::Fetching(_), _) => {
                node.doing = Doing::Nothing;
                node.ticket += 1;
            }
            (Doing::Nothing, _) => {}
        }
    }

    fn take(&mut self, number: u32, release: Release) {
        let needs = TEST_WINDOW + REBOOT;
        let node = &mut self.nodes[number as usize];
        let rules = &self.configurations[node.configuration];
        let opens = match begin(&rules.windows, self.now, needs) {
            Begin::At(opens) => Some(opens),
            // Right now, if there are windows at all.
            Begin::Now(until) => until.map(|_| self.now),
            Begin::Never => None,
        };
        let seed = node.draw(&release.digest);
        let at = jitter::download_at(seed, self.now, opens, rules.download_spread);
        node.doing = Doing::Fetching(release);
        node.ticket += 1;
        let ticket = node.ticket;
        self.at(at, number, Event::Load(ticket));
    }

    fn load(&mut self, number: u32) {
        let until = self.now + SignedDuration::from_secs(i64::try_from(IMAGE / LINK).unwrap());
        self.outcome.download(self.now, until);
        let ticket = self.nodes[number as usize].ticket;
        self.at(until, number, Event::Begin(ticket));
    }

    fn begin(&mut self, number: u32) {
        let node = &mut self.nodes[number as usize];
        let rules = &self.configurations[node.configuration];
        let needs = TEST_WINDOW + REBOOT;
        let ticket = node.ticket;
        match begin(&rules.windows, self.now, needs) {
            Begin::At(opens) => return self.at(opens, number, Event::Begin(ticket)),
            Begin::Never => panic!("a window that comes every night never comes"),
            Begin::Now(_) => {}
        }
        let is_open = matches!(begin(&rules.windows, self.now, std::time::Duration::ZERO), Begin::Now(_));
        assert!(is_open);
        let Doing::Fetching(release) = std::mem::replace(&mut node.doing, Doing::Nothing) else { return };
        let bad = release.version == FIRST && node.is_bad(&release.version, self.scenario.bad.0);
        let takes = if bad { DEADLINE + 2 * REBOOT } else { TEST_WINDOW + REBOOT };
        if release.version == FIRST {
            let second = self.outcome.second(self.now);
            self.outcome.tried.push(second);
        }
        node.system.trial = TrialState::OnTrial;
        let before = node.system.failed.iter().filter(|f| f.version == release.version).count();
        self.outcome.tries_of_one = self.outcome.tries_of_one.max(u32::try_from(before).unwrap() + 1);
        node.doing = Doing::Trying(release);
        self.at(self.now + takes, number, Event::End(ticket, !bad));
    }

    fn end(&mut self, number: u32, good: bool) {
        let second = self.outcome.second(self.now);
        let node = &mut self.nodes[number as usize];
        let Doing::Trying(release) = std::mem::replace(&mut node.doing, Doing::Nothing) else { return };
        node.system.trial = TrialState::Committed;
        node.changes += 1;
        match good {
            true => {
                if release.version == self.scenario.last() {
                    self.done += 1;
                    self.outcome.updated.push(second);
                }
                node.system.version = release.version;
            }
            false => {
                self.outcome.failed += 1;
                node.system.failed.push(FailedImage {
                    unversioned: false,
                    version: release.version,
                    digest: Some(release.digest),
                    time: Some(self.now),
                    times: 1,
                });
            }
        }
        match self.server.report(number, self.scenario.nodes, good, self.now) {
            News::None => {}
            News::At(at) => self.at(at, 0, Event::Change),
            News::NextGroup => self.tell_group(self.server.started - 1),
        }
    }

    /// Whether every node has the release that it is to end with, and the load of a whole day was seen.
    fn is_over(&self) -> bool {
        self.done == self.nodes.len() && self.is_second_day()
    }

    fn is_second_day(&self) -> bool {
        self.now > self.outcome.start + 24 * HOUR
    }

    fn finish(mut self) -> Outcome {
        self.outcome.stopped = self.server.stopped.map(|at| self.outcome.second(at));
        self.outcome.updated.sort_unstable();
        self.outcome.tried.sort_unstable();
        self.outcome
    }
}
