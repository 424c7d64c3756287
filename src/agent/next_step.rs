//! What is to be done next, on the way from a feed to a reboot.
//!
//! Every step can be cut off and repeated: what has been done shows in the facts, and the next run goes
//! on from there. Who runs may not be able to do every step (what talks to the network cannot write a
//! slot); it then leaves the rest to the other.

use jiff::Timestamp;

/// How far to go, and what not to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By itself: everything at its time.
    Follow,
    /// Somebody has asked for it: looked and fetched at once, the reboot at its time.
    Update,
    /// Everything at once: windows and whatever else holds off the reboot are passed over.
    Now,
    /// Up to the slot, nothing is made to boot.
    Download,
    /// Only look.
    Check,
}

/// How far the wanted release has come on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Come {
    /// Not here, or not all of it.
    Away,
    /// In the cache, or in a folder of this machine.
    Fetched,
    /// Written into the other slot and verified.
    Staged,
    /// Boots next, on trial.
    Applied,
}

/// What the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A release is to be candidate.
    Release(Come),
    /// None is, now.
    Nothing(Wait),
}

/// Why nothing is done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// In one sentence for people.
    pub why: String,
    /// When that is over, where it is known.
    pub until: Option<Timestamp>,
    /// Whether an update waits for this.
    pub defers: bool,
}

impl Wait {
    /// Nothing is to be done.
    #[must_use]
    pub fn rest(why: impl Into<String>) -> Self {
        Self { why: why.into(), until: None, defers: false }
    }

    /// An update waits.
    #[must_use]
    pub fn defer(why: impl Into<String>, until: Option<Timestamp>) -> Self {
        Self { why: why.into(), until, defers: true }
    }
}

/// A turn among other machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nobody has to be asked, or it is this machine's turn.
    Ours,
    /// It has to be asked for.
    Ask,
}

/// What the next step follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The clock.
    pub now: Timestamp,
    /// What was asked for.
    pub order: Order,
    /// When the feed is looked at next; none for whoever cannot.
    pub next_poll: Option<Timestamp>,
    /// What the policy says of what was seen last.
    pub wanted: Wanted,
    /// When the download begins.
    pub begins: Timestamp,
    /// Why the machine may not be rebooted now: no window is open, something holds it off.
    pub shut: Option<Wait>,
    /// Whether other machines come first.
    pub turn: Turn,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Look at the feed.
    Poll,
    /// Fetch the release.
    Fetch,
    /// Write it into the other slot.
    Write,
    /// Ask whether it is this machine's turn.
    AskForTurn,
    /// Make it boot next, on trial.
    Apply,
    /// Reboot into it.
    Reboot,
    /// Nothing, for now.
    Wait(Wait),
}

/// The next step.
#[must_use]
pub fn next(facts: &Facts) -> Step {
    if facts.next_poll.is_some_and(|at| at <= facts.now) {
        return Step::Poll;
    }
    let come = match &facts.wanted {
        Wanted::Nothing(wait) => return Step::Wait(wait.clone()),
        Wanted::Release(come) => *come,
    };
    if facts.order == Order::Check {
        return Step::Wait(Wait::rest("Available"));
    }
    match come {
        Come::Away if facts.order == Order::Follow && facts.now < facts.begins => {
            Step::Wait(Wait::defer("Waiting for its time to download", Some(facts.begins)))
        }
        Come::Away => Step::Fetch,
        Come::Fetched => Step::Write,
        Come::Staged | Come::Applied if facts.order == Order::Download => {
            Step::Wait(Wait::rest("Downloaded and verified"))
        }
        Come::Staged => when_free(facts, Step::Apply),
        Come::Applied => when_free(facts, Step::Reboot),
    }
}

fn when_free(facts: &Facts, step: Step) -> Step {
    match (&facts.shut, facts.turn) {
        (Some(wait), _) if facts.order != Order::Now => Step::Wait(wait.clone()),
        (_, Turn::Ask) => Step::AskForTurn,
        (_, Turn::Ours) => step,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn facts(come: Come) -> Facts {
        Facts {
            now: at(100),
            order: Order::Follow,
            next_poll: Some(at(200)),
            wanted: Wanted::Release(come),
            begins: at(100),
            shut: None,
            turn: Turn::Ours,
        }
    }

    #[test]
    fn a_release_goes_all_the_way_step_by_step() {
        let steps = [Come::Away, Come::Fetched, Come::Staged, Come::Applied].map(|come| next(&facts(come)));
        assert_eq!(steps, [Step::Fetch, Step::Write, Step::Apply, Step::Reboot]);
    }

    #[test]
    fn the_feed_is_looked_at_when_it_is_time_and_never_by_who_cannot() {
        let due = Facts { next_poll: Some(at(100)), ..facts(Come::Staged) };
        assert_eq!(next(&due), Step::Poll);
        assert_eq!(next(&Facts { next_poll: None, ..due }), Step::Apply);
    }

    #[test]
    fn what_holds_off_the_reboot_holds_off_neither_the_download_nor_the_slot() {
        let wait = Wait::defer("no window", Some(at(500)));
        let shut = |come| Facts { shut: Some(wait.clone()), turn: Turn::Ask, ..facts(come) };
        assert_eq!(next(&shut(Come::Away)), Step::Fetch);
        assert_eq!(next(&shut(Come::Fetched)), Step::Write);
        assert_eq!(next(&shut(Come::Staged)), Step::Wait(wait.clone()));
        assert_eq!(next(&shut(Come::Applied)), Step::Wait(wait.clone()));
        // Nobody's turn is candidate up before the reboot could follow.
        assert_eq!(next(&Facts { shut: None, ..shut(Come::Staged) }), Step::AskForTurn);
        assert_eq!(next(&Facts { order: Order::Now, ..shut(Come::Staged) }), Step::AskForTurn);
        assert_eq!(next(&Facts { order: Order::Now, turn: Turn::Ours, ..shut(Come::Applied) }), Step::Reboot);
    }

    #[test]
    fn a_download_waits_for_its_time_unless_somebody_waits_for_it() {
        let early = Facts { begins: at(150), ..facts(Come::Away) };
        assert!(matches!(next(&early), Step::Wait(wait) if wait.until == Some(at(150))));
        assert_eq!(next(&Facts { order: Order::Update, ..early }), Step::Fetch);
    }

    #[test]
    fn an_order_to_download_ends_at_the_slot_and_one_to_check_before_anything() {
        let order = |order, come| next(&Facts { order, ..facts(come) });
        assert_eq!(order(Order::Download, Come::Fetched), Step::Write);
        assert!(matches!(order(Order::Download, Come::Staged), Step::Wait(_)));
        assert!(matches!(order(Order::Check, Come::Away), Step::Wait(_)));
    }
}
