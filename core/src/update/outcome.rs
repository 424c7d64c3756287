//! How an update came to its end, and what is remembered of it.

use crate::boot::Counter;
use crate::boot::model::version::compare;
use crate::state::{BootEnd, Failure, Installed, Phase, Remedy, Stage, State, Unhealthy, Update, Verdict};
use crate::text::ELLIPSIS;

/// The state once the update is kept.
#[must_use]
pub fn committed_state(state: &State, update: &Update, now: &str) -> State {
    let mut next = state.clone();
    let mut update = update.clone();
    update.stage = Stage::Committed;
    update.ended = Some(now.to_owned());
    next.set_installed(
        update.slot,
        Some(Installed {
            version: update.version.clone(),
            digest: update.digest.clone(),
            entry: update.entry.clone(),
            verified: update.verified.clone(),
            unversioned: update.unversioned,
        }),
    );
    next.floor = highest(next.floor, update.floor.clone());
    next.takeover = None;
    // It was given another chance, and has used it.
    next.failures.retain(|f| !(f.forgiven && f.is_of(Some(&update.version), update.digest.as_deref())));
    next.update = Some(update);
    next
}

/// The higher of two versions.
fn highest(a: Option<String>, b: Option<String>) -> Option<String> {
    [a, b].into_iter().flatten().max_by(|a, b| compare(a, b))
}

/// The state once the update is given up for `verdict`; the stage stays until the old system runs again.
#[must_use]
pub fn failed_state(state: &State, update: &Update, verdict: &Verdict, attempts: u32, now: &str) -> State {
    let mut next = state.clone();
    if update.verdict.is_none() {
        next.remember(Failure {
            version: update.version.clone(),
            digest: update.digest.clone(),
            attempts,
            phase: verdict.phase,
            reason: verdict.reason.clone(),
            checks: verdict.checks.clone(),
            time: now.to_owned(),
            times: 1,
            forgiven: false,
            unversioned: update.unversioned,
            entry: (update.unversioned && update.digest.is_none()).then(|| update.entry.clone()),
        });
    }
    ended_state(&next, update, verdict, now)
}

/// Whether what failed is not the image's fault: a committed system was left because it was not healthy, and every check
/// that fails now had failed there.
#[must_use]
pub(super) fn is_outage(state: &State, update: &Update, verdict: &Verdict) -> bool {
    let left = state.unhealthy.iter().find(|system| {
        let previous = update.previous.as_ref();
        system.tried == Remedy::Leave && previous.is_some_and(|previous| previous.entry == system.entry)
    });
    // Only a system that was kept before: the fault of a new image may be hidden by the outage.
    let is_new = update.uki.is_some();
    let failed = &verdict.checks;
    let had_failed = |left: &Unhealthy, name: &str| {
        // Of very many, not all are recorded.
        name == ELLIPSIS || left.checks.iter().any(|known| known == name || known == ELLIPSIS)
    };
    !is_new
        && !failed.is_empty()
        && left.is_some_and(|left| failed.iter().all(|check| had_failed(left, &check.name)))
}

/// The state once an outage has ended the trial: no failure is recorded.
#[must_use]
pub(super) fn excused_state(state: &State, update: &Update, verdict: &Verdict, now: &str) -> State {
    let verdict = Verdict {
        reason: format!(
            "{}; the same checks had failed on the previous system, so the cause is an outage",
            verdict.reason
        ),
        ..verdict.clone()
    };
    let mut next = ended_state(state, update, &verdict, now);
    if let Some(update) = next.update.as_mut() {
        update.excused = true;
    }
    next
}

/// The state once the update has come to its end for `verdict`, which is not held against its image.
#[must_use]
pub(super) fn ended_state(state: &State, update: &Update, verdict: &Verdict, now: &str) -> State {
    let mut next = state.clone();
    let mut update = update.clone();
    update.verdict = Some(verdict.clone());
    update.ended = Some(now.to_owned());
    next.update = Some(update);
    next
}

/// Tries used up, as the loader counted or, where it could not, as we did.
#[must_use]
pub fn tries_used(update: &Update, counter: Counter) -> u32 {
    counter.done.max(update.boots.last().map_or(0, |b| b.attempt))
}

/// The furthest that any of its boots got.
#[must_use]
pub(super) fn furthest(update: &Update) -> Phase {
    update.boots.iter().map(|b| b.phase).max().unwrap_or(Phase::Loader)
}

/// Whether each try was ended by somebody who rebooted in good order: nothing is known of the image then.
#[must_use]
pub(super) fn never_finished(update: &Update, tries: u32) -> bool {
    let ended = update.boots.iter().filter(|b| b.end == Some(BootEnd::Orderly)).count();
    update.verdict.is_none()
        && ended > 0
        && ended == update.boots.len()
        && u32::try_from(ended).is_ok_and(|n| n >= tries)
}

/// What the breadcrumbs prove when nobody was left to give a verdict. `panic` is what the kernel
/// left behind in one of these boots.
#[must_use]
pub(super) fn autopsy(update: &Update, tries: u32, panic: Option<&str>) -> Verdict {
    let tries = if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") };
    let told = update.boots.iter().rev().find_map(|b| match &b.end {
        Some(BootEnd::Failed(verdict)) => Some(verdict.clone()),
        _ => None,
    });
    if let Some(verdict) = told {
        return Verdict { reason: format!("{} (after {tries})", verdict.reason), ..verdict };
    }
    let phase = furthest(update);
    let what = match phase {
        Phase::Loader => {
            "no report came from its initramfs (the kernel did not start, or the boot ended before the report)"
        }
        Phase::Initramfs => "its initramfs started, but the root was never ready",
        Phase::SwitchRoot => "its root was mounted, but its own user space never started",
        Phase::Userspace => "its user space started, but its checks never ran",
        Phase::Checks => "it ended while its checks ran",
    };
    let orderly = update.boots.iter().filter(|b| b.end == Some(BootEnd::Orderly)).count();
    let orderly =
        if orderly == 0 { String::new() } else { format!("; {orderly} of them ended in an orderly reboot") };
    let panic = match panic {
        Some(panic) => format!("; the kernel panicked: {panic}"),
        // Where its own kernel ran long enough to say so, it would have left a trace.
        None if phase >= Phase::Userspace && orderly.is_empty() => {
            "; no panic was recorded; the power may have failed".to_owned()
        }
        None => String::new(),
    };
    Verdict { phase, reason: format!("{tries} used up: {what}{orderly}{panic}"), checks: vec![] }
}
