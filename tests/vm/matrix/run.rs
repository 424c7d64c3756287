//! Runs rows: two at a time where there are two tests' threads, each on a machine of its own.

use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::row::{End, Row, Start};
use super::rows;
use super::table;
use crate::support::edge::Edge;
use crate::support::snapshots::{self, NEW, OLD};

/// What a row took, and what it left.
pub struct Outcome {
    pub row: &'static Row,
    pub took: Duration,
    /// Starts and resets of the machine after the row's beginning.
    pub boots: usize,
    /// The record, in words; none where the row failed.
    pub record: Option<String>,
}

/// The rows that are still to be run, and what became of the others.
struct Queue {
    waiting: VecDeque<&'static Row>,
    running: usize,
    done: Vec<Outcome>,
}

static QUEUE: LazyLock<Mutex<Queue>> = LazyLock::new(|| {
    let rows = rows::all().filter(|row| is_wanted(row));
    Mutex::new(Queue { waiting: rows.collect(), running: 0, done: Vec::new() })
});

/// `ABIDE_MATRIX`: nothing for the daily rows, `all`, or names with commas between them.
fn is_wanted(row: &Row) -> bool {
    match std::env::var("ABIDE_MATRIX") {
        Err(_) => row.daily,
        Ok(wanted) => wanted == "all" || wanted.split(',').any(|name| name == row.name),
    }
}

/// Runs rows until none is left. Whoever ends the last one prints the table.
///
/// # Panics
/// At the end, if one of its rows failed.
pub fn run_rows() {
    let mut failed = Vec::new();
    while let Some(row) = next() {
        let begin = Instant::now();
        let told = catch_unwind(AssertUnwindSafe(|| run(row)));
        if let Err(why) = &told {
            let text = why.downcast_ref::<String>().map(String::as_str);
            let text = text.or(why.downcast_ref::<&str>().copied()).unwrap_or("");
            writeln!(std::io::stderr(), "matrix: {}: {text}", row.name).ok();
            failed.push(row.name);
        }
        let (boots, record) = told.map_or((0, None), |(boots, record)| (boots, Some(record)));
        done(Outcome { row, took: begin.elapsed(), boots, record });
    }
    assert!(failed.is_empty(), "rows of the matrix that failed: {}", failed.join(", "));
}

fn next() -> Option<&'static Row> {
    let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
    let row = queue.waiting.pop_front()?;
    queue.running += 1;
    Some(row)
}

fn done(outcome: Outcome) {
    let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
    // Written past the test harness, which would keep it until the end.
    writeln!(std::io::stderr(), "{}", table::line(&outcome)).ok();
    queue.done.push(outcome);
    queue.running -= 1;
    if queue.waiting.is_empty() && queue.running == 0 {
        table::print(&mut queue.done);
    }
}

/// Runs a row; returns how many boots it took, and the record in words.
fn run(row: &Row) -> (usize, String) {
    let name = format!("matrix-{}", row.name);
    let mut edge = match row.start {
        Start::Image(version, variant) => {
            let mut edge = Edge::running(&name, OLD);
            configure(&mut edge, row);
            edge.write(version, variant);
            edge.ok("abide apply");
            edge
        }
        Start::Staged | Start::Applied => {
            let mut edge = Edge::from(&name, &snapshots::staged());
            configure(&mut edge, row);
            if matches!(row.start, Start::Applied) {
                edge.ok("abide apply");
            }
            edge
        }
        Start::Trial => {
            let mut edge = Edge::from(&name, &snapshots::trial());
            edge.ok("[ -e /run/abide/trial ]");
            edge
        }
        Start::Own(machine) => machine(&name),
    };
    edge.forget_boots();
    let mut edge = (row.story)(edge);
    let record = judge(row, &mut edge);
    let boots = edge.boots();
    let machine = edge.vm.cut_power().unwrap();
    if let Some(disk) = machine.disk(0) {
        fs::remove_file(disk).unwrap();
    }
    (boots, record)
}

fn configure(edge: &mut Edge, row: &Row) {
    if !row.settings.is_empty() {
        edge.configure(row.settings);
    }
}

/// Whether things stand as they must; returns the record in words.
fn judge(row: &Row, edge: &mut Edge) -> String {
    let status = edge.status();
    let running = edge.ok(". /usr/lib/os-release && echo $IMAGE_VERSION");
    let next = edge.list()["next"]["id"].clone();
    let failures = status["failures"].as_array().unwrap();
    let because = status["boot"]["because"].as_str().unwrap_or_default();
    let expected = match row.end {
        End::Committed | End::NowhereElse(_) => NEW,
        End::FellBack(_) | End::Stayed(_) => OLD,
    };
    assert_eq!(running.trim(), expected, "{status:#}");
    assert_eq!(next, format!("edge_{expected}.efi"), "what boots next; {status:#}");
    match &row.end {
        End::Committed => {
            assert_eq!(status["update"]["userStatus"], "UPDATED", "{status:#}");
            assert!(failures.is_empty(), "{status:#}");
            "committed; no failure".to_owned()
        }
        End::NowhereElse(words) => {
            assert_eq!(status["boot"]["kind"], "unknown", "{status:#}");
            assert_eq!(failures.len(), 1, "{status:#}");
            assert!(because.contains(words), "not told: {words}; {status:#}");
            format!("stays up: {because}")
        }
        End::Stayed(words) => {
            assert!(failures.is_empty(), "{status:#}");
            let told =
                format!("{because}; {}", status["update"]["swErr"]["description"].as_str().unwrap_or(""));
            assert!(told.contains(words), "not told: {words}; {status:#}");
            format!("no failure: {}", told.trim_end_matches("; "))
        }
        End::FellBack(record) => {
            assert_eq!(failures.len(), 1, "{status:#}");
            let failure = &failures[0];
            assert_eq!(failure["phase"], record.phase, "{status:#}");
            assert_eq!(failure["attempts"], record.attempts, "{status:#}");
            let reasons = reasons(failure);
            assert!(reasons.contains(record.words), "not on record: {}; {failure:#}", record.words);
            format!(
                "{}, {} of its tries: {}",
                record.phase,
                record.attempts,
                failure["reason"].as_str().unwrap_or("")
            )
        }
    }
}

fn reasons(failure: &Value) -> String {
    let checks = failure["checks"].as_array().into_iter().flatten();
    let of_checks = checks.map(|check| format!("; {}: {}", check["name"], check["reason"]));
    format!("{}{}", failure["reason"].as_str().unwrap_or(""), of_checks.collect::<String>())
}
