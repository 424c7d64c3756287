//! A release that reaches a fleet in stages, as its publisher says. Pure.
//!
//! Times count from a moment in the metadata, not from when a machine first saw the release: all machines agree on the
//! stage, none stores anything, and one that was off for a week does not start to wait then.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::config::forms::open_tables;
use crate::feed::jitter;
use abide_core::config::form::{Count, Flag, Span, Text};
use abide_core::config::section::Section;
use abide_core::error::Result;

/// The most stages of a rollout.
const MAX_STAGES: usize = 16;

/// The rollout of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// When the release was published.
    pub published: Timestamp,
    /// Its stages, in their order; none: all machines at once.
    pub stages: Vec<Stage>,
    /// Whether no further machine takes it.
    pub halted: bool,
}

/// A stage of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// When it begins, counted from the publication.
    pub after: Duration,
    /// The share of the machines that the release is for from then on.
    pub percent: u32,
}

/// What the turn of a machine in a rollout depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turn {
    /// The machine's id. Without one, a machine is among the last.
    pub machine: String,
    /// When the list was read that the decision is made from; none: right now. A stage that began later does not count
    /// yet: the publisher may have halted the rollout meanwhile.
    pub listed: Option<Timestamp>,
    /// Whether an operator wants the release before its turn.
    pub early: bool,
}

/// Why a machine does not take a release yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The publisher has halted the rollout.
    Halted,
    /// Its turn comes.
    Stage {
        /// The number of the stage, from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// When it begins.
        from: Timestamp,
    },
    /// No stage is for this machine; the last one is for so many percent.
    Beyond(u32),
}

impl Rollout {
    /// Reads the keys of a release.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Usage`] with the line of what cannot be used.
    pub fn read(release: &mut Section<'_>) -> Result<Option<Self>> {
        let published = release.read::<Text>("published")?;
        let published = published.map(|text| {
            parse_time(&text).ok_or_else(|| {
                release.error_at("published", "is not a time: YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ")
            })
        });
        let published = published.transpose()?;
        let halted = release.read::<Flag>("halted")?.unwrap_or(false);
        let stages = match release.get("rollout") {
            Some(node) => {
                let stages = open_tables(release, "rollout", node, |stage| {
                    let after = stage.need::<Span<0>>("after", "\"24h\"")?;
                    Ok(Stage { after, percent: stage.need::<Count<0, 100>>("percent", "5")? })
                })?;
                problem(&stages).map_or(Ok(()), |why| Err(release.error_at("rollout", why)))?;
                stages
            }
            None => vec![],
        };
        match published {
            Some(published) if halted || !stages.is_empty() => Ok(Some(Self { published, stages, halted })),
            None if !stages.is_empty() => Err(release.error_at(
                "rollout",
                "needs published = \"YYYY-MM-DDTHH:MM:SSZ\", from when its times count",
            )),
            None if halted => Ok(Some(Self { published: Timestamp::MIN, stages, halted })),
            _ => Ok(None),
        }
    }

    /// Why a machine does not take the release yet.
    #[must_use]
    pub fn held(&self, image: &str, version: &str, turn: &Turn, now: Timestamp) -> Option<Held> {
        if turn.early {
            return None;
        }
        if self.halted {
            return Some(Held::Halted);
        }
        let last = self.stages.last()?;
        let place = place(image, version, turn);
        let now = turn.listed.map_or(now, |listed| listed.min(now));
        let Some(number) = self.stages.iter().position(|stage| place < stage.percent) else {
            return Some(Held::Beyond(last.percent));
        };
        let after = self.stages.get(number).map_or(Duration::ZERO, |stage| stage.after);
        let from = self.published.checked_add(after).unwrap_or(Timestamp::MAX);
        (from > now).then_some(Held::Stage { number: number + 1, of: self.stages.len(), from })
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Halted => f.write_str("its publisher has halted the rollout"),
            Self::Stage { number, of, from } => {
                let from = from.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC");
                write!(f, "this machine's turn is stage {number} of {of}, after {from}")
            }
            Self::Beyond(percent) => {
                write!(f, "its rollout ends at {percent} % of the machines, and this one is not among them")
            }
        }
    }
}

/// The place of a machine in a rollout, from 0 to 99: another one for each version, so that the first machines are not
/// always the same.
fn place(image: &str, version: &str, turn: &Turn) -> u32 {
    if turn.machine.is_empty() {
        return 99;
    }
    let seed = jitter::seed(&["rollout", &turn.machine, image, version]);
    u32::try_from((u128::from(seed) * 100) >> 64).unwrap_or(99)
}

/// What is wrong with a list of stages.
fn problem(stages: &[Stage]) -> Option<&'static str> {
    let is_wrong = |wrong: fn(&Stage, &Stage) -> bool| {
        stages.iter().zip(stages.iter().skip(1)).any(|(one, next)| wrong(one, next))
    };
    if stages.is_empty() {
        return Some("needs a stage: {after = \"0h\", percent = 100}");
    }
    if stages.len() > MAX_STAGES {
        return Some("has more than 16 stages");
    }
    if is_wrong(|one, next| next.after <= one.after) {
        return Some("has a stage that does not begin after the one before");
    }
    is_wrong(|one, next| next.percent < one.percent)
        .then_some("has a stage for fewer machines than the one before")
}

/// A moment, or the beginning of a day in UTC.
fn parse_time(text: &str) -> Option<Timestamp> {
    let day = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
    if text.contains('T') { text.parse().ok() } else { day() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use abide_core::config::tree::Tree;

    const HOUR: Duration = Duration::from_secs(3600);

    fn read(text: &str) -> Result<Option<Rollout>> {
        let tree = Tree::parse("feed.toml", text)?;
        Rollout::read(&mut Section::top(&tree))
    }

    fn at(hour: i64) -> Timestamp {
        "2026-11-30T12:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_hours(hour)
    }

    fn turn(machine: &str) -> Turn {
        Turn { machine: machine.into(), ..Turn::default() }
    }

    fn rollout(stages: &[(u32, u32)]) -> Rollout {
        let stages = stages.iter().map(|(hours, percent)| Stage { after: *hours * HOUR, percent: *percent });
        Rollout { published: at(0), stages: stages.collect(), halted: false }
    }

    #[test]
    fn the_keys_of_a_release_are_read() {
        let text = "published = '2026-11-30T12:00:00Z'\n\
                    rollout = [{after = '0h', percent = 5}, {after = '24h', percent = 100}]";
        assert_eq!(read(text).unwrap(), Some(rollout(&[(0, 5), (24, 100)])));
        let day = read("published = '2026-11-30'\nhalted = true").unwrap().unwrap();
        assert_eq!((day.published, day.halted), (at(-12), true));
        assert!(read("halted = true").unwrap().unwrap().halted);
        for none in ["", "published = '2026-11-30'", "halted = false"] {
            assert_eq!(read(none).unwrap(), None, "{none}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_line() {
        let many: Vec<String> = (0..17).map(|n| format!("{{after = '{n}h', percent = 5}}")).collect();
        let stages = |stages: &str| format!("published = '2026-11-30'\nrollout = [{stages}]");
        for (text, problem) in [
            (stages(""), "rollout: needs a stage"),
            (stages("{after = '0h', percent = 101}"), "feed.toml:2: percent: must be a number from 0 to 100"),
            (stages("{after = '0h', percent = -1}"), "percent: must be a number from 0 to 100"),
            (stages("{after = '0h', percent = 0.5}"), "percent: must be a whole number"),
            (stages("{after = 'soon', percent = 5}"), "feed.toml:2: after: "),
            (stages("{percent = 5}"), "needs after = "),
            (stages("{after = '0h'}"), "needs percent = 5"),
            (stages("5"), "must be a table"),
            (stages("{after = '1h', percent = 5}, {after = '1h', percent = 9}"), "does not begin after"),
            (stages("{after = '0h', percent = 9}, {after = '1h', percent = 5}"), "for fewer machines"),
            (stages(&many.join(", ")), "more than 16 stages"),
            ("rollout = [{after = '0h', percent = 5}]".into(), "rollout: needs published = "),
            ("published = 'today'".into(), "published: is not a time"),
            ("halted = 1".into(), "halted: "),
            ("rollout = 5".into(), "rollout: must be written as"),
        ] {
            let e = read(&text).unwrap_err().to_string();
            assert!(e.contains(problem), "{text}: {e}");
        }
    }

    #[test]
    fn the_machines_of_a_stage_are_about_as_many_as_it_says() {
        let rollout = rollout(&[(0, 5), (24, 50), (48, 100)]);
        let takes = |version: &str, hour: i64| -> Vec<bool> {
            (0..10_000)
                .map(|n| rollout.held("edge", version, &turn(&n.to_string()), at(hour)).is_none())
                .collect()
        };
        let count = |taken: &[bool]| taken.iter().filter(|taken| **taken).count();
        let first = takes("2.0", 0);
        assert!((430..570).contains(&count(&first)), "{}", count(&first));
        let half = takes("2.0", 24);
        assert!((4850..5150).contains(&count(&half)), "{}", count(&half));
        assert_eq!((count(&takes("2.0", 48)), count(&takes("2.0", -1))), (10_000, 0));
        // No machine drops out, and the first of one version are not those of the next.
        assert!(first.iter().zip(&half).all(|(first, half)| !first || *half));
        let both = first.iter().zip(takes("2.1", 0)).filter(|(one, other)| **one && *other).count();
        assert!(both < 60, "{both}");
    }

    #[test]
    fn a_machine_knows_its_turn() {
        let rollout = rollout(&[(0, 0), (24, 100)]);
        let held = |turn: &Turn, hour| rollout.held("edge", "2.0", turn, at(hour));
        let says = held(&turn("m"), 0).unwrap().to_string();
        assert_eq!(says, "this machine's turn is stage 2 of 2, after 2026-12-01 12:00 UTC");
        assert_eq!((held(&turn("m"), 24), held(&turn(""), 24)), (None, None));
        assert_eq!(held(&Turn { early: true, ..turn("m") }, 0), None);
        // The list is older than the stage.
        let late = Turn { listed: Some(at(23)), ..turn("m") };
        assert_eq!(held(&late, 90), held(&turn("m"), 0));
        let wrong_clock = Turn { listed: Some(at(99)), ..turn("m") };
        assert_eq!(held(&wrong_clock, 0), held(&turn("m"), 0));
    }

    #[test]
    fn a_halted_rollout_and_one_that_ends_early_reach_no_more_machines() {
        let halted = Rollout { halted: true, ..rollout(&[(0, 100)]) };
        assert_eq!(halted.held("edge", "2.0", &turn("m"), at(99)), Some(Held::Halted));
        let none = rollout(&[(0, 0)]);
        assert_eq!(none.held("edge", "2.0", &turn("m"), at(99)), Some(Held::Beyond(0)));
        // Without an id a machine is among the last.
        assert_eq!(rollout(&[(0, 99)]).held("edge", "2.0", &turn(""), at(99)), Some(Held::Beyond(99)));
    }

    proptest! {
        #[test]
        fn a_machine_that_has_its_turn_keeps_it(
            machine in "[a-f0-9]{0,8}", mut stages in proptest::collection::vec((0..99_u32, 0..=100_u32), 1..6), hour in 0..99_i64
        ) {
            stages.sort_unstable();
            stages.dedup_by_key(|(hours, _)| *hours);
            let mut percents: Vec<u32> = stages.iter().map(|(_, percent)| *percent).collect();
            percents.sort_unstable();
            let stages: Vec<(u32, u32)> = stages.iter().map(|(hours, _)| *hours).zip(percents).collect();
            let rollout = rollout(&stages);
            prop_assert_eq!(problem(&rollout.stages), None);
            let held = |hour| rollout.held("edge", "2.0", &turn(&machine), at(hour));
            if held(hour).is_none() {
                prop_assert_eq!(held(hour + 1), None);
            }
            if let Some(Held::Stage { from, .. }) = held(hour) {
                prop_assert!(from > at(hour));
                prop_assert_eq!(rollout.held("edge", "2.0", &turn(&machine), from), None);
            }
        }
    }
}
