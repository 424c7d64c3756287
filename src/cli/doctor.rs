//! `abide doctor`

use std::io::IsTerminal;

use serde::Serialize;

use crate::doctor::fix::fix;
use crate::doctor::{Finding, Severity, examine};
use crate::update::WholeMachine;
use abide_core::boot::Access;
use abide_core::error::{Error, OrError, Result};
use abide_core::state::Lock;
use abide_core::update::Machine;

use crate::cli::Context;
use crate::cli::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Repair what Abide can repair, then check again
    #[arg(long)]
    fix: bool,
}

#[derive(Serialize)]
struct DoctorDocument<'a> {
    schema: u32,
    ready: bool,
    fixed: &'a [String],
    findings: &'a [Finding],
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let config = context.load_config();
    let known = config.clone().unwrap_or_default();
    let (mut fixed, mut trouble) = (vec![], None);
    if args.fix {
        let lock = Lock::take(&context.root)?;
        match context.change(&known).and_then(|mut machine| fix(&mut machine, known.assess.tries, &lock)) {
            Ok(done) => fixed = done,
            Err(e) => trouble = Some(e),
        }
    }
    let machine = Machine::read(&context.root, known.slots.as_ref(), Access::Read);
    let findings = examine(&context.root, &config, &machine);
    let errors = findings.iter().filter(|f| f.severity == Severity::Error).count();
    if args.json {
        let document = DoctorDocument { schema: 1, ready: errors == 0, fixed: &fixed, findings: &findings };
        let json = serde_json::to_string(&document).or_failed(|| "cannot encode the findings")?;
        output::show(format_args!("{json}\n"))?;
    } else {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        output::show(text(&findings, &fixed, colours))?;
    }
    match (trouble, errors) {
        (Some(e), _) => Err(e),
        (None, 0) => Ok(()),
        (None, 1) => Err(Error::Failed("one problem would prevent an update or a rollback".into())),
        (None, n) => Err(Error::Failed(format!("{n} problems would prevent an update or a rollback"))),
    }
}

/// A paragraph for each finding: the problem, its consequence, its remedy.
fn text(findings: &[Finding], fixed: &[String], colours: bool) -> String {
    let mut text: String = fixed.iter().map(|done| format!("fixed    {done}\n")).collect();
    for finding in findings {
        let word = format!("{:<7}", finding.severity.as_str());
        let colour = if finding.severity == Severity::Error { "31" } else { "33" };
        let word = if colours { format!("\x1b[{colour}m{word}\x1b[0m") } else { word };
        text.push_str(&format!("{word}  {} [{}]\n", finding.what, finding.id));
        text.push_str(&format!("  why    {}\n  do     {}\n", finding.cause, finding.remedy));
    }
    if findings.is_empty() {
        text.push_str("no problem found that would prevent an update or a rollback\n");
    } else if findings.iter().any(|f| f.fixable) {
        text.push_str("`abide doctor --fix` repairs some of this\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_says_what_why_and_what_to_do() {
        let finding = Finding {
            id: "no-watchdog",
            severity: Severity::Warning,
            what: "there is no watchdog".into(),
            cause: "a hang stays one".into(),
            remedy: "enable it".into(),
            fixable: false,
        };
        assert_eq!(
            text(&[finding], &["x".into()], false),
            "fixed    x\nwarning  there is no watchdog [no-watchdog]\n  why    a hang stays one\n  do     enable it\n"
        );
    }
}
