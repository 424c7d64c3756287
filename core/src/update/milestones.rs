//! What has happened between two states, for the history.

use crate::state::history::{Ended, Event, Happened};
use crate::state::{BootEnd, Failure, Phase, Stage, State, TrialBoot, Update};

/// The events that lead from one state to the next, in their order.
#[must_use]
pub(super) fn between(before: &State, after: &State, now: &str) -> Vec<Event> {
    let mut events = vec![];
    match (&before.update, &after.update) {
        (old, Some(new)) => {
            let of_image = |f: &&Failure| (&f.version, &f.digest) == (&new.version, &new.digest);
            let tries = after.failures.iter().rfind(of_image).map_or(0, |failure| failure.attempts);
            of_update(old.as_ref().filter(|old| is_same(old, new)), new, tries, now, &mut events);
        }
        (Some(old), None) if old.stage != Stage::Writing && !is_over(old) => {
            events.push(of_image(old, Happened::Cancelled, now));
        }
        (_, None) => {}
    }
    events.extend(forgotten(before, after, now));
    events
}

fn is_same(old: &Update, new: &Update) -> bool {
    (&old.version, &old.digest, old.slot) == (&new.version, &new.digest, new.slot)
}

fn is_over(update: &Update) -> bool {
    matches!(update.stage, Stage::Committed | Stage::Failed) || update.verdict.is_some()
}

/// `old` is the same image as it was before; none where it is new. `tries` were used up if it has failed.
fn of_update(old: Option<&Update>, new: &Update, tries: u32, now: &str, events: &mut Vec<Event>) {
    let was = old.map(|old| old.stage);
    let mut begins = |stage, happened| {
        if new.stage == stage && was != Some(stage) {
            events.push(of_image(new, happened, now));
        }
    };
    begins(Stage::Staged, Happened::Staged);
    begins(Stage::Applied, Happened::Applied);
    let of_old = old.map(|old| old.boots.as_slice()).unwrap_or_default();
    let changed = new.boots.iter().filter(|boot| !of_old.contains(boot));
    events.extend(changed.map(|boot| of_boot(new, boot)));
    if new.stage == Stage::Committed && was != Some(Stage::Committed) {
        events.push(of_image(new, Happened::Committed, now));
    }
    if let Some(verdict) = new.verdict.as_ref().filter(|_| old.is_none_or(|old| old.verdict.is_none())) {
        // Boots of a committed system are not tries.
        if was.is_none_or(|stage| stage != Stage::Committed) {
            events.extend(unreported(new, tries));
        }
        let (phase, reason) = (Some(verdict.phase), verdict.reason.clone());
        events.push(Event { phase, reason, ..of_image(new, Happened::RolledBack, now) });
    }
}

/// The tries that left no report.
fn unreported(update: &Update, tries: u32) -> Vec<Event> {
    let is_silent = |attempt: &u32| update.boots.iter().all(|boot| boot.attempt != *attempt);
    let of_try = |attempt| Event {
        attempt: Some(attempt),
        phase: Some(Phase::Loader),
        ..of_image(update, Happened::Boot, "")
    };
    (1..=tries).filter(is_silent).map(of_try).collect()
}

fn of_boot(update: &Update, boot: &TrialBoot) -> Event {
    let (ended, reason) = match &boot.end {
        None => (None, String::new()),
        Some(BootEnd::Orderly) => (Some(Ended::Orderly), String::new()),
        Some(BootEnd::Failed(verdict)) => (Some(Ended::Failed), verdict.reason.clone()),
    };
    Event {
        attempt: Some(boot.attempt),
        phase: Some(boot.phase),
        ended,
        reason,
        ..of_image(update, Happened::Boot, &boot.time)
    }
}

fn of_image(update: &Update, happened: Happened, time: &str) -> Event {
    Event::new(happened, &update.version, update.digest.as_deref(), time)
}

/// The records that are gone, where none has taken their place: the oldest goes when there are too many, and one that
/// was forgiven goes with the commit.
fn forgotten(before: &State, after: &State, now: &str) -> Vec<Event> {
    if after.failures.len() >= before.failures.len() {
        return vec![];
    }
    let is_kept =
        |f: &Failure| after.failures.iter().any(|k| (&k.version, &k.digest) == (&f.version, &f.digest));
    let gone = before.failures.iter().filter(|f| !f.forgiven && !is_kept(f));
    gone.map(|f| Event::new(Happened::Forgotten, &f.version, f.digest.as_deref(), now)).collect()
}
