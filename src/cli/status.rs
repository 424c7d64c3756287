//! `abide status`

use serde::Serialize;

use crate::error::{OrError, Result};
use crate::health;
use crate::state::BootKind;
use crate::update::report::{Report, SlotReport, report};

use super::Context;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// For machines
    #[arg(long)]
    json: bool,
}

/// The report and what the checks of this boot said.
#[derive(Serialize)]
struct Status<'a> {
    #[serde(flatten)]
    report: &'a Report,
    checks: &'a [health::CheckResult],
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let config = context.load_config()?;
    let machine = context.look(&config)?;
    let last = health::Report::read(&context.root);
    let report = report(&machine, &config, last.as_ref().and_then(|r| r.window_ends_in(&context.root)))?;
    let checks = last.map(|r| r.checks).unwrap_or_default();
    if args.json {
        let status = Status { report: &report, checks: &checks };
        println!("{}", serde_json::to_string(&status).or_failed(|| "cannot encode the status")?);
    } else {
        print!("{}", text(&report, &checks));
    }
    Ok(())
}

/// One screen: what runs, what is beside it, what is under way, what failed, what to do.
fn text(report: &Report, checks: &[health::CheckResult]) -> String {
    let mut lines = vec![];
    let boot = match (report.boot.kind, report.boot.attempt, report.boot.attempts) {
        (BootKind::Trial, Some(n), Some(of)) => format!("on trial, try {n} of {of}"),
        (BootKind::Trial, ..) => "on trial".into(),
        (BootKind::Committed, ..) => "committed".into(),
        (BootKind::Fallback, ..) => format!("fallback: {}", report.boot.because),
        (BootKind::Unknown, ..) => format!("unknown: {}", report.boot.because),
    };
    for slot in &report.slots {
        let what = if slot.running { boot.as_str() } else { beside(slot) };
        lines.push(format!(
            "{} slot {}  {:<12} {what}",
            if slot.running { "*" } else { " " },
            slot.name,
            slot.version.as_deref().unwrap_or("-"),
        ));
    }
    if report.slots.is_empty() {
        lines.push(format!("no slots found; this boot: {boot}"));
    }
    if let Some(update) = &report.update {
        let mut line = format!("update   {:<12} {}", update.version, update.user_status);
        if !update.sub_status_str.is_empty() {
            line.push_str(&format!(": {}", update.sub_status_str));
        }
        lines.push(line);
    }
    for failure in &report.failures {
        lines.push(format!(
            "failed   {:<12} after {} {}, phase {}, {}",
            failure.version,
            failure.attempts,
            if failure.attempts == 1 { "try" } else { "tries" },
            failure.phase.as_str(),
            failure.time
        ));
        lines.push(format!("         {}", failure.reason));
        for check in &failure.checks {
            lines.push(format!("         check {}: {}", check.name, check.reason));
        }
        lines.push(format!("         refused until `abide forget {}`", failure.version));
    }
    for check in checks {
        lines.push(format!("check    {check}"));
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn beside(slot: &SlotReport) -> &'static str {
    match (slot.state, &slot.entry) {
        ("updating", None) => "written, not bootable yet",
        ("updating", Some(_)) => "boots next, on trial",
        (_, Some(_)) if slot.good => "in reserve",
        (_, Some(_)) => "failed, does not boot",
        (_, None) => "empty",
    }
}
