//! What a simulation counted.

use jiff::Timestamp;

use crate::scenario::LINK;

pub struct Outcome {
    pub start: Timestamp,
    pub nodes: u32,
    /// Requests for the list of digests, by the second since the start.
    pub requests: Vec<u32>,
    /// By how much the number of running downloads changes, by the second since the start.
    pub downloads: Vec<i32>,
    /// When each node had committed the release that it ended with, in seconds since the start; sorted.
    pub updated: Vec<u64>,
    /// When each node rebooted into the first release, in seconds since the start; sorted.
    pub tried: Vec<u64>,
    /// How many rolled back.
    pub failed: u32,
    /// The most often that one node tried one release.
    pub tries_of_one: u32,
    /// When the release was pulled, or the rollout stopped, in seconds since the start.
    pub stopped: Option<u64>,
}

impl Outcome {
    pub fn new(start: Timestamp, nodes: u32) -> Self {
        Self {
            start,
            nodes,
            requests: vec![],
            downloads: vec![],
            updated: vec![],
            tried: vec![],
            failed: 0,
            tries_of_one: 0,
            stopped: None,
        }
    }

    pub fn second(&self, at: Timestamp) -> u64 {
        u64::try_from(at.as_second() - self.start.as_second()).unwrap()
    }

    pub fn request(&mut self, at: Timestamp) {
        let second = self.second(at);
        *slot(&mut self.requests, second) += 1;
    }

    pub fn download(&mut self, from: Timestamp, until: Timestamp) {
        let (from, until) = (self.second(from), self.second(until));
        *slot(&mut self.downloads, from) += 1;
        *slot(&mut self.downloads, until) -= 1;
    }

    /// The most requests within one second.
    pub fn peak_requests(&self) -> u32 {
        self.requests.iter().copied().max().unwrap_or(0)
    }

    /// The most requests within one minute.
    pub fn peak_in_a_minute(&self) -> u32 {
        self.requests.chunks(60).map(|minute| minute.iter().sum()).max().unwrap_or(0)
    }

    /// Gbit per second that the nodes take, by the second since the start.
    pub fn gigabits(&self) -> Vec<f64> {
        let mut running = 0_i32;
        let per_node = LINK as f64 * 8.0 / 1e9;
        self.downloads
            .iter()
            .map(|change| {
                running += change;
                f64::from(running) * per_node
            })
            .collect()
    }

    pub fn peak_gigabits(&self) -> f64 {
        self.gigabits().into_iter().fold(0.0, f64::max)
    }

    /// Seconds until `percent` of the nodes had the release; none if that never came.
    pub fn reached(&self, percent: usize) -> Option<u64> {
        let count = (self.nodes as usize * percent).div_ceil(100);
        self.updated.get(count.checked_sub(1)?).copied()
    }
}

fn slot<T: Default + Clone>(list: &mut Vec<T>, second: u64) -> &mut T {
    let second = usize::try_from(second).unwrap();
    if list.len() <= second {
        list.resize(second + 1, T::default());
    }
    &mut list[second]
}
