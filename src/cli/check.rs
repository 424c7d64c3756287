//! `abide check`

use std::collections::BTreeSet;
use std::io::IsTerminal;

use serde::Serialize;

use crate::health::MonotonicClock;
use crate::health::runner::Runner;
use crate::health::{CheckResult, CheckStatus, prepare};
use abide_core::boot::Access;
use abide_core::error::{Error, OrError, Result};
use abide_core::state::Baseline;
use abide_core::update::Machine;

use crate::cli::Context;
use crate::cli::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show the slowest check first
    #[arg(long)]
    slowest: bool,
}

#[derive(Serialize)]
struct CheckDocument<'a> {
    schema: u32,
    healthy: bool,
    checks: &'a [CheckResult],
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let config = context.load_config()?;
    let checks = prepare(&config, &baseline(context), &context.root);
    let is_terminal = std::io::stdout().is_terminal();
    let colours = is_terminal && std::env::var_os("NO_COLOR").is_none();
    // Nobody reads along in a file, and the slowest check comes last.
    let is_live = is_terminal && !args.json && !args.slowest;
    let mut rows = LiveRows { colours, shown: BTreeSet::new() };
    let mut written = Ok(());
    let mut results = Runner::new(checks, MonotonicClock::new(&context.root)).once(|results| {
        if is_live && written.is_ok() {
            written = output::show(rows.update(results));
        }
    });
    written?;
    if args.slowest {
        results.sort_unstable_by(|a, b| b.seconds.total_cmp(&a.seconds).then_with(|| a.name.cmp(&b.name)));
    }
    let failed: Vec<&str> =
        results.iter().filter(|r| r.required && !r.result.is_fine()).map(|r| r.name.as_str()).collect();
    if args.json {
        let document = CheckDocument { schema: 1, healthy: failed.is_empty(), checks: &results };
        let json = serde_json::to_string(&document).or_failed(|| "cannot encode the results")?;
        output::show(format_args!("{json}\n"))?;
    } else if is_live {
        output::show(rows.update(&results))?;
    } else {
        output::show(table(&results, colours))?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::Failed(format!("not healthy: {} failed", failed.join(", "))))
}

/// The baseline of the last committed system. Without an ESP there is none, and every check counts.
fn baseline(context: &Context) -> Baseline {
    match Machine::read_boot(&context.root, Access::Read) {
        Ok(machine) => machine.state().baseline,
        Err(e) => {
            log::info!("{e}; earlier failures are unknown");
            Baseline::default()
        }
    }
}

/// The table while it grows, on a terminal: a row for each check that has ended, and last the checks that still run.
struct LiveRows {
    colours: bool,
    /// The names of the checks whose rows are shown.
    shown: BTreeSet<String>,
}

impl LiveRows {
    /// What to write so that the terminal shows `results`. The line of the running checks must not wrap: only then one
    /// carriage return is its start.
    fn update(&mut self, results: &[CheckResult]) -> String {
        let width = width(results);
        let mut text = "\r\x1b[K".to_owned();
        if self.shown.is_empty() && results.iter().all(|r| r.result == CheckStatus::Pending) {
            text.push_str(&head(width));
        }
        let mut running = vec![];
        for result in results {
            if result.result == CheckStatus::Pending {
                running.push(result.name.as_str());
            } else if self.shown.insert(result.name.clone()) {
                text.push_str(&row(result, width, self.colours));
            }
        }
        if !running.is_empty() {
            text.push_str(&format!("\x1b[?7lrunning: {}\x1b[?7h", running.join(", ")));
        }
        text
    }
}

fn table(results: &[CheckResult], colours: bool) -> String {
    let width = width(results);
    results.iter().fold(head(width), |text, result| text + &row(result, width, colours))
}

/// The width of the names.
fn width(results: &[CheckResult]) -> usize {
    results.iter().map(|r| r.name.chars().count()).max().unwrap_or(0).max("CHECK".len())
}

fn head(width: usize) -> String {
    format!("{:width$}  RESULT     TIME  REASON\n", "CHECK")
}

fn row(result: &CheckResult, width: usize, colours: bool) -> String {
    let (word, colour) = match (result.result, result.required) {
        (CheckStatus::Pass, _) => ("pass", "32"), // green
        (CheckStatus::Skipped, _) => ("skip", "0"),
        (_, true) => ("FAIL", "31"),  // red
        (_, false) => ("fail", "33"), // yellow
    };
    let word = if colours { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.to_owned() };
    let wanted = if result.required { "" } else { "(optional) " };
    let row =
        format!("{:width$}  {word}    {:>5.1} s  {wanted}{}", result.name, result.seconds, result.reason);
    format!("{}\n", row.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(name: &str, required: bool, result: CheckStatus, reason: &str) -> CheckResult {
        CheckResult {
            name: name.into(),
            required,
            result,
            reason: reason.into(),
            output: String::new(),
            seconds: 0.25,
        }
    }

    #[test]
    fn a_terminal_shows_each_check_as_it_ends_and_which_ones_run() {
        let pending = |name: &str| result(name, true, CheckStatus::Pending, "");
        let mut rows = LiveRows { colours: false, shown: BTreeSet::new() };
        let start = rows.update(&[pending("uplink"), pending("app")]);
        assert_eq!(start, "\r\x1b[KCHECK   RESULT     TIME  REASON\n\x1b[?7lrunning: uplink, app\x1b[?7h");
        let app = result("app", true, CheckStatus::Pass, "");
        let first = rows.update(&[pending("uplink"), app.clone()]);
        assert_eq!(first, "\r\x1b[Kapp     pass      0.2 s\n\x1b[?7lrunning: uplink\x1b[?7h");
        let end = [result("uplink", true, CheckStatus::Fail, "no route"), app];
        assert_eq!(rows.update(&end), "\r\x1b[Kuplink  FAIL      0.2 s  no route\n");
        assert_eq!(rows.update(&end), "\r\x1b[K");
    }

    #[test]
    fn the_table_has_a_line_for_each_check() {
        let results = [
            result("uplink", true, CheckStatus::Fail, "no default route"),
            result("app", true, CheckStatus::Pass, ""),
            result("orchestrator", false, CheckStatus::Fail, "status 503"),
            result("operator", true, CheckStatus::Skipped, "asked on a trial only"),
        ];
        assert_eq!(
            table(&results, false),
            "CHECK         RESULT     TIME  REASON\n\
             uplink        FAIL      0.2 s  no default route\n\
             app           pass      0.2 s\n\
             orchestrator  fail      0.2 s  (optional) status 503\n\
             operator      skip      0.2 s  asked on a trial only\n"
        );
    }
}
