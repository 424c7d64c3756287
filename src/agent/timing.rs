//! When to poll, to download and to reboot. Pure.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::agent::clock::Clock;
use crate::agent::goal::Wait;
use crate::agent::source::Demands;
use crate::config::Update as Rules;
use crate::feed::jitter;
use crate::feed::jitter::seed;
use crate::feed::maintenance_window::{Begin, begin};
use crate::feed::memory::{FetchState, InstallState};

/// After a failure the next poll comes after this time, then after twice as long, up to the interval.
const FIRST_RETRY: Duration = Duration::from_secs(2 * 60);

/// The shortest interval that a server can ask for.
const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// How often inhibitors are checked again.
const INHIBITOR_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// The time of the next scheduled poll: at this machine's own offset in the interval, counted from the last poll or
/// from the boot, so that machines that boot together do not poll together.
pub fn poll_at(clock: &Clock, rules: &Rules, demands: &Demands, state: &FetchState) -> Timestamp {
    let (interval, jitter) = match (state.failures, demands.interval) {
        (0, None) => (rules.interval, rules.jitter),
        (0, Some(wanted)) => {
            let interval = wanted.clamp(MIN_INTERVAL, rules.interval);
            (interval, rules.jitter.min(interval / 10))
        }
        (n, _) => {
            let retry = retry_delay(n).min(rules.interval);
            (retry, retry)
        }
    };
    let tried = state.tried.and_then(|tried| past(tried, clock.now));
    let last = tried.max(clock.booted).unwrap_or(Timestamp::UNIX_EPOCH);
    jitter::next_poll(seed(&[&clock.machine_id, "poll"]), last, interval, jitter)
}

/// When the download of the release with this digest starts: at a random time before the window opens, or after a
/// failure when the delay is over; `needs`: how long an update takes of a window.
pub fn download_at(
    clock: &Clock,
    rules: &Rules,
    demands: &Demands,
    state: &FetchState,
    digest: &str,
    needs: Duration,
) -> Timestamp {
    let now = clock.now;
    if let Some(retry_at) = state.attempts.retry_at(digest, &clock.machine_id, now) {
        return retry_at;
    }
    if demands.download_now {
        return now;
    }
    let found = match state.wanted.as_ref().filter(|wanted| wanted.digest == digest) {
        Some(wanted) => past(wanted.found, now).unwrap_or(Timestamp::UNIX_EPOCH),
        None => now,
    };
    let opens = match begin(&rules.windows, now, needs) {
        Begin::At(opens) => Some(opens),
        // A window is open: the release is wanted at once.
        Begin::Now(Some(_)) => Some(found),
        Begin::Now(None) | Begin::Never => None,
    };
    jitter::download_at(seed(&[&clock.machine_id, digest]), found, opens, rules.download_spread)
}

/// The wait after the failure number `times` in a row.
fn retry_delay(times: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << times.min(16).saturating_sub(1))
}

/// Why no window allows the reboot now; `needs`: how long an update takes of a window.
pub fn window_hold(rules: &Rules, now: Timestamp, needs: Duration) -> Option<Wait> {
    match begin(&rules.windows, now, needs) {
        Begin::Now(_) => None,
        Begin::At(opens) => {
            let when = opens.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC");
            Some(Wait::defer(format!("Waiting for the window that opens at {when}"), Some(opens)))
        }
        Begin::Never => Some(Wait::defer("No future maintenance window is long enough", None)),
    }
}

/// Why the inhibitors `held` delay the reboot now; `ready`: since when the update could be applied.
pub fn inhibitor_hold(
    rules: &Rules,
    now: Timestamp,
    held: &[String],
    ready: Option<Timestamp>,
) -> Option<Wait> {
    if held.is_empty() {
        return None;
    }
    let limit = ready.and_then(|ready| ready.checked_add(rules.inhibit.longest).ok());
    if limit.is_some_and(|limit| limit <= now) {
        return None;
    }
    let again = now.checked_add(INHIBITOR_INTERVAL).unwrap_or(now);
    let again = limit.map_or(again, |limit| again.min(limit));
    Some(Wait::defer(format!("Waiting: {}", held.join("; ")), Some(again)))
}

/// Since when the release with this digest could be applied.
pub fn ready_since(state: &InstallState, digest: &str, now: Timestamp) -> Option<Timestamp> {
    state.ready.filter(|_| state.digest == digest).and_then(|ready| past(ready, now))
}

/// A remembered time. One in the future was taken from a wrong clock, and does not count.
fn past(second: i64, now: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(second).ok().filter(|time| *time <= now)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::update::Inhibit;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn clock(now: i64) -> Clock {
        Clock { now: at(now), booted: None, machine_id: "m".into() }
    }

    fn poll_after(failures: u32, interval: Option<Duration>) -> i64 {
        let state = FetchState { tried: Some(1_000_000), failures, ..FetchState::default() };
        let rules = Rules { interval: 24 * HOUR, jitter: Duration::ZERO, ..Rules::default() };
        let demands = Demands { interval, ..Demands::default() };
        poll_at(&clock(1_000_000), &rules, &demands, &state).as_second() - 1_000_000
    }

    #[test]
    fn failures_double_the_time_to_the_next_poll_up_to_the_interval() {
        let within = |failures, most: u64| {
            (1..=i64::try_from(2 * most).unwrap()).contains(&poll_after(failures, None))
        };
        assert!(within(1, 120) && within(2, 240) && within(3, 480));
        assert!(poll_after(30, None) <= 2 * 86_400);
    }

    #[test]
    fn a_server_can_ask_for_earlier_polls_but_not_for_later_ones() {
        assert!(poll_after(0, Some(Duration::from_secs(60))) <= 120);
        assert!(poll_after(0, Some(Duration::ZERO)) <= 20);
        assert_eq!(poll_after(0, Some(1000 * HOUR)), poll_after(0, None));
    }

    #[test]
    fn a_download_that_failed_waits_even_where_the_source_wants_it_at_once() {
        let demands = Demands { download_now: true, ..Demands::default() };
        let rules = Rules { download_spread: Duration::ZERO, ..Rules::default() };
        let mut state = FetchState::default();
        let start = |state: &FetchState, digest| {
            download_at(&clock(10_000), &rules, &demands, state, digest, Duration::ZERO).as_second()
        };
        assert_eq!(start(&state, "d"), 10_000);
        state.attempts.set_release("d");
        state.attempts.set_failed(&abide_core::error::Error::Image("404".into()).into(), at(10_000), false);
        state.set_polled(true);
        assert!((10_120..=10_150).contains(&start(&state, "d")));
        assert_eq!(start(&state, "other"), 10_000);
    }

    #[test]
    fn a_remembered_time_in_the_future_does_not_count() {
        let state = InstallState { digest: "d".into(), ready: Some(1000), ..InstallState::default() };
        assert_eq!(ready_since(&state, "d", at(1000)), Some(at(1000)));
        assert_eq!(ready_since(&state, "d", at(999)), None);
        assert_eq!(ready_since(&state, "other", at(1000)), None);
    }

    #[test]
    fn inhibitors_delay_the_reboot_for_a_limited_time() {
        let rules = Rules { inhibit: Inhibit { longest: HOUR, ..Inhibit::default() }, ..Rules::default() };
        let hold = |ready| inhibitor_hold(&rules, at(10_000), &["a backup".to_owned()], ready);
        assert_eq!(hold(None).unwrap().until, Some(at(10_300)));
        assert_eq!(hold(Some(at(6500))).unwrap().until, Some(at(10_100)));
        assert_eq!(hold(Some(at(6400))), None);
        assert_eq!(inhibitor_hold(&rules, at(10_000), &[], None), None);
    }
}
