//! `os-update-tool.sh`: write, apply, commit, each by its flag.

use log::warn;

use crate::assess::evidence;
use crate::cli::emt::support::{Job, context, exit_code, image_uuid, usage};
use crate::cli::output;
use crate::cli::{Context, apply, commit, write};
use crate::config::{CommitOn, Config};
use crate::health::baseline;
use crate::image::sha256;
use crate::update::WholeMachine;
use crate::update::applied_by_other;
use crate::update::takeover::{self, Takeover};
use crate::url;
use abide_core::error::{Error, Result};
use abide_core::logger;
use abide_core::state::lock::BRIEFLY;
use abide_core::state::{Lock, Stage};

/// The name it is called by.
pub const NAME: &str = "os-update-tool.sh";

/// The version of the tool with this interface; callers expect it in the first line.
const INTERFACE: &str = "2.9";

const HELP: &str = "\
Usage: os-update-tool.sh [-v] [-a] [-c] [-w -u IMAGE -s SHA256] [-h] [--debug]

Options:
  -v       Show the active partition and the image's UUID
  -w       Write the image given with -u into the other slot
  -u       The image: a path, or an http:// or https:// URL
  -s       The SHA-256 of the image as it is published; -w needs it
  -a       Make the written image boot next, on trial
  -c       Commit the running system, if it is the one on trial and its checks pass
  -h       Show this help
  --debug  Increase verbosity
  --dev    Ignored: no login is added to the image, which stays as it was published

-w, -a and -c can be combined; they run in this order.";

/// The parsed command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    show: bool,
    write: bool,
    apply: bool,
    commit: bool,
    image: Option<String>,
    sha256: Option<String>,
    debug: bool,
    dev: bool,
    help: bool,
}

/// Runs what the flags request; returns the exit code.
pub fn run(args: &[String]) -> u8 {
    output::say(format_args!("os-update-tool ver-{INTERFACE}\n"));
    let request = match Request::parse(args) {
        Ok(request) if !request.help => request,
        Ok(_) => return usage(NAME, HELP, None),
        Err(why) => return usage(NAME, HELP, Some(&why)),
    };
    logger::start(if request.debug { 2 } else { 0 }, false);
    exit_code(request.perform())
}

impl Request {
    fn parse(args: &[String]) -> std::result::Result<Self, String> {
        let mut request = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "-v" => request.show = true,
                "-w" => request.write = true,
                "-a" => request.apply = true,
                "-c" => request.commit = true,
                "-h" => request.help = true,
                "--debug" => request.debug = true,
                "--dev" => request.dev = true,
                "-u" => request.image = Some(value("-u", args.next())?),
                "-s" => request.sha256 = Some(value("-s", args.next())?),
                other => return Err(format!("invalid option {other}")),
            }
        }
        request.check()
    }

    fn check(self) -> std::result::Result<Self, String> {
        let asked = self.show || self.write || self.apply || self.commit || self.help;
        if !asked {
            return Err("nothing to do: give one of -v, -w, -a, -c".into());
        }
        if self.sha256.as_deref().is_some_and(|sha| sha256::parse(sha).is_none()) {
            return Err("-s takes the 64 hexadecimal digits of a SHA-256".into());
        }
        if self.write && !self.show && !self.help {
            match (&self.image, &self.sha256) {
                (Some(image), Some(_)) if url::is_http(image) || std::path::Path::new(image).is_file() => {}
                (Some(image), Some(_)) => return Err(format!("-u: there is no file {image}")),
                _ => return Err("-w needs -u IMAGE and -s SHA256".into()),
            }
        }
        Ok(self)
    }

    fn perform(&self) -> std::result::Result<(), (Job, Error)> {
        let context = context().map_err(|e| (Job::Look, e))?;
        if self.show {
            return show(&context).map_err(|e| (Job::Look, e));
        }
        if self.dev {
            warn!("--dev is ignored: no login is added to the image, which stays as it was published");
        }
        if self.write {
            let image = self.image.as_deref().unwrap_or_default();
            write_image(&context, image, self.sha256.as_deref()).map_err(|e| (Job::Write, e))?;
        }
        if self.apply {
            apply::run(&context, &apply::Args::default()).map_err(|e| (Job::Apply, e))?;
        }
        if self.commit {
            commit_trial(&context).map_err(|e| (Job::Commit, e))?;
        }
        Ok(())
    }
}

/// Writes an image on an EMT disk.
pub fn write_image(context: &Context, image: &str, sha256: Option<&str>) -> Result<()> {
    write::run(context, &write::Args::of(image, sha256))
}

fn value(flag: &str, given: Option<&String>) -> std::result::Result<String, String> {
    match given.map(|v| v.trim()) {
        Some(v) if !v.is_empty() => Ok(v.to_owned()),
        _ => Err(format!("{flag} needs a value")),
    }
}

/// `-c`: commits the system on trial, once the required checks have passed. It succeeds again on the committed system,
/// whether a user or Abide committed it; and after a fallback, as EMT's own tool does.
fn commit_trial(context: &Context) -> Result<()> {
    let config = context.load_config()?;
    let machine = context.look(&config)?;
    let state = machine.state();
    let its = |stage| state.update.as_ref().filter(|u| u.stage == stage);
    let committed = its(Stage::Committed).filter(|u| machine.runs(u));
    // That tool may have put another build under the name of a committed one.
    let found = if committed.is_some() && applied_by_other::uncommitted(&machine).is_none() {
        Takeover::Nothing
    } else {
        takeover::find(&machine)?
    };
    match found {
        Takeover::Nothing => {}
        Takeover::Settled { pinned, .. } => {
            drop(machine);
            return settle(context, &config, pinned);
        }
        Takeover::Open { version, .. } => {
            drop(machine);
            return take_over(context, &config, &version);
        }
    }
    if let Some(update) = committed {
        if applied_by_other::is_left_open(&machine) {
            // A takeover was cut off behind its last step.
            let _lock = Lock::wait(&context.root, BRIEFLY)?;
            applied_by_other::clean_up(&context.change(&config)?);
        }
        output::say(format_args!("{} is already committed", update.version));
        return Ok(());
    }
    if let Some(update) = its(Stage::Failed).filter(|u| !machine.runs(u)) {
        // Callers repeat a commit that fails at every boot.
        let reason =
            update.verdict.as_ref().map_or("no reason is recorded", |verdict| verdict.reason.as_str());
        warn!("{} was rolled back: {reason}; the running system stays committed", update.version);
        return Ok(());
    }
    drop(machine);
    match config.emt.commit {
        CommitOn::AtOnce => commit::keep(context, &config),
        CommitOn::Evidence => commit::keep_on_evidence(context, &config, Some(config.emt.commit_wait)),
    }
}

/// Ends an update that EMT's own tool has applied and that needs nothing any more. Where it does not follow from the
/// default that the machine fell back, the running system may be the new one.
fn settle(context: &Context, config: &Config, fell_back: bool) -> Result<()> {
    if !fell_back {
        ask_for_evidence(context, config, "the running system")?;
    }
    let lock = Lock::wait(&context.root, BRIEFLY)?;
    let mut machine = context.change(config)?;
    let found = takeover::find(&machine)?;
    if let Takeover::Settled { steps, .. } = found
        && !steps.is_empty()
    {
        takeover::commit(&mut machine, &steps, baseline::read(&context.root))?;
        output::say("the commit of the running system, which was cut off, is recorded");
        let update = machine.state().update;
        drop((machine, lock));
        return update.map_or(Ok(()), |update| commit::announce(context, config, &update));
    }
    takeover::close(&mut machine)?;
    output::say("the running system boots next; nothing is left of the update of EMT's own tool");
    Ok(())
}

fn ask_for_evidence(context: &Context, config: &Config, what: &str) -> Result<()> {
    if config.emt.commit == CommitOn::AtOnce {
        return Ok(());
    }
    evidence::wait_for(&context.root, config, Some(config.emt.commit_wait)).map_err(|e| {
        Error::Refused(format!(
            "{what} was applied by EMT's own tool and is not committed: {e}; call -c again, or reboot for the \
             system before it"
        ))
    })
}

/// Commits an update that EMT's own tool has applied.
fn take_over(context: &Context, config: &Config, version: &str) -> Result<()> {
    ask_for_evidence(context, config, version)?;
    let lock = Lock::wait(&context.root, BRIEFLY)?;
    let mut machine = context.change(config)?;
    let Takeover::Open { steps, .. } = takeover::find(&machine)? else {
        output::say(format_args!("{version} is committed"));
        return Ok(());
    };
    commit::expect(context, config, version);
    takeover::commit(&mut machine, &steps, baseline::read(&context.root))?;
    output::say(format_args!("{version} is committed"));
    let update = machine.state().update;
    drop((machine, lock));
    update.map_or(Ok(()), |update| commit::announce(context, config, &update))
}

/// `-v`: shows what runs.
fn show(context: &Context) -> Result<()> {
    let config = context.load_config()?;
    let machine = context.look(&config)?;
    let running = machine.running_slot()?;
    output::say(format_args!("Active partition: {}", machine.slots()?.get(running).node));
    output::say(format_args!("Image UUID: {}", image_uuid(&context.root)?));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(line: &str) -> std::result::Result<Request, String> {
        Request::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_may_be_combined() {
        let request = parse("-a -c --debug").unwrap();
        assert!(request.apply && request.commit && request.debug && !request.write);
    }

    #[test]
    fn a_write_needs_an_image_and_its_digest() {
        assert!(parse("-w").unwrap_err().contains("-u IMAGE"));
        assert!(parse("-w -u /etc/passwd").unwrap_err().contains("-s SHA256"));
        assert!(parse("-w -u /etc/passwd -s 12").unwrap_err().contains("64 hexadecimal"));
        assert!(parse(&format!("-w -u /no/such -s {}", "a".repeat(64))).unwrap_err().contains("/no/such"));
        assert!(parse(&format!("-w -u https://x.example/a.raw.gz -s {}", "a".repeat(64))).is_ok());
    }

    #[test]
    fn an_unknown_flag_or_one_without_its_value_is_refused() {
        assert!(parse("-x").is_err());
        assert!(parse("-u").is_err());
        assert!(parse("--debug").is_err());
    }
}
