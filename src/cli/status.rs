//! `abide status`

use std::io::{self, IsTerminal};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::health;
use crate::update::status::{FeedStatus, SlotStatus, Status, UpdateStatus};
use abide_core::boot::model::name::EntryName;
use abide_core::error::{OrError, Result};
use abide_core::state::{BootKind, Failure, Phase};

use crate::cli::Context;
use crate::cli::output;
use crate::update::phase;
use crate::update::refusal::name_of;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show it again every second while something is downloaded, written or tested
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

/// Between two showings of `--watch`.
const PAUSE: Duration = Duration::from_secs(1);

/// Moves to the upper left corner of the terminal and clears it (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// How many lines of a failed check's output are shown: the status must fit on one screen.
const OUTPUT_LINES: usize = 6;

/// The status and the results of the checks of this boot.
#[derive(Serialize)]
struct StatusDocument<'a> {
    #[serde(flatten)]
    status: &'a Status,
    checks: &'a [health::CheckResult],
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    if args.watch {
        return watch(context);
    }
    let (status, checks) = read(context)?;
    if args.json {
        let document = StatusDocument { status: &status, checks: &checks };
        let json = serde_json::to_string(&document).or_failed(|| "cannot encode the status")?;
        output::show(format_args!("{json}\n"))?;
    } else {
        output::show(text(&status, &checks))?;
    }
    Ok(())
}

fn read(context: &Context) -> Result<(Status, Vec<health::CheckResult>)> {
    let config = context.load_config()?;
    let machine = context.look(&config)?;
    let last = health::PublishedResults::read(&context.root);
    let ends_in = last.as_ref().and_then(|r| r.window_ends_in(&context.root));
    let status = Status::read(&machine, &config, ends_in)?;
    Ok((status, last.map(|r| r.checks).unwrap_or_default()))
}

fn watch(context: &Context) -> Result<()> {
    let is_terminal = io::stdout().is_terminal();
    loop {
        let (status, checks) = read(context)?;
        let text = text(&status, &checks);
        output::show(format_args!("{}{text}", if is_terminal { CLEAR } else { "" }))?;
        if !goes_on(&status) {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
}

/// Whether the status will change by itself.
fn goes_on(status: &Status) -> bool {
    let going = ["DOWNLOAD_INPROGRESS", "UPDATE_INITIALIZING", "UPDATE_TESTING"];
    status.boot.kind == BootKind::Trial
        || status.update.as_ref().is_some_and(|update| going.contains(&update.sub_status))
}

/// One screen: both slots, the update in flight, what failed, what to do next.
fn text(status: &Status, checks: &[health::CheckResult]) -> String {
    let mut lines = vec![];
    let boot = match (status.boot.kind, status.boot.attempt, status.boot.attempts) {
        (BootKind::Trial, Some(n), Some(of)) => format!("on trial, try {n} of {of}"),
        (BootKind::Trial, ..) => "on trial".into(),
        (BootKind::Committed, ..) => "committed".into(),
        (BootKind::Fallback, ..) => format!("fallback: {}", status.boot.because),
        (BootKind::Unknown, ..) => format!("unknown: {}", status.boot.because),
    };
    for slot in &status.slots {
        let what = if slot.running { boot.as_str() } else { beside(slot) };
        let build = slot.build.as_ref().map(|build| format!(", build {build}")).unwrap_or_default();
        let verified = slot.verified.as_ref().map(|by| format!(" ({by})")).unwrap_or_default();
        lines.push(format!(
            "{} slot {}  {:<12} {what}{build}{verified}",
            if slot.running { "*" } else { " " },
            slot.name,
            slot.version.as_deref().unwrap_or("-"),
        ));
    }
    if status.slots.is_empty() {
        lines.push(format!("no slots found; this boot: {boot}"));
    } else if !status.slots.iter().any(|slot| slot.running) {
        lines.push(format!("this boot: {boot}"));
    }
    if let Some(update) = &status.update {
        let mut line = format!("update   {:<12} {}", update.version, update.user_status);
        if !update.sub_status_str.is_empty() {
            line.push_str(&format!(": {}", update.sub_status_str));
        }
        lines.push(line);
    }
    let told = status.update.as_ref().map(|update| update.sub_status_str.as_str()).unwrap_or_default();
    lines.extend(status.feed.as_ref().map(|feed| feed_line(feed, told)));
    for failure in &status.failures {
        lines.extend(failure_lines(failure, status.update.as_ref()));
    }
    for check in checks {
        lines.push(format!("check    {check}"));
    }
    lines.extend(advice(status).map(|advice| format!("next     {advice}")));
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// What the feed offers, and why it is not installed yet; `told`: the line of the update.
fn feed_line(feed: &FeedStatus, told: &str) -> String {
    let version = feed.available.as_deref().or(feed.pinned.as_deref()).unwrap_or("-");
    let mut what = match (&feed.pinned, &feed.available, &feed.polled) {
        (Some(_), ..) => "pinned, until `abide update --unpin`".to_owned(),
        (None, Some(_), _) => "available".to_owned(),
        (None, None, Some(at)) if feed.no_image => format!("no image for this machine; polled {at}"),
        (None, None, Some(at)) if feed.waiting.is_some() => format!("nothing to install now; polled {at}"),
        (None, None, Some(at)) => format!("nothing newer; polled {at}"),
        (None, None, None) => "not polled yet".to_owned(),
    };
    // An error may be why the update waits; it is told once.
    let error = feed.error.as_ref().filter(|error| !told.contains(error.as_str()));
    let is_told = |why: &&String| error != feed.error.as_ref() && told.contains(why.as_str());
    let waiting = feed.waiting.as_ref().filter(|why| feed.pinned.is_none() && !is_told(why));
    if let Some(why) = waiting {
        what.push_str(&format!(": {why}"));
    }
    if let Some(error) = error.filter(|error| !what.contains(error.as_str())) {
        what.push_str(&format!("; {error}"));
    }
    format!("feed     {version:<12} {what}")
}

/// What failed, how often it was tried, in which phase it failed, the reason, and the output of the checks.
fn failure_lines(failure: &Failure, last: Option<&UpdateStatus>) -> Vec<String> {
    let of = last.filter(|u| u.version == failure.version && u.tries >= failure.attempts.max(1));
    let of = of.map(|u| format!(" of {}", u.tries)).unwrap_or_default();
    let tries = if failure.attempts == 1 && of.is_empty() { "try" } else { "tries" };
    let mut lines = vec![
        format!("failed   {:<12} after {}{of} {tries}, {}", failure.version, failure.attempts, failure.time),
        format!("         phase:  {}", phase(failure.phase)),
        format!("         reason: {}", failure.reason),
    ];
    for check in &failure.checks {
        // The reason may already contain that of the only check.
        if !failure.reason.contains(&check.reason) {
            lines.push(format!("         check {}: {}", check.name, check.reason));
        }
        let output: Vec<&str> = check.output.lines().collect();
        if !output.is_empty() {
            lines.push(format!("         last output of check {}:", check.name));
        }
        let rest = output.len().saturating_sub(OUTPUT_LINES);
        lines.extend(output.iter().skip(rest).map(|line| format!("         | {line}")));
    }
    lines.push(format!("         refused until `abide forget {}`", short(name_of(failure))));
    lines
}

/// Enough digits of a digest for `abide forget`.
fn short(name: &str) -> &str {
    let is_digest = name.len() == 64 && name.chars().all(|c| c.is_ascii_hexdigit());
    name.get(..12).filter(|_| is_digest).unwrap_or(name)
}

fn phase(phase: Phase) -> String {
    let words = match phase {
        Phase::Loader => "the boot loader started it; no report came from its initramfs",
        Phase::Initramfs => "its initramfs ran, but did not switch to its root",
        Phase::SwitchRoot => "its root was mounted, but no report came from its own user space",
        Phase::Userspace => "its user space ran, its checks did not",
        Phase::Checks => "its checks ran",
    };
    format!("{} ({words})", phase::word(phase))
}

/// What the user should do, if anything.
fn advice(status: &Status) -> Option<String> {
    let running = status.slots.iter().find(|slot| slot.running).and_then(|slot| slot.version.as_deref());
    let update = status.update.as_ref();
    match status.boot.kind {
        BootKind::Trial => Some("nothing to do: Abide commits it or rolls it back".into()),
        BootKind::Fallback => Some(format!(
            "{} remains the committed system; write a fixed version",
            running.unwrap_or("the running system")
        )),
        // The contradiction comes with its remedy.
        BootKind::Unknown => None,
        BootKind::Committed => match update?.user_status {
            "DOWNLOAD_DONE" => Some("`abide apply` makes it boot next".into()),
            _ if update?.sub_status == "UPDATE_REBOOTING" => Some("reboot to try it".into()),
            _ => None,
        },
    }
}

/// Whether the entry at this path has tries left.
fn has_tries(path: &str) -> bool {
    let file = path.rsplit('/').next().and_then(EntryName::parse);
    file.and_then(|name| name.counter()).is_some_and(|counter| counter.left > 0)
}

fn beside(slot: &SlotStatus) -> &'static str {
    match (slot.state, &slot.entry) {
        ("updating", None) => "written, not bootable yet",
        ("updating", Some(_)) => "boots next, on trial",
        (_, Some(_)) if slot.good => "good, available for rollback",
        (_, Some(file)) if has_tries(file) => "on trial, begun by another tool",
        (_, Some(_)) => "failed, does not boot",
        (_, None) => "empty",
    }
}
