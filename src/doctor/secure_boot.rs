//! Secure Boot: systems that the firmware would not start.

use crate::boot::secure_boot::{SecureBoot, Verdict};
use crate::doctor::finding::Finding;
use crate::update::WholeMachine;
use crate::update::startable::judge_entry;
use abide_core::boot::Entry;
use abide_core::boot::model::entry::EntryState;
use abide_core::update::Machine;

/// An entry that can be judged.
struct Judged {
    path: String,
    verdict: Verdict,
}

pub(super) fn read(machine: &Machine) -> Vec<Finding> {
    let firmware = match SecureBoot::read(&machine.root) {
        SecureBoot::Off => return vec![],
        SecureBoot::Unknown(why) => return vec![unknown(&why)],
        SecureBoot::On(firmware) => firmware,
    };
    let judge = |entry: &Entry| {
        let verdict = judge_entry(machine, &firmware, entry);
        Judged { path: entry.path(), verdict: verdict.unwrap_or_else(|e| Verdict::Unknown(e.to_string())) }
    };
    let other = machine.running_slot().ok().and_then(|slot| machine.entry_of_slot(slot.other()));
    let other = other.filter(|entry| entry.state() != EntryState::Bad);
    look(machine.running_entry().ok().as_ref().map(judge), other.as_ref().map(judge))
}

/// What the verdicts about the running entry and that of the other slot mean.
fn look(running: Option<Judged>, other: Option<Judged>) -> Vec<Finding> {
    let running = running.and_then(|judged| match judged.verdict {
        Verdict::Starts => None,
        Verdict::Refused(why) => Some(
            Finding::warning(
                "secure-boot-running",
                format!("by its lists of keys the firmware would not start the running {}: {why}", judged.path),
            )
            .because(
                "it did start it: either the lists have changed since, and this system does not start again, or the \
                 firmware follows another rule, and Abide does not refuse images that it would not start",
            )
            .remedy("compare the signature with the lists: sbverify --list, mokutil --db, mokutil --dbx"),
        ),
        Verdict::Unknown(why) => Some(unknown(&format!("{}: {why}", judged.path))),
    });
    if let Some(finding) = running {
        return vec![finding];
    }
    other.into_iter().filter_map(of_other).collect()
}

fn of_other(judged: Judged) -> Option<Finding> {
    match judged.verdict {
        Verdict::Starts => None,
        Verdict::Refused(why) => Some(
            Finding::error(
                "secure-boot",
                format!("Secure Boot is on, and the firmware would not start {}: {why}", judged.path),
            )
            .because("there is no system to fall back to if the running one fails")
            .remedy("write an image into the other slot that is signed with a key of the firmware's list"),
        ),
        Verdict::Unknown(why) => Some(unknown(&format!("{}: {why}", judged.path))),
    }
}

fn unknown(why: &str) -> Finding {
    Finding::warning(
        "secure-boot-unknown",
        format!("it is not known which systems the firmware starts: {why}"),
    )
    .because("Secure Boot is on, and an image that the firmware refuses uses up all its tries")
    .remedy("try each new image on one machine first")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(running: Verdict, other: Verdict) -> Vec<&'static str> {
        let judged = |path: &str, verdict| Some(Judged { path: path.into(), verdict });
        look(judged("a", running), judged("b", other)).iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn the_way_back_is_judged_only_by_a_rule_that_holds_for_the_running_one() {
        let refused = || Verdict::Refused("x".into());
        assert!(ids(Verdict::Starts, Verdict::Starts).is_empty());
        assert_eq!(ids(Verdict::Starts, refused()), ["secure-boot"]);
        assert_eq!(ids(refused(), refused()), ["secure-boot-running"]);
        assert_eq!(ids(Verdict::Unknown("x".into()), refused()), ["secure-boot-unknown"]);
        assert_eq!(ids(Verdict::Starts, Verdict::Unknown("x".into())), ["secure-boot-unknown"]);
    }
}
