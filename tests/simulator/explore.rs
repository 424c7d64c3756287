//! Every machine that can come out of a life with a given number of disturbances.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::check::check;
use super::disk::{Geometry, key_of};
use super::mutation::Mutation;
use super::session::{Hand, Rules, power_on};
use super::world::{Goal, Version, World};

/// A machine that runs one version at the start, and the goals of its life.
#[derive(Debug, Clone)]
pub struct Life {
    pub name: &'static str,
    pub start: Version,
    pub goals: Vec<Goal>,
    pub geometry: Geometry,
    pub mutation: Mutation,
    pub blind: bool,
    /// `[assess] rearm`
    pub rearm: bool,
    pub loader: &'static str,
    /// Whether what fails leaves more than the state has room for.
    pub full: bool,
    /// Whether what runs at the start has its entry on an XBOOTLDR.
    pub xbootldr: bool,
    /// Power cuts, reboots in mid-trial and choices in the menu, together.
    pub disturbances: u8,
}

/// The coverage of one transition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transition {
    /// How often it was explored with another cut to come.
    pub times: usize,
    /// Changes and flushes: the power was cut after each.
    pub points: usize,
    /// Disks that these cuts left.
    pub cuts: usize,
}

/// The coverage.
#[derive(Debug, Clone, Default)]
pub struct Count {
    /// Machines without power, each different from the others.
    pub states: usize,
    /// Boots.
    pub boots: usize,
    /// Points at which the power was cut, and what that left.
    pub cuts: usize,
    /// The same for each transition.
    pub transitions: BTreeMap<String, Transition>,
}

impl Count {
    /// As a table, for people.
    pub fn table(&self) -> String {
        let mut text = format!("{:<40} {:>8} {:>8} {:>8}\n", "transition", "times", "points", "cuts");
        for (name, Transition { times, points, cuts }) in &self.transitions {
            writeln!(text, "{name:<40} {times:>8} {points:>8} {cuts:>8}").unwrap();
        }
        text
    }
}

/// The transition that was under way, without what differs from life to life.
fn transition(during: &str) -> String {
    let kind = during.split_once(" on ").map(|(_, how)| how.split_once(" (").map_or("", |(_, kind)| kind));
    match (during.split(' ').next(), kind) {
        (Some("initrd"), Some(kind)) => {
            format!("initrd: {}", kind.split(':').next().unwrap_or_default().to_lowercase())
        }
        _ => during.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default().trim_end().to_owned(),
    }
}

struct Node {
    world: World,
    disturbances: u8,
    from: Option<(usize, String)>,
    /// The next machine if nobody disturbs it.
    next: Option<usize>,
    is_done: bool,
}

struct Search<'a> {
    life: &'a Life,
    nodes: Vec<Node>,
    known: HashMap<u64, usize>,
    todo: VecDeque<usize>,
    count: Count,
}

impl Life {
    /// Visits every state.
    ///
    /// # Errors
    /// The first invariant that does not hold, and what led there.
    pub fn explore(&self) -> Result<Count, String> {
        let mut search = Search {
            life: self,
            nodes: vec![],
            known: HashMap::new(),
            todo: VecDeque::new(),
            count: Count::default(),
        };
        search.add(World::new(self.start, self.xbootldr), 0, None)?;
        while let Some(at) = search.todo.pop_front() {
            search.visit(at)?;
        }
        search.everything_comes_to_its_end()?;
        search.count.states = search.nodes.len();
        Ok(search.count)
    }
}

fn key(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    key_of(&world.image).hash(&mut hasher);
    world.slots.hash(&mut hasher);
    world.ghost.hash(&mut hasher);
    hasher.finish()
}

impl Search<'_> {
    fn add(
        &mut self,
        mut world: World,
        disturbances: u8,
        from: Option<(usize, String)>,
    ) -> Result<usize, String> {
        world.settle_commit();
        let key = key(&world);
        if let Some(at) = self.known.get(&key).copied() {
            if self.nodes[at].disturbances > disturbances {
                // Reached with more disturbances left to come: once more, from here.
                self.nodes[at].disturbances = disturbances;
                self.nodes[at].from = from;
                self.todo.push_back(at);
            }
            return Ok(at);
        }
        let at = self.nodes.len();
        let checked = check(&world, &self.life.goals, self.life.loader);
        self.nodes.push(Node { world, disturbances, from, next: None, is_done: false });
        self.known.insert(key, at);
        self.todo.push_back(at);
        checked.map_err(|why| self.tell(at, &why))?;
        Ok(at)
    }

    fn visit(&mut self, at: usize) -> Result<(), String> {
        let rules = Rules {
            goals: &self.life.goals,
            geometry: self.life.geometry,
            mutation: self.life.mutation,
            blind: self.life.blind,
            rearm: self.life.rearm,
            loader: self.life.loader,
            full: self.life.full,
        };
        let (world, disturbances) = (self.nodes[at].world.clone(), self.nodes[at].disturbances);
        let is_last = disturbances >= self.life.disturbances;
        let mut hands = vec![Hand::Off, Hand::Rewrite];
        if !is_last {
            hands.push(Hand::Reboot);
            hands.extend((0..3).map(Hand::Menu));
        }
        for hand in hands {
            let outcome = power_on(&world, rules, hand).map_err(|why| self.tell(at, &why))?;
            let Some(outcome) = outcome else { continue };
            self.count.boots += 1;
            let cost = disturbances + hand.cost();
            let label =
                |what: &str| if hand == Hand::Off { what.to_owned() } else { format!("{hand:?}: {what}") };
            if cost < self.life.disturbances {
                for (during, points) in outcome.points {
                    let of = self.count.transitions.entry(transition(&during)).or_default();
                    of.times += 1;
                    of.points += points;
                }
                for (world, during) in outcome.cuts {
                    self.count.cuts += 1;
                    self.count.transitions.entry(transition(&during)).or_default().cuts += 1;
                    self.add(world, cost + 1, Some((at, label(&format!("CUT during {during}")))))?;
                }
            }
            let next = match outcome.next {
                Some(world) => Some(self.add(world, cost, Some((at, label(&outcome.log.join(", ")))))?),
                None => None,
            };
            if hand == Hand::Off {
                self.nodes[at].is_done = next.is_none();
                self.nodes[at].next = next;
            }
        }
        Ok(())
    }

    /// Without disturbances, every machine reaches the state that its operator wants, and no boot
    /// repeats another.
    fn everything_comes_to_its_end(&self) -> Result<(), String> {
        let mut ends = vec![false; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let (mut path, mut at) = (vec![], start);
            while !ends[at] && !self.nodes[at].is_done {
                if path.contains(&at) {
                    return Err(self.tell(at, "8: left alone, the machine goes round in circles"));
                }
                path.push(at);
                at = self.nodes[at].next.ok_or_else(|| self.tell(at, "8: never visited"))?;
            }
            ends[at] = true;
            path.into_iter().for_each(|n| ends[n] = true);
        }
        Ok(())
    }

    /// The violation with the whole life that led to it.
    fn tell(&self, at: usize, why: &str) -> String {
        let mut lines = vec![];
        let mut now = Some(at);
        while let Some(n) = now {
            let node = &self.nodes[n];
            let names: Vec<&String> =
                node.world.image.names.keys().filter(|n| n.contains("Linux/")).collect();
            lines.push(format!("  {names:?} slots {:?} goal {}", node.world.slots, node.world.ghost.goal));
            if let Some((_, how)) = &node.from {
                lines.push(format!("  -> {how}"));
            }
            now = node.from.as_ref().map(|(n, _)| *n);
        }
        lines.reverse();
        format!("{}: invariant {why}\n{}", self.life.name, lines.join("\n"))
    }
}
