//! `abide update`

use crate::agent::next_step::Order;
use crate::agent::{End, Outcome, Powers, Told, hand_over, leave_survey, run as follow};
use crate::feed::memory::pin;
use abide_core::boot::Access;
use abide_core::error::{Error, Result};
use abide_core::update::Machine;

use crate::cli::Context;
use crate::cli::interrupt;
use crate::cli::progress::{Shown, Style};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Look at the feed, and say what would be candidate
    #[arg(long, group = "what")]
    check: bool,
    /// Fetch and write into the other slot, and leave it at that
    #[arg(long, group = "what")]
    download_only: bool,
    /// Wait for no window, and for nothing that holds off the reboot
    #[arg(long, group = "what")]
    now: bool,
    /// Stay on the version that runs, whatever the feed offers
    #[arg(long, group = "what")]
    pin: bool,
    /// Follow the feed again
    #[arg(long, group = "what")]
    unpin: bool,
    /// How to show progress
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Style::Auto)]
    progress: Style,
    /// Leave what only root can find out for the part that fetches; for its unit
    #[arg(long, group = "what", hide = true)]
    survey: bool,
    /// Let the user of a unit have the cache; for that unit
    #[arg(long, group = "what", hide = true)]
    hand_over: bool,
    /// Only what takes the network; for its unit
    #[arg(long, group = "what", hide = true)]
    fetch: bool,
    /// Only what takes none, up to the slot; for its unit
    #[arg(long, group = "what", hide = true)]
    install: bool,
    /// Only what comes after that; for its unit
    #[arg(long, group = "what", hide = true)]
    boot: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
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
    let (order, powers) = match args {
        Args { fetch: true, .. } => (Order::Follow, Powers::FETCH),
        Args { install: true, .. } => (Order::Follow, Powers::WRITE),
        Args { boot: true, .. } => (Order::Follow, Powers::BOOT),
        Args { check: true, .. } => (Order::Check, Powers::ALL),
        Args { download_only: true, .. } => (Order::Download, Powers::ALL),
        Args { now: true, .. } => (Order::Now, Powers::ALL),
        _ => (Order::Update, Powers::ALL),
    };
    if config.update.source().is_none() && order != Order::Follow {
        return Err(Error::Nothing(
            "no feed is configured; name one under [update] in the configuration: feed = \"https://…\""
                .into(),
        ));
    }
    interrupt::watch("interrupted; the running system is untouched, `abide update` goes on from here")?;
    let mut fetching = Shown::new(args.progress);
    let mut writing = Shown::new(args.progress);
    let outcome = follow(&context.root, &config, order, powers, &mut |told| match told {
        Told::Wanted(_) | Told::Rebooting => {}
        Told::Fetching(name, fetched) => fetching.fetching(name, fetched.done, fetched.total),
        Told::Writing(progress) => writing.show(progress),
        Told::Staged(written) => {
            writing.end(Ok(written));
            if !writing.is_json() {
                println!("{} is staged in slot {}", written.version, written.slot);
            }
        }
        Told::Applied(version) if !writing.is_json() => println!("{version} boots next, on trial"),
        Told::Applied(_) => {}
    });
    if let Err(e) = &outcome {
        writing.end(Err(e));
    }
    let outcome = outcome?;
    if !writing.is_json() && order != Order::Follow {
        println!("{}", sentence(order, &outcome));
    }
    Ok(())
}

/// How it ended, for people.
fn sentence(order: Order, outcome: &Outcome) -> String {
    let candidate = outcome.candidate.as_ref();
    let version = candidate.map(|candidate| candidate.release.version.as_str()).unwrap_or_default();
    match (&outcome.end, candidate) {
        (End::Wait(_), Some(candidate)) if order == Order::Check => {
            let what = if candidate.downgrade { "older than what runs" } else { "available" };
            match &candidate.towards {
                Some(towards) => {
                    format!("{version} is {what}; it must be passed through on the way to {towards}")
                }
                None => format!("{version} is {what}"),
            }
        }
        (End::Wait(wait), Some(_)) => format!("{version}: {}", wait.why),
        (End::Wait(wait), None) => wait.why.clone(),
        (End::Reboot, _) => format!("Rebooting into {version}"),
        (End::Off | End::Others, _) => "Nothing to do".into(),
    }
}

fn set_pin(context: &Context, on: bool) -> Result<()> {
    if !on {
        pin(&context.root, None)?;
        println!("The feed is followed again");
        return Ok(());
    }
    let running = Machine::survey_boot(&context.root, Access::Read)?;
    let version = running.booted_entry().and_then(|entry| entry.version.clone());
    let version =
        version.ok_or_else(|| Error::Failed("it cannot be told which version runs (`abide list`)".into()))?;
    pin(&context.root, Some(&version))?;
    println!("Pinned to {version}, until `abide update --unpin`");
    Ok(())
}
