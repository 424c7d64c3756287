//! Fitting the state into its room: the bounds of its fields, and the order in which details give way.
//!
//! The *core* of the state says what is in flight and which images failed. Its fields are bounded, so that it
//! can be saved whatever happened. Everything else is *detail*: cut when it is saved, and dropped where the whole
//! does not fit, in the order of [`shed`], the oldest first. Lengths are in bytes of the JSON that is written.

use log::warn;

use crate::state::bounds::{
    MAX_FAILURES, MAX_LISTS, MAX_NAME, MAX_TEXT, MAX_WORD, abridge, cut, cut_output, cut_to, keep_word,
    written,
};
use crate::state::saved_state::{Baseline, BootEnd, FailedCheck, Failure, State, Unhealthy, Update, Verdict};
use crate::text::ELLIPSIS;

/// What is left of a reason where room is short.
const SHORT_TEXT: usize = 120;

/// What is left of it at last.
const SHORTEST_TEXT: usize = 40;

/// The longest id of an entry, and the longest word that names a root: 255 characters, the longest name on FAT,
/// take this many bytes.
const MAX_ENTRY: usize = 768;

/// The longest time, or id of a boot.
const MAX_STAMP: usize = 64;

/// The most failed checks of one record.
const MAX_CHECKS: usize = 8;

/// The most boots of one trial: it has at most 9 tries and the reboots that may follow them.
const MAX_BOOTS: usize = 16;

/// The most systems that were not healthy: one in each slot, and those whose entries were not yet seen to be gone.
const MAX_UNHEALTHY: usize = 4;

/// The most bytes of each list of the baseline.
const MAX_BASELINE: usize = 4096;

/// Cuts every field to its bound. Does nothing to a state that has been cut already.
pub(super) fn cut_state(state: &mut State) {
    let State { update, failures, a, b, baseline, unhealthy, lists, floor, takeover } = state;
    if let Some(update) = update {
        cut_update(update);
    }
    keep_last(failures, MAX_FAILURES);
    failures.iter_mut().for_each(cut_failure);
    for installed in [a, b].into_iter().flatten() {
        keep_word(&mut installed.version);
        abridge(&mut installed.entry, MAX_ENTRY);
        installed.digest.iter_mut().for_each(keep_word);
        installed.verified.iter_mut().for_each(|text| cut_to(text, MAX_NAME));
    }
    floor.iter_mut().for_each(keep_word);
    takeover.iter_mut().for_each(|entry| abridge(entry, MAX_ENTRY));
    keep_last(lists, MAX_LISTS);
    for list in lists {
        abridge(&mut list.name, MAX_NAME);
        list.feed.iter_mut().for_each(|name| abridge(name, MAX_NAME));
    }
    cut_baseline(baseline);
    keep_last(unhealthy, MAX_UNHEALTHY);
    for system in unhealthy {
        abridge(&mut system.entry, MAX_ENTRY);
        cut(&mut system.reason);
        cut_to(&mut system.time, MAX_STAMP);
        let all = system.checks.len();
        keep_names(&mut system.checks, MAX_TEXT);
        if system.checks.len() < all {
            system.checks.push(ELLIPSIS.into());
        }
    }
}

fn cut_update(update: &mut Update) {
    let Update {
        image_id,
        version,
        digest,
        root,
        entry,
        applied_in,
        previous,
        boots,
        verdict,
        ended,
        verified,
        floor,
        root_hash,
        ..
    } = update;
    root_hash.iter_mut().for_each(|hash| abridge(hash, MAX_STAMP));
    verified.iter_mut().for_each(|text| cut_to(text, MAX_NAME));
    floor.iter_mut().for_each(keep_word);
    for word in [image_id, version].into_iter().chain(digest) {
        keep_word(word);
    }
    abridge(root, MAX_ENTRY);
    abridge(entry, MAX_ENTRY);
    abridge(applied_in, MAX_STAMP);
    abridge(&mut update.reboots.boot_id, MAX_STAMP);
    if let Some(uki) = &mut update.uki {
        abridge(&mut uki.sha256, MAX_WORD);
    }
    if let Some(previous) = previous {
        abridge(&mut previous.entry, MAX_ENTRY);
        previous.version.iter_mut().for_each(keep_word);
    }
    keep_last(boots, MAX_BOOTS);
    for boot in boots {
        abridge(&mut boot.boot_id, MAX_STAMP);
        cut_to(&mut boot.time, MAX_STAMP);
        if let Some(BootEnd::Failed(verdict)) = &mut boot.end {
            cut_verdict(verdict);
        }
    }
    verdict.iter_mut().for_each(cut_verdict);
    ended.iter_mut().for_each(|time| cut_to(time, MAX_STAMP));
}

fn cut_verdict(verdict: &mut Verdict) {
    cut(&mut verdict.reason);
    cut_checks(&mut verdict.checks);
}

fn cut_failure(failure: &mut Failure) {
    keep_word(&mut failure.version);
    failure.digest.iter_mut().for_each(keep_word);
    failure.entry.iter_mut().for_each(|entry| cut_to(entry, MAX_ENTRY));
    cut(&mut failure.reason);
    cut_checks(&mut failure.checks);
    cut_to(&mut failure.time, MAX_STAMP);
}

fn cut_checks(checks: &mut Vec<FailedCheck>) {
    if checks.len() > MAX_CHECKS {
        let left_out = checks.len() - (MAX_CHECKS - 1);
        checks.truncate(MAX_CHECKS - 1);
        checks.push(left_out_of_record(left_out));
    }
    for check in checks {
        cut_to(&mut check.name, MAX_WORD);
        cut(&mut check.reason);
        cut_output(&mut check.output);
    }
}

/// Stands in a record for the checks that are not in it.
fn left_out_of_record(count: usize) -> FailedCheck {
    let checks = if count == 1 { "check" } else { "checks" };
    FailedCheck {
        name: ELLIPSIS.into(),
        reason: format!("{count} more {checks} failed; their results are in the journal"),
        output: String::new(),
    }
}

/// A name that was cut would be that of another check or unit: names are left out whole.
fn cut_baseline(baseline: &mut Baseline) {
    for (list, of) in
        [(&mut baseline.passed_checks, "checks that passed"), (&mut baseline.failed_units, "failed units")]
    {
        let all = list.len();
        keep_names(list, MAX_BASELINE);
        if list.len() < all {
            warn!("the baseline is too long: {} of {all} {of} are recorded", list.len());
        }
    }
}

/// Keeps the first names that take at most so many bytes.
fn keep_names(list: &mut Vec<String>, max: usize) {
    let mut left = max;
    list.retain(|name| match left.checked_sub(written(name) + 3) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    });
}

fn keep_last<T>(list: &mut Vec<T>, most: usize) {
    let excess = list.len().saturating_sub(most);
    list.drain(..excess);
}

/// Drops the next detail of a state that has been cut by [`cut_state`] and does not fit. In this order, of each the
/// oldest first:
///
/// 1. outputs of checks, in failure records, then in the trial's boots, then in its verdict;
/// 2. the lists of checks, likewise;
/// 3. all but the first 120 bytes of reasons, likewise, then of unhealthy systems;
/// 4. the baseline: units that had failed, then checks that passed;
/// 5. all but the first 40 bytes of the reasons in records.
///
/// Returns false where no detail is left.
pub(super) fn shed(state: &mut State) -> bool {
    let shed =
        [drop_outputs, drop_checks, shorten_reason].into_iter().any(|drop| drop_from_record(state, drop));
    shed || shorten_unhealthy(state)
        || drop_baseline(&mut state.baseline)
        || drop_from_record(state, shorten_reason_further)
}

/// Drops the oldest failure record but the last one, for what is not ours and does not fit in otherwise.
pub(super) fn drop_record(state: &mut State) -> bool {
    let is_dropped = state.failures.len() > 1;
    if is_dropped {
        warn!("the state is full; the oldest failure record is dropped");
        state.failures.remove(0);
    }
    is_dropped
}

/// A record, in whichever place of the state.
struct Record<'a> {
    reason: &'a mut String,
    checks: &'a mut Vec<FailedCheck>,
}

fn drop_from_record(state: &mut State, drop: fn(Record<'_>) -> bool) -> bool {
    let of_failures =
        state.failures.iter_mut().map(|f| Record { reason: &mut f.reason, checks: &mut f.checks });
    let (boots, verdict) = match &mut state.update {
        Some(update) => (update.boots.as_mut_slice(), update.verdict.as_mut()),
        None => (Default::default(), None),
    };
    let of_boots = boots.iter_mut().filter_map(|boot| match &mut boot.end {
        Some(BootEnd::Failed(verdict)) => Some(verdict),
        _ => None,
    });
    let of_update = of_boots.chain(verdict).map(|v| Record { reason: &mut v.reason, checks: &mut v.checks });
    of_failures.chain(of_update).any(drop)
}

fn drop_outputs(record: Record<'_>) -> bool {
    let is_dropped = record.checks.iter().any(|check| !check.output.is_empty());
    record.checks.iter_mut().for_each(|check| check.output.clear());
    is_dropped
}

fn drop_checks(record: Record<'_>) -> bool {
    let is_dropped = record.checks.iter().any(|check| check.name != ELLIPSIS);
    if is_dropped {
        *record.checks = vec![FailedCheck {
            name: ELLIPSIS.into(),
            reason: "the check results were dropped: the state is full".into(),
            output: String::new(),
        }];
    }
    is_dropped
}

fn shorten_reason(record: Record<'_>) -> bool {
    let is_long =
        written(record.reason) > SHORT_TEXT || record.checks.iter().any(|check| !check.reason.is_empty());
    cut_to(record.reason, SHORT_TEXT);
    // That checks failed still counts.
    record.checks.iter_mut().for_each(|check| check.reason.clear());
    is_long
}

fn shorten_reason_further(record: Record<'_>) -> bool {
    let is_long = written(record.reason) > SHORTEST_TEXT;
    cut_to(record.reason, SHORTEST_TEXT);
    is_long
}

fn shorten_unhealthy(state: &mut State) -> bool {
    let is_long = |u: &&mut Unhealthy| written(&u.reason) > SHORT_TEXT || u.checks.len() > 1;
    state.unhealthy.iter_mut().find(is_long).is_some_and(|system| {
        cut_to(&mut system.reason, SHORT_TEXT);
        if system.checks.len() > 1 {
            system.checks = vec![ELLIPSIS.into()];
        }
        true
    })
}

fn drop_baseline(baseline: &mut Baseline) -> bool {
    let lists =
        [(&mut baseline.failed_units, "failed units"), (&mut baseline.passed_checks, "checks that passed")];
    for (list, of) in lists {
        if !list.is_empty() {
            warn!("the state is full; the baseline's {of} are dropped");
            list.clear();
            return true;
        }
    }
    false
}
