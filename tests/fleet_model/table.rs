//! The figures: printed, and kept in `docs/explanation/fleet.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::outcome::Outcome;
use crate::scenario::{Scenario, Server};

pub type Run = (Scenario, Outcome);

/// A document, with what stands in it between these lines.
const DOCUMENT: &str = "docs/explanation/fleet.md";
const MARKS: [(&str, &str); 2] = [
    ("<!-- good: written by `make fleet` -->", "<!-- end of good -->"),
    ("<!-- bad: written by `make fleet` -->", "<!-- end of bad -->"),
];

/// The loads, and the times, of a good release.
pub fn good(runs: &[&Run]) -> String {
    let mut text = String::from(
        "| way | nodes | requests, most in a second | most in a minute | Gbit/s at most | half of the fleet | 95 % | all |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (scenario, outcome) in runs {
        let [half, most, all] =
            [50, 95, 100].map(|percent| outcome.reached(percent).map_or("never".into(), time));
        let (way, nodes) = (scenario.way.name, scenario.nodes);
        let (second, minute, gigabits) =
            (outcome.peak_requests(), outcome.peak_in_a_minute(), outcome.peak_gigabits());
        writeln!(text, "| {way} | {nodes} | {second} | {minute} | {gigabits:.2} | {half} | {most} | {all} |")
            .unwrap();
    }
    text
}

/// Who tried a bad one.
pub fn bad(runs: &[&Run]) -> String {
    let mut text = String::from(
        "| way | bad on | nodes | tried it | rolled back | tries of one node | stopped after | all on the repaired one |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (scenario, outcome) in runs {
        let (way, nodes, percent) = (scenario.way.name, scenario.nodes, scenario.bad.0);
        let (tried, failed, most) = (outcome.tried.len(), outcome.failed, outcome.tries_of_one);
        let stopped = outcome.stopped.map_or("never".into(), time);
        let all = match scenario.way.server {
            Server::Waves => "–".into(),
            Server::Feed | Server::Canaries | Server::Phased => {
                outcome.reached(100).map_or("never".into(), time)
            }
        };
        writeln!(text, "| {way} | {percent} % | {nodes} | {tried} | {failed} | {most} | {stopped} | {all} |")
            .unwrap();
    }
    text
}

/// `1d 4h`, `3h 12min`, `7min`.
pub fn time(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}min"),
        (0, _) => format!("{hours}h {minutes}min"),
        _ => format!("{days}d {hours}h"),
    }
}

/// Puts the tables and the plot into the documents.
pub fn write(tables: [&str; 2], plot: &str) {
    let top = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut text = fs::read_to_string(top.join(DOCUMENT)).unwrap();
    for ((begin, end), table) in MARKS.into_iter().zip(tables) {
        let (head, rest) = text.split_once(begin).unwrap();
        let (_, tail) = rest.split_once(end).unwrap();
        text = format!("{head}{begin}\n\n{table}\n{end}{tail}");
    }
    fs::write(top.join(DOCUMENT), text).unwrap();
    fs::write(top.join("docs/explanation/fleet.svg"), plot).unwrap();
}
