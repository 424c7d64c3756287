//! `abide history`

use serde::Serialize;

use abide_core::boot::Access;
use abide_core::error::{OrError, Result};
use abide_core::state::Phase;
use abide_core::state::history::{Ended, Event, Happened, History};
use abide_core::update::Machine;

use crate::cli::Context;
use crate::cli::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct HistoryDocument<'a> {
    schema: u32,
    events: Vec<EventDocument<'a>>,
}

/// An event with all its fields, so that none is ever left out.
#[derive(Serialize)]
struct EventDocument<'a> {
    time: Option<&'a str>,
    event: Happened,
    version: &'a str,
    digest: Option<&'a str>,
    attempt: Option<u32>,
    phase: Option<Phase>,
    ended: Option<Ended>,
    reason: &'a str,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let machine = Machine::read_boot(&context.root, Access::Read)?;
    let history = History::read(machine.dirs.esp.as_ref());
    let events: Vec<&Event> = history.events.iter().map(|(_, event)| event).collect();
    if args.json {
        let events = events.iter().map(|event| document(event)).collect();
        let json = serde_json::to_string(&HistoryDocument { schema: 1, events })
            .or_failed(|| "cannot encode the history")?;
        return output::show(format_args!("{json}\n"));
    }
    output::show(text(&events))
}

fn document(event: &Event) -> EventDocument<'_> {
    EventDocument {
        time: Some(event.time.as_str()).filter(|time| !time.is_empty()),
        event: event.event,
        version: &event.version,
        digest: event.digest.as_deref(),
        attempt: event.attempt,
        phase: event.phase,
        ended: event.ended,
        reason: &event.reason,
    }
}

/// One block for each update, with one line for each event.
fn text(events: &[&Event]) -> String {
    if events.is_empty() {
        return "no update was recorded on this machine\n".into();
    }
    let blocks: Vec<String> = blocks(events).iter().map(|block| block_text(block)).collect();
    blocks.join("\n")
}

/// The events by update, in their order.
fn blocks<'e>(events: &'e [&'e Event]) -> Vec<&'e [&'e Event]> {
    let begins = |before: &Event, event: &Event| match event.event {
        Happened::Staged => true,
        Happened::Applied => before.event != Happened::Staged || !is_of_one(before, event),
        _ => !is_of_one(before, event),
    };
    events.chunk_by(|before, event| !begins(before, event)).collect()
}

fn is_of_one(one: &Event, other: &Event) -> bool {
    one.version == other.version && one.digest == other.digest
}

fn block_text(block: &[&Event]) -> String {
    let Some(first) = block.first() else { return String::new() };
    let digest = first.digest.as_deref().and_then(|d| d.get(..12)).map(|d| format!(" ({d})"));
    let version = if first.version.is_empty() { "an image" } else { &first.version };
    let mut text = format!("{version}{}: {}\n", digest.unwrap_or_default(), outcome(block));
    for (index, event) in block.iter().enumerate() {
        let next = block.get(index + 1).map(|next| next.event);
        text.push_str(&format!("  {:<16}  {}\n", minute(&event.time), line(event, next)));
    }
    text
}

/// How the update stands after these events.
fn outcome(block: &[&Event]) -> &'static str {
    let told = block.iter().rev().map(|event| event.event);
    let decided = told.filter(|event| *event != Happened::Forgotten);
    match decided.into_iter().next() {
        Some(Happened::Staged) => "staged",
        Some(Happened::Applied) => "applied, waits for its first boot",
        Some(Happened::Boot) => "on trial",
        Some(Happened::Committed) => "committed",
        Some(Happened::RolledBack) => "rolled back",
        Some(Happened::Cancelled) => "cancelled",
        Some(Happened::Refused) => "refused",
        Some(Happened::Forgotten) | None => "may be tried again",
    }
}

/// The time to the minute; nothing where it is not known.
fn minute(time: &str) -> String {
    time.get(..16).map(|minute| minute.replace('T', " ")).unwrap_or_default()
}

fn line(event: &Event, next: Option<Happened>) -> String {
    let reason = if event.reason.is_empty() { String::new() } else { format!(": {}", event.reason) };
    match event.event {
        Happened::Staged => "written and verified".into(),
        Happened::Applied => "applied: boots next, on trial".into(),
        Happened::Boot => boot_line(event, &reason, next),
        Happened::Committed => "committed".into(),
        Happened::RolledBack => format!("rolled back{reason}"),
        Happened::Cancelled => "cancelled before it was booted".into(),
        Happened::Forgotten => "failure record deleted: it may be tried again".into(),
        Happened::Refused => format!("refused{reason}"),
    }
}

fn boot_line(event: &Event, reason: &str, next: Option<Happened>) -> String {
    let attempt = event.attempt.unwrap_or_default();
    let how_far = match event.phase {
        None | Some(Phase::Loader) => return format!("try {attempt}: no report from its initramfs"),
        Some(Phase::Initramfs) => "its initramfs ran",
        Some(Phase::SwitchRoot) => "its root was mounted",
        Some(Phase::Userspace) => "its user space ran",
        Some(Phase::Checks) => "its checks ran",
    };
    let end = match event.ended {
        Some(Ended::Failed) => format!(", failed{reason}"),
        Some(Ended::Orderly) => ", ended in an orderly reboot".into(),
        // Another boot came: a panic, a hang, a reset or a power cut ended this one.
        None if next == Some(Happened::Boot) => ", ended without a report".into(),
        None => String::new(),
    };
    format!("try {attempt}: {how_far}{end}")
}
