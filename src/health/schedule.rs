//! When each check runs. Pure: it takes the time and the ends of runs, and says which runs start.

use std::time::Duration;

use crate::health::check::Check;

/// How many checks run at the same time.
const MAX_PARALLEL: usize = 8;

/// Each kind keeps its own time limit. A run that does not (name resolution cannot be interrupted) is
/// abandoned this much later.
const GRACE: Duration = Duration::from_millis(500);

/// The timing of all checks, in their order.
#[derive(Debug)]
pub(super) struct Schedule {
    checks: Vec<ScheduledCheck>,
}

/// The timing of a check.
#[derive(Debug)]
struct ScheduledCheck {
    required: bool,
    /// Never runs at the same time as another one of which this is true.
    in_order: bool,
    timeout: Duration,
    interval: Duration,
    activity: Activity,
    last_start: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    /// The next run starts then.
    Due(Duration),
    /// A run started then.
    Running(Duration),
    /// A run was abandoned and has not ended yet; the next one starts after its end.
    Abandoned,
}

impl Schedule {
    /// Each check first runs after its `start_delay`.
    pub(super) fn new(checks: &[Check], now: Duration) -> Self {
        let scheduled = |check: &Check| ScheduledCheck {
            required: check.required,
            in_order: check.config.in_order,
            timeout: check.config.timeout,
            interval: check.config.interval,
            activity: Activity::Due(now + check.config.start_delay),
            last_start: None,
        };
        Self { checks: checks.iter().map(scheduled).collect() }
    }

    /// All checks are due.
    pub(super) fn make_all_due(&mut self, now: Duration) {
        for check in &mut self.checks {
            check.activity = Activity::Due(now);
        }
    }

    /// Each required check that was not started since `since` is due.
    pub(super) fn make_last_round_due(&mut self, since: Duration, now: Duration) {
        for check in self.checks.iter_mut().filter(|check| check.required) {
            if let Activity::Due(due) = &mut check.activity
                && check.last_start.is_none_or(|start| start < since)
            {
                *due = now;
            }
        }
    }

    /// The checks that start now; from now on they run.
    pub(super) fn start_due(&mut self, now: Duration) -> Vec<usize> {
        let mut due: Vec<(Duration, usize)> = self
            .checks
            .iter()
            .enumerate()
            .filter_map(|(index, check)| match check.activity {
                Activity::Due(due) if due <= now => Some((due, index)),
                _ => None,
            })
            .collect();
        // The longest overdue starts first.
        due.sort_unstable();
        let mut started = vec![];
        for (_, index) in due {
            if self.is_full() {
                break;
            }
            let is_turn_taken = self.is_turn_taken();
            if let Some(check) = self.checks.get_mut(index).filter(|c| !(c.in_order && is_turn_taken)) {
                check.activity = Activity::Running(now);
                check.last_start = Some(now);
                started.push(index);
            }
        }
        started
    }

    /// When the next check starts or is abandoned.
    pub(super) fn next_instant(&self) -> Duration {
        let (is_full, is_turn_taken) = (self.is_full(), self.is_turn_taken());
        let instants = self.checks.iter().filter_map(|check| match check.activity {
            Activity::Due(due) => (!(is_full || check.in_order && is_turn_taken)).then_some(due),
            Activity::Running(started) => Some(check.end_of_grace(started)),
            Activity::Abandoned => None,
        });
        instants.min().unwrap_or(Duration::MAX)
    }

    /// A run of check `index` has ended. Whether its result counts: that of an abandoned run does not.
    pub(super) fn end(&mut self, index: usize, started: Duration, now: Duration) -> bool {
        let Some(check) = self.checks.get_mut(index) else { return false };
        let was_running = check.activity == Activity::Running(started);
        check.activity = Activity::Due((started + check.interval).max(now));
        was_running
    }

    /// Abandons the runs that exceed their time limit, and returns each with its start.
    pub(super) fn abandon_overdue(&mut self, now: Duration) -> Vec<(usize, Duration)> {
        let mut abandoned = vec![];
        for (index, check) in self.checks.iter_mut().enumerate() {
            if let Activity::Running(started) = check.activity
                && now >= check.end_of_grace(started)
            {
                check.activity = Activity::Abandoned;
                abandoned.push((index, started));
            }
        }
        abandoned
    }

    fn is_full(&self) -> bool {
        self.checks.iter().filter(|check| check.is_running()).count() >= MAX_PARALLEL
    }

    /// Whether one of the checks that run in order is running.
    fn is_turn_taken(&self) -> bool {
        self.checks.iter().any(|check| check.in_order && check.is_running())
    }
}

impl ScheduledCheck {
    fn is_running(&self) -> bool {
        matches!(self.activity, Activity::Running(_))
    }

    fn end_of_grace(&self, started: Duration) -> Duration {
        started + self.timeout + GRACE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Checks with a time limit of 5 s and an interval of 10 s, all due at once.
    fn schedule(in_order: &[bool]) -> Schedule {
        let check = |&in_order: &bool| ScheduledCheck {
            required: true,
            in_order,
            timeout: s(5),
            interval: s(10),
            activity: Activity::Due(s(0)),
            last_start: None,
        };
        Schedule { checks: in_order.iter().map(check).collect() }
    }

    #[test]
    fn no_more_than_eight_checks_run_at_once_and_the_others_follow() {
        let mut schedule = schedule(&[false; 10]);
        assert_eq!(schedule.start_due(s(0)), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(schedule.start_due(s(1)).is_empty());
        assert!(schedule.end(3, s(0), s(1)));
        assert_eq!(schedule.start_due(s(1)), [8]);
    }

    #[test]
    fn checks_in_order_take_turns_beside_the_others() {
        let mut schedule = schedule(&[true, false, true]);
        assert_eq!(schedule.start_due(s(0)), [0, 1]);
        assert!(schedule.end(0, s(0), s(2)));
        assert_eq!(schedule.start_due(s(2)), [2]);
    }

    #[test]
    fn the_next_run_starts_an_interval_after_the_start_of_the_last() {
        let mut schedule = schedule(&[false]);
        schedule.start_due(s(0));
        schedule.end(0, s(0), s(3));
        assert_eq!(schedule.next_instant(), s(10));
        assert!(schedule.start_due(s(9)).is_empty());
        assert_eq!(schedule.start_due(s(10)), [0]);
    }

    #[test]
    fn a_run_that_exceeds_its_limit_is_abandoned_and_its_result_ignored() {
        let mut schedule = schedule(&[false]);
        schedule.start_due(s(0));
        assert_eq!(schedule.next_instant(), s(5) + GRACE);
        assert!(schedule.abandon_overdue(s(5)).is_empty());
        assert_eq!(schedule.abandon_overdue(s(6)), [(0, s(0))]);
        assert!(schedule.start_due(s(30)).is_empty(), "it has not ended");
        assert!(!schedule.end(0, s(0), s(40)));
        assert_eq!(schedule.start_due(s(40)), [0]);
    }

    #[test]
    fn the_last_round_starts_only_what_has_not_run_since() {
        let mut schedule = schedule(&[false, false]);
        schedule.start_due(s(0));
        schedule.end(0, s(0), s(1));
        schedule.end(1, s(0), s(1));
        schedule.make_all_due(s(4));
        assert_eq!(schedule.start_due(s(4)), [0, 1]);
        schedule.end(0, s(4), s(5));
        schedule.end(1, s(4), s(5));
        schedule.make_last_round_due(s(4), s(6));
        assert!(schedule.start_due(s(6)).is_empty());
        schedule.make_last_round_due(s(5), s(6));
        assert_eq!(schedule.start_due(s(6)), [0, 1]);
    }
}
