//! `abide update`

use serde::Serialize;

use crate::agent::{
    Cost, End, Mode, Notice, Privileges, RunResult, Subject, hand_over, leave_survey, run as update,
    take_back,
};
use crate::config::Config;
use crate::feed::memory::pin;
use crate::url::shown;
use abide_core::boot::Access;
use abide_core::error::{Error, OrError, Result};
use abide_core::update::Machine;

use crate::cli::Context;
use crate::cli::interrupt;
use crate::cli::output;
use crate::cli::progress::{ProgressDisplay, Style};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Poll the feed and show what would be installed; exit 5 if nothing
    #[arg(long, group = "what")]
    check: bool,
    /// With --check: print JSON
    #[arg(long, requires = "check")]
    json: bool,
    /// Fetch and write into the other slot, but do not apply
    #[arg(long, group = "what")]
    download_only: bool,
    /// Ignore maintenance windows and inhibitors
    #[arg(long, group = "what")]
    now: bool,
    /// Take a release before this machine's turn in its rollout, or though that is halted
    #[arg(long, conflicts_with_all = ["pin", "unpin"])]
    early: bool,
    /// Stay on the running version, whatever the feed offers
    #[arg(long, group = "what")]
    pin: bool,
    /// Remove the pin
    #[arg(long, group = "what")]
    unpin: bool,
    /// How to show progress
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Style::Auto)]
    progress: Style,
    /// Collect what only root can read, for the downloader; used by a unit
    #[arg(long, group = "what", hide = true)]
    survey: bool,
    /// Give the cache to the user of the unit; used by that unit
    #[arg(long, group = "what", hide = true)]
    hand_over: bool,
    /// Take the cache back from that user; used by that unit
    #[arg(long, group = "what", hide = true)]
    take_back: bool,
    /// Run the steps that need the network; used by a unit
    #[arg(long, group = "what", hide = true)]
    fetch: bool,
    /// Run the steps that need no network, up to the written slot; used by a unit
    #[arg(long, group = "what", hide = true)]
    install: bool,
    /// Run the steps after the slot is written; used by a unit
    #[arg(long, group = "what", hide = true)]
    boot: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    if args.take_back {
        return take_back(&context.root);
    }
    let config = context.load_config()?;
    if args.survey {
        return leave_survey(&context.root, &config);
    }
    if args.hand_over {
        return hand_over(&context.root, &config);
    }
    if args.pin || args.unpin {
        return set_pin(context, args.pin);
    }
    let (mode, privileges) = match args {
        Args { fetch: true, .. } => (Mode::Scheduled, Privileges::FETCH),
        Args { install: true, .. } => (Mode::Scheduled, Privileges::WRITE),
        Args { boot: true, .. } => (Mode::Scheduled, Privileges::BOOT),
        Args { check: true, .. } => (Mode::Check, Privileges::ALL),
        Args { download_only: true, .. } => (Mode::DownloadOnly, Privileges::ALL),
        Args { now: true, .. } => (Mode::Now, Privileges::ALL),
        _ => (Mode::Update, Privileges::ALL),
    };
    if config.update.source().is_none() && mode != Mode::Scheduled {
        return Err(Error::Nothing(
            "no feed is configured; set feed in [update] of the configuration: feed = \"https://…\"".into(),
        ));
    }
    interrupt::watch("interrupted; the running system is unchanged; `abide update` resumes")?;
    // The answer to a check is one object.
    let style = if args.json { Style::None } else { args.progress };
    let mut fetching = ProgressDisplay::new(style);
    let mut writing = ProgressDisplay::new(style);
    let result = update(&context.root, &config, mode, privileges, args.early, &mut |notice| match notice {
        Notice::Fetching(name, fetched) => fetching.fetching(name, fetched.done, fetched.total),
        Notice::Writing(progress) => writing.show(progress),
        Notice::Staged(written) => {
            writing.end(Ok(written));
            if !writing.is_json() {
                output::say(format_args!("{} is staged in slot {}", written.version, written.slot));
            }
        }
        Notice::Applied(version) if !writing.is_json() => {
            output::say(format_args!("{version} boots next, on trial"))
        }
        Notice::Applied(_) => {}
    });
    if let Err(e) = &result {
        writing.end(Err(e));
    }
    let result = result?;
    if args.json {
        show_answer(&config, &result)?;
    } else if !writing.is_json() && mode != Mode::Scheduled {
        output::say(sentence(mode, &result));
    }
    // For scripts: 0 only if there is something to install.
    if mode == Mode::Check && result.candidate.is_none() {
        return Err(Error::Nothing("no update to install".into()));
    }
    Ok(())
}

/// The answer to `--check`.
#[derive(Serialize)]
struct CheckDocument<'a> {
    schema: u32,
    state: &'static str,
    version: Option<&'a str>,
    digest: Option<&'a str>,
    size: Option<u64>,
    fetch: Option<u64>,
    patch_from: Option<&'a str>,
    towards: Option<&'a str>,
    downgrade: bool,
    source: String,
    reason: String,
    until: Option<String>,
}

fn show_answer(config: &Config, result: &RunResult) -> Result<()> {
    let candidate = result.candidate.as_ref();
    let wait = match &result.end {
        End::Wait(wait) => Some(wait),
        End::Off | End::Unprivileged | End::Reboot => None,
    };
    let until = wait.and_then(|wait| wait.until).filter(|_| candidate.is_none());
    let waiting = wait.and_then(|wait| wait.release.as_ref());
    let document = CheckDocument {
        schema: 1,
        state: match (candidate, wait.map(|wait| wait.subject)) {
            (Some(_), _) => "available",
            (None, Some(Subject::UpToDate)) => "up-to-date",
            (None, Some(Subject::NoImage)) => "no-image",
            (None, Some(Subject::Held | Subject::Undecided | Subject::Other) | None) => "waiting",
        },
        version: candidate
            .map_or(waiting.map(|it| it.version.as_str()), |it| Some(it.release.version.as_str())),
        digest: candidate
            .map_or(waiting.and_then(|it| it.digest.as_deref()), |it| Some(it.release.digest.as_str())),
        size: result.cost.size,
        fetch: result.cost.fetch,
        patch_from: result.cost.patch_from.as_deref(),
        towards: candidate.and_then(|candidate| candidate.towards.as_deref()),
        downgrade: candidate.is_some_and(|candidate| candidate.downgrade),
        source: config.update.source().map(shown).unwrap_or_default(),
        reason: sentence(Mode::Check, result),
        until: until.map(|until| until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    };
    let json = serde_json::to_string(&document).or_failed(|| "cannot encode the answer")?;
    output::show(format_args!("{json}\n"))
}

/// How the run ended, in one sentence.
fn sentence(mode: Mode, result: &RunResult) -> String {
    let candidate = result.candidate.as_ref();
    let version = candidate.map(|candidate| candidate.release.version.as_str()).unwrap_or_default();
    match (&result.end, candidate) {
        (End::Wait(_), Some(candidate)) if mode == Mode::Check => {
            let what = if candidate.downgrade { "older than the running version" } else { "available" };
            let first = candidate.towards.as_ref().map(|towards| format!("; {towards} requires it first"));
            format!("{version} is {what}{}{}", first.unwrap_or_default(), to_fetch(&result.cost))
        }
        (End::Wait(wait), Some(_)) => format!("{version}: {}", wait.why),
        (End::Wait(wait), None) => wait.why.clone(),
        (End::Reboot, _) => format!("Rebooting into {version}"),
        (End::Off | End::Unprivileged, _) => "Nothing to do".into(),
    }
}

/// What is to be fetched, where that is known.
fn to_fetch(cost: &Cost) -> String {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    match (cost.fetch, cost.size, &cost.patch_from) {
        (Some(fetch), Some(size), Some(from)) => {
            format!("; {} to fetch (patch from {from}), full size {}", mib(fetch), mib(size))
        }
        (Some(fetch), ..) => format!("; at most {} to fetch", mib(fetch)),
        (None, ..) => String::new(),
    }
}

fn set_pin(context: &Context, on: bool) -> Result<()> {
    if !on {
        pin(&context.root, None)?;
        output::say("The pin is removed");
        return Ok(());
    }
    let running = Machine::read_boot(&context.root, Access::Read)?;
    let version = running.booted_entry().and_then(|entry| entry.version.clone());
    let version =
        version.ok_or_else(|| Error::Failed("the running version is unknown; see `abide list`".into()))?;
    pin(&context.root, Some(&version))?;
    output::say(format_args!("Pinned to {version}, until `abide update --unpin`"));
    Ok(())
}
