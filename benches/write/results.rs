//! The measurements, kept from one run of the bench to the next.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::case::{CASES, Case};

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// Until everything was durable.
    pub seconds: f64,
    /// Bytes that the target counts, including ranges that it was told to zero.
    pub written: u64,
    /// Bytes that the processes passed to the kernel for any disk, temporary files included.
    pub sent: u64,
    /// Flushes requested by the command.
    pub flushes: u64,
    /// Seconds, of all processes.
    pub cpu: f64,
    /// Bytes, of the largest process.
    pub memory: u64,
}

/// By case and tool, in the order in which they were run.
#[derive(Debug, Default)]
pub struct Results(BTreeMap<String, Vec<(String, Vec<Run>)>>);

impl Results {
    pub fn load(path: &Path) -> Self {
        let mut results = Self::default();
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            let f: Vec<&str> = line.split('\t').collect();
            let run = Run {
                seconds: f[2].parse().unwrap(),
                written: f[3].parse().unwrap(),
                flushes: f[4].parse().unwrap(),
                cpu: f[5].parse().unwrap(),
                memory: f[6].parse().unwrap(),
                sent: f[7].parse().unwrap(),
            };
            results.push(f[0], f[1], run);
        }
        results
    }

    pub fn save(&self, path: &Path) {
        let mut text = String::new();
        for (case, tools) in &self.0 {
            for (tool, runs) in tools {
                for r in runs {
                    text += &format!(
                        "{case}\t{tool}\t{}\t{}\t{}\t{}\t{}\t{}\n",
                        r.seconds, r.written, r.flushes, r.cpu, r.memory, r.sent
                    );
                }
            }
        }
        fs::write(path, text).unwrap();
    }

    /// Deletes the results of an earlier bench.
    pub fn begin(&mut self, case: &Case) {
        self.0.remove(&case.name());
    }

    pub fn add(&mut self, case: &Case, tool: &str, run: Run) {
        self.push(&case.name(), tool, run);
    }

    fn push(&mut self, case: &str, tool: &str, run: Run) {
        let tools = self.0.entry(case.to_owned()).or_default();
        match tools.iter_mut().find(|(name, _)| name == tool) {
            Some((_, runs)) => runs.push(run),
            None => tools.push((tool.to_owned(), vec![run])),
        }
    }

    pub fn cases(&self) -> Vec<(&'static Case, Vec<(&str, Run)>)> {
        CASES
            .iter()
            .filter_map(|case| {
                let tools = self.0.get(&case.name())?;
                Some((case, tools.iter().map(|(name, runs)| (name.as_str(), median(runs))).collect()))
            })
            .collect()
    }

    pub fn get(&self, case: &str, tool: &str) -> Option<Run> {
        self.0.get(case)?.iter().find(|(name, _)| name == tool).map(|(_, runs)| median(runs))
    }
}

/// The median of each number; of the memory the maximum.
fn median(runs: &[Run]) -> Run {
    fn middle<T: PartialOrd + Copy>(runs: &[Run], of: impl Fn(&Run) -> T) -> T {
        let mut all: Vec<T> = runs.iter().map(of).collect();
        all.sort_by(|a, b| a.partial_cmp(b).unwrap());
        all[all.len() / 2]
    }
    Run {
        seconds: middle(runs, |r| r.seconds),
        written: middle(runs, |r| r.written),
        sent: middle(runs, |r| r.sent),
        flushes: middle(runs, |r| r.flushes),
        cpu: middle(runs, |r| r.cpu),
        memory: runs.iter().map(|r| r.memory).max().unwrap(),
    }
}
