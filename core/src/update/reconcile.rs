//! What follows from what a boot is: what is written down, which names change, and whether it goes on.
//!
//! Runs at the start of every stage. Whatever happened since the state was saved
//! (a power cut, the loader counting, another tool renaming an entry), this
//! says what finishes or undoes it. Running it again on what it left changes nothing.

use crate::boot::Counter;
use crate::state::{BootKind, BootNote, Phase, Stage, State, TrialBoot, Update, Verdict};

use crate::update::finding::case::Case;
use crate::update::finding::{Boot, Contradiction, Finding, Identity, Kind, Witnesses};
use crate::update::outcome::{
    autopsy, committed_state, ended_state, excused_state, failed_state, furthest, is_outage, never_finished,
    tries_used,
};
use crate::update::renames::{count_again, mark_bad, put_back, restore, step_back};
use crate::update::step::Step;

/// A given-up trial that comes back, and a reboot that does not help, end after so many reboots more than
/// the update has tries.
const SPARE_REBOOTS: u32 = 3;

/// What a boot can be told from, and what goes into records.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// What says something about this boot.
    pub witnesses: Witnesses<'a>,
    /// Now, for records.
    pub now: &'a str,
    /// What a kernel that panicked in one of the trial boots left behind, where the firmware kept it.
    pub panic: Option<&'a str>,
}

/// What this boot is, and what must be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// What this boot is.
    pub finding: Finding,
    /// For `/run/abide` and everything that runs later in this boot.
    pub note: BootNote,
    /// What brings the disk in line, in order; empty where nothing is left to do.
    pub steps: Vec<Step>,
    /// The reason not to go on with this boot: once the steps are done, reboot.
    pub refuse: Option<String>,
}

impl Course {
    /// Has the boot go on after all, as one that is unknown.
    pub fn stay_up(&mut self, contradiction: Contradiction) {
        self.refuse = None;
        (self.note.kind, self.note.because) = (BootKind::Unknown, contradiction.to_string());
        self.finding.boot = Boot::Unknown(contradiction);
    }
}

impl Evidence<'_> {
    /// Finds out what this boot is, and what follows.
    #[must_use]
    pub fn reconcile(&self) -> Course {
        let identity = Identity::of(&self.witnesses);
        let case = Case::of(&self.witnesses, &identity);
        let finding = Finding::new(&self.witnesses, identity, &case);
        match case {
            Case::Committed(because) => self.go_on(finding, vec![], because),
            Case::Counted(update, counter) => {
                let because = format!("boot {} of {} since it was last healthy", counter.done, update.tries);
                let mut course = self.go_on(finding, vec![], &because);
                course.note.counted = true;
                course
            }
            Case::Blessed(update, because) => {
                let state = committed_state(self.witnesses.state, update, self.now);
                self.go_on(finding, vec![save(state)], because)
            }
            Case::AfterFailure(update) => {
                self.go_on(finding, self.names_after(update), "the last update failed")
            }
            Case::Trial(update, attempt) => self.trial(finding, update, attempt),
            Case::Uncounted(update) => {
                // First: once the boot is on record, a plain name means that the update was blessed.
                let mut course = self.trial(finding, update, 1);
                course.steps.splice(0..0, count_again(update, self.witnesses.entries));
                course
            }
            Case::GivenUp(update, attempt) => self.given_up(finding, update, attempt),
            Case::TooMany(update, attempt) => self.too_many(finding, update, attempt),
            Case::Fallback(update, counter) => self.fallback(finding, update, counter),
            Case::Crashed(update, counter) => self.crashed(finding, update, counter),
            Case::Unknown(contradiction) => {
                let because = contradiction.to_string();
                self.go_on(finding, vec![], &because)
            }
        }
    }

    fn trial(&self, finding: Finding, update: &Update, attempt: u32) -> Course {
        let mut next = update.clone();
        next.stage = Stage::Testing;
        if !update.boots.iter().any(|b| b.boot_id == self.witnesses.boot_id) {
            next.boots.push(TrialBoot {
                boot_id: self.witnesses.boot_id.to_owned(),
                attempt,
                phase: Phase::Initramfs,
                time: self.now.to_owned(),
                end: None,
            });
        }
        let state = State { update: Some(next), ..self.witnesses.state.clone() };
        let note = self.note_of_try(update, attempt, &format!("try {attempt} of {}", update.tries));
        Course { finding, note, steps: vec![save(state)], refuse: None }
    }

    /// A boot of an image that was already given up: what was begun is finished, and the boot ends.
    fn given_up(&self, finding: Finding, update: &Update, attempt: u32) -> Course {
        let reason = update.verdict.as_ref().map(|verdict| verdict.reason.as_str()).unwrap_or_default();
        let why = format!("the trial of {} {} has already failed: {reason}", update.image_id, update.version);
        self.refuse(finding, self.witnesses.state, update, attempt, &why)
    }

    fn too_many(&self, finding: Finding, update: &Update, attempt: u32) -> Course {
        let verdict = Verdict {
            phase: furthest(update),
            reason: format!("all {} tries are used up and the boot loader does not count them", update.tries),
            checks: vec![],
        };
        let state = failed_state(self.witnesses.state, update, &verdict, attempt - 1, self.now);
        self.refuse(finding, &state, update, attempt, &verdict.reason)
    }

    /// The end of a boot that must not go on, unless ending it has not helped before.
    fn refuse(&self, finding: Finding, state: &State, update: &Update, attempt: u32, why: &str) -> Course {
        let mut state = state.clone();
        let asked = state.update.as_mut().map_or(0, |u| u.reboots.ask(self.witnesses.boot_id));
        let mut steps = vec![save(state)];
        steps.extend(step_back(update, self.witnesses.entries));
        let note = self.note_of_try(update, attempt, why);
        let mut course = Course { finding, note, steps, refuse: Some(why.to_owned()) };
        if asked > update.tries.saturating_add(SPARE_REBOOTS) {
            course.steps.clear();
            let seen = format!("{why}; the same system still boots after {} reboots", asked - 1);
            course.stay_up(Contradiction::new(Kind::NowhereElse, seen));
        }
        course
    }

    fn fallback(&self, finding: Finding, update: &Update, counter: Counter) -> Course {
        let tries = tries_used(update, counter);
        let unfinished = never_finished(update, tries);
        let verdict = match &update.verdict {
            Some(verdict) => verdict.clone(),
            None if unfinished => Verdict {
                phase: furthest(update),
                reason: format!(
                    "all {tries} tries ended in an orderly reboot before the checks were over: \
                     the image has not failed and may be applied again"
                ),
                checks: vec![],
            },
            None => autopsy(update, tries, self.panic),
        };
        let known = self.witnesses.state;
        let is_excused = update.excused || update.verdict.is_none() && is_outage(known, update, &verdict);
        let state = match (unfinished, update.excused) {
            (_, true) | (true, _) => ended_state(known, update, &verdict, self.now),
            _ if is_excused => excused_state(known, update, &verdict, self.now),
            _ => failed_state(known, update, &verdict, tries, self.now),
        };
        // Where a rename was cut off, another name of it may have tries left.
        let marks = mark_bad(update, self.witnesses.entries);
        self.after_failure(finding, state, update, marks, &verdict.reason)
    }

    /// The committed system has used up its tries without once having been found healthy.
    fn crashed(&self, finding: Finding, update: &Update, counter: Counter) -> Course {
        let panic = self.panic.map(|panic| format!("; the kernel panicked: {panic}")).unwrap_or_default();
        let last = match counter.done {
            0 | 1 => "its last boot".to_owned(),
            boots => format!("its last {boots} boots"),
        };
        let verdict = Verdict {
            // Boots of committed systems leave no breadcrumbs.
            phase: Phase::Loader,
            reason: format!("it was committed, but {last} ended before it was healthy{panic}"),
            checks: vec![],
        };
        let state = failed_state(self.witnesses.state, update, &verdict, counter.done, self.now);
        self.after_failure(finding, state, update, vec![], &verdict.reason)
    }

    /// The record first: the renames can be found missing by any later boot.
    fn after_failure(
        &self,
        finding: Finding,
        mut state: State,
        update: &Update,
        marks: Vec<Step>,
        because: &str,
    ) -> Course {
        if let Some(done) = state.update.as_mut() {
            done.stage = Stage::Failed;
            done.counted = false;
        }
        let names = match &state.update {
            Some(ended) => self.names_after(ended),
            None => restore(update, self.witnesses.entries),
        };
        let mut steps = vec![save(state)];
        steps.extend(marks);
        steps.extend(names);
        self.go_on(finding, steps, because)
    }

    /// The names that both systems get back after a trial that has ended. The next boot repeats an interrupted rename.
    fn names_after(&self, update: &Update) -> Vec<Step> {
        let put_back = put_back(update, self.witnesses.state, self.witnesses.entries);
        restore(update, self.witnesses.entries)
            .into_iter()
            .chain(put_back.filter(|_| update.excused))
            .collect()
    }

    fn go_on(&self, finding: Finding, steps: Vec<Step>, because: &str) -> Course {
        let kind = match &finding.boot {
            Boot::Committed => BootKind::Committed,
            Boot::Trial { .. } => BootKind::Trial,
            Boot::Fallback => BootKind::Fallback,
            Boot::Unknown(_) => BootKind::Unknown,
        };
        // A boot that began as a fallback stays one, for what was found then.
        let noted = self.witnesses.note.filter(|n| n.kind == BootKind::Fallback && kind == n.kind);
        let because = noted.map_or(because, |note| note.because.as_str());
        Course { note: self.note(kind, because), finding, steps, refuse: None }
    }

    fn note_of_try(&self, update: &Update, attempt: u32, because: &str) -> BootNote {
        BootNote {
            attempt: Some(attempt),
            attempts: Some(update.tries),
            slot: Some(update.slot),
            version: Some(update.version.clone()),
            ..self.note(BootKind::Trial, because)
        }
    }

    fn note(&self, kind: BootKind, because: &str) -> BootNote {
        BootNote { kind, ..BootNote::committed(self.witnesses.boot_id.to_owned(), because.to_owned()) }
    }
}

fn save(state: State) -> Step {
    Step::Save(Box::new(state))
}
