//! `make bench`: compares Abide with other tools on the same bytes.
//!
//! The target is a loop device with direct I/O on a file. Before each run it is filled again and the caches
//! are dropped; the time ends when a flush after the command's end has returned. The tools take turns, so
//! that a slow minute of the machine affects all of them. Needs root.
//!
//! `ABIDE_BENCH` selects the cases (`full-sparse-1G`, …; a part of the name does), `ABIDE_BENCH_RUNS` says how
//! often (5; those without a limit once), `ABIDE_BENCH_TOOLS` restricts the tools. Results stay in
//! `target/bench/results` and are merged by case, so that a long bench can be run in parts.

#![allow(missing_docs, unused_crate_dependencies)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod case;
mod image;
mod measure;
mod plot;
mod results;
mod tables;
mod target;
mod tools;
mod updaters;

use std::path::PathBuf;

use case::{CASES, Case};
use image::Published;
use results::{Results, Run};
use target::Target;
use tools::Tool;

/// Where images and results are kept; below the repository.
fn dir() -> PathBuf {
    std::env::var_os("ABIDE_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench"), PathBuf::from)
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = words.iter().position(|w| w == "--measure") {
        return measure::inside(&words[at + 1]);
    }
    std::fs::create_dir_all(dir()).unwrap();
    let mut results = Results::load(&dir().join("results"));
    let wanted = std::env::var("ABIDE_BENCH").unwrap_or_default();
    for case in CASES
        .iter()
        .filter(|case| wanted.split_whitespace().any(|w| case.name().contains(w)) || wanted.is_empty())
    {
        bench(case, &mut results);
        results.save(&dir().join("results"));
    }
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/explanation");
    let (text, plot) = (tables::markdown(&results), plot::svg(&results));
    println!("{text}");
    std::fs::write(docs.join("bench.md"), text).unwrap();
    std::fs::write(docs.join("bench.svg"), plot).unwrap();
}

/// Runs the tools of a case in turn, as often as requested.
fn bench(case: &Case, results: &mut Results) {
    let published = Published::make(&dir(), case);
    let target = Target::new(&dir(), published.disk_len);
    let tools = Tool::all(&dir(), &published, &target, case);
    let wanted: usize =
        std::env::var("ABIDE_BENCH_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(case.runs);
    results.begin(case);
    for round in 0..wanted {
        for tool in tools.iter().filter(|tool| round < tool.runs) {
            target.fill(&published, case.change, tool.offset(&published));
            tool.before();
            let run = measure::outside(&tool.command, &target);
            match run {
                Ok(run) => {
                    eprintln!("{} {}: {run}", case.name(), tool.name);
                    results.add(case, tool.name, run);
                }
                Err(why) => eprintln!("{} {}: left out: {why}", case.name(), tool.name),
            }
        }
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.2} s, {} MiB sent, {} MiB written, {} flushes, {:.2} s CPU, {} MiB",
            self.seconds,
            self.sent >> 20,
            self.written >> 20,
            self.flushes,
            self.cpu,
            self.memory >> 20
        )
    }
}
