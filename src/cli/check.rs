//! `abide check`

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
    let mut results = Runner::new(checks, MonotonicClock::new(&context.root)).once();
    if args.slowest {
        results.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    }
    let failed: Vec<&str> = results
        .iter()
        .filter(|r| r.required && r.result != CheckStatus::Pass)
        .map(|r| r.name.as_str())
        .collect();
    if args.json {
        let document = CheckDocument { schema: 1, healthy: failed.is_empty(), checks: &results };
        let json = serde_json::to_string(&document).or_failed(|| "cannot encode the results")?;
        output::show(format_args!("{json}\n"))?;
    } else {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
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

fn table(results: &[CheckResult], colours: bool) -> String {
    let width = results.iter().map(|r| r.name.chars().count()).max().unwrap_or(0).max("CHECK".len());
    let mut text = format!("{:width$}  RESULT     TIME  REASON\n", "CHECK");
    for result in results {
        let word = match (result.result, result.required) {
            (CheckStatus::Pass, _) => "pass",
            (_, true) => "FAIL",
            (_, false) => "fail",
        };
        let colour = match word {
            "pass" => "32", // green
            "FAIL" => "31", // red
            _ => "33",      // yellow
        };
        let word = if colours { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.to_owned() };
        let wanted = if result.required { "" } else { "(optional) " };
        let row =
            format!("{:width$}  {word}    {:>5.1} s  {wanted}{}", result.name, result.seconds, result.reason);
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
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
    fn the_table_has_a_line_for_each_check() {
        let results = [
            result("uplink", true, CheckStatus::Fail, "no default route"),
            result("app", true, CheckStatus::Pass, ""),
            result("orchestrator", false, CheckStatus::Fail, "status 503"),
        ];
        assert_eq!(
            table(&results, false),
            "CHECK         RESULT     TIME  REASON\n\
             uplink        FAIL      0.2 s  no default route\n\
             app           pass      0.2 s\n\
             orchestrator  fail      0.2 s  (optional) status 503\n"
        );
    }
}
