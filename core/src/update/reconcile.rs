//! Where things stand, found out from what is on the disk.
//!
//! Runs at the start of every stage. Whatever happened since the state was saved
//! (a power cut, the loader counting, another tool renaming an entry), this
//! finds the truth and says what finishes or undoes it. Running it again on
//! what it left changes nothing.

use crate::boot::{Counter, Entry};
use crate::disk::RootArg;
use crate::state::{BootKind, BootNote, Phase, Stage, State, TrialBoot, Update, Verdict};

use crate::update::outcome::{
    autopsy, committed_state, ended_state, failed_state, furthest, never_finished, tries_used,
};
use crate::update::renames::{find, mark_bad, restore};
use crate::update::step::Step;

/// What a boot can be told from.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// What is remembered.
    pub state: &'a State,
    /// Every boot entry on the ESP and XBOOTLDR.
    pub entries: &'a [Entry],
    /// The value of `root=` that this kernel was given; the UKI says it, so it
    /// tells which system runs whatever the firmware claims.
    pub root: Option<&'a RootArg>,
    /// Id of the entry that the loader says it selected; a second witness, never the only one.
    pub selected: Option<&'a str>,
    /// The kernel's id of this boot.
    pub boot_id: &'a str,
    /// Now, for records.
    pub now: &'a str,
    /// What a kernel that panicked in one of the trial boots left behind, where the firmware kept it.
    pub panic: Option<&'a str>,
}

/// What this boot is, and what must be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// For `/run/abide` and everything that runs later in this boot.
    pub note: BootNote,
    /// What brings the disk in line, in order; empty where nothing is left to do.
    pub steps: Vec<Step>,
    /// The reason not to go on with this boot: once the steps are done, reboot.
    pub refuse: Option<String>,
}

impl Evidence<'_> {
    /// Finds out what this boot is.
    #[must_use]
    pub fn reconcile(&self) -> Finding {
        let Some(update) = &self.state.update else {
            return self.committed(vec![], "no update in flight");
        };
        match update.stage {
            Stage::Writing | Stage::Staged => self.committed(vec![], "an update is staged, not applied"),
            Stage::Committed if update.is_counted() => self.counted(update),
            Stage::Committed => self.committed(vec![], "the update was committed"),
            Stage::Failed if self.runs(update) => self.found(
                BootKind::Unknown,
                update,
                vec![],
                "this image failed before; it was chosen by hand",
            ),
            Stage::Failed => self.committed(restore(update, self.entries), "the last update failed"),
            Stage::Applied | Stage::Testing if self.runs(update) => self.on_trial_root(update),
            Stage::Applied | Stage::Testing => self.beside_trial(update),
        }
    }

    /// Whether this boot came from the slot that the update was written to.
    #[must_use]
    pub fn runs(&self, update: &Update) -> bool {
        let by_root = self.root.is_some() && self.root == RootArg::parse(&update.root).as_ref();
        let other_selected =
            self.selected.is_some_and(|id| update.previous.as_ref().is_some_and(|p| p.entry == id));
        by_root && !other_selected
    }

    fn on_trial_root(&self, update: &Update) -> Finding {
        match find(self.entries, &update.entry).map(|e| e.name.counter()) {
            None => self.found(BootKind::Unknown, update, vec![], "the entry on trial has disappeared"),
            // Somebody, perhaps we ourselves before a power cut, has blessed it.
            Some(None) => {
                let state = committed_state(self.state, update, self.now);
                self.committed(vec![Step::Save(Box::new(state))], "the entry carries no counter any more")
            }
            Some(Some(counter)) => self.trial(update, counter),
        }
    }

    fn trial(&self, update: &Update, counter: Counter) -> Finding {
        let known = update.boots.iter().position(|b| b.boot_id == self.boot_id);
        let earlier = update.boots.len() - usize::from(known.is_some());
        // Where the firmware cannot rename, the loader never counts; then our own record does.
        let attempt = counter.done.max(u32::try_from(earlier).unwrap_or(u32::MAX).saturating_add(1));
        if let Some(verdict) = &update.verdict {
            let why = format!("{} {} was given up: {}", update.image_id, update.version, verdict.reason);
            return self.refuse(update, attempt, vec![], &why);
        }
        if attempt > update.tries.max(1) {
            let verdict = Verdict {
                phase: furthest(update),
                reason: format!(
                    "all {} tries are used up and the boot loader does not count them",
                    update.tries
                ),
                checks: vec![],
            };
            let state = failed_state(self.state, update, &verdict, attempt - 1, self.now);
            let why = verdict.reason;
            return self.refuse(update, attempt, vec![Step::Save(Box::new(state))], &why);
        }
        let mut next = update.clone();
        next.stage = Stage::Testing;
        if known.is_none() {
            next.boots.push(TrialBoot {
                boot_id: self.boot_id.to_owned(),
                attempt,
                phase: Phase::Initramfs,
                time: self.now.to_owned(),
                end: None,
            });
        }
        let state = State { update: Some(next), ..self.state.clone() };
        let note = self.note(BootKind::Trial, Some(update), &format!("try {attempt} of {}", update.tries));
        Finding {
            note: BootNote { attempt: Some(attempt), attempts: Some(update.tries), ..note },
            steps: vec![Step::Save(Box::new(state))],
            refuse: None,
        }
    }

    /// A boot of an image that was already given up: what was begun is finished, and the boot ends.
    fn refuse(&self, update: &Update, attempt: u32, mut steps: Vec<Step>, why: &str) -> Finding {
        steps.extend(mark_bad(update, self.entries));
        steps.extend(restore(update, self.entries));
        let note = self.note(BootKind::Trial, Some(update), why);
        Finding {
            note: BootNote { attempt: Some(attempt), attempts: Some(update.tries), ..note },
            steps,
            refuse: Some(why.to_owned()),
        }
    }

    /// Not the slot on trial: a fallback, or the trial is still to come.
    fn beside_trial(&self, update: &Update) -> Finding {
        match find(self.entries, &update.entry).map(|e| e.name.counter()) {
            // `apply` was cut off, or somebody has removed or damaged the entry.
            None => self.committed(
                vec![],
                match self.had_a_chance(update) {
                    true => "the boot entry on trial is not there or cannot be read; write the update again",
                    false => "the update was not yet made bootable",
                },
            ),
            Some(None) => {
                let state = committed_state(self.state, update, self.now);
                self.committed(
                    vec![Step::Save(Box::new(state))],
                    "the update was blessed; this slot was chosen by hand",
                )
            }
            Some(Some(counter)) if counter.left > 0 && counter.done == 0 && update.boots.is_empty() => {
                // Pinned by somebody since, chosen in the menu, or not offered by the loader at all.
                self.committed(
                    vec![],
                    match self.had_a_chance(update) {
                        true => "the boot loader passed over the update on trial; it has all its tries left",
                        false => "an update waits for the next boot",
                    },
                )
            }
            Some(Some(counter)) if counter.left > 0 && update.verdict.is_none() => {
                self.committed(vec![], "the update on trial was passed over; it has tries left")
            }
            Some(Some(counter)) if self.is_unarmed(update, counter) => {
                self.committed(vec![], "the other system was not yet given its tries")
            }
            Some(Some(counter)) => self.fallback(update, counter),
        }
    }

    /// Whether this is a later boot than the one in which the update was applied.
    fn had_a_chance(&self, update: &Update) -> bool {
        !update.applied_in.is_empty() && update.applied_in != self.boot_id
    }

    /// Whether a rollback to the other system was cut off before its entry got its tries: a good
    /// entry waits for them as `+0-0`.
    fn is_unarmed(&self, update: &Update, counter: Counter) -> bool {
        let is_good = self.state.is_known_good(&update.entry);
        is_good && update.verdict.is_none() && counter.left == 0 && counter.done < update.tries
    }

    fn fallback(&self, update: &Update, counter: Counter) -> Finding {
        let tries = tries_used(update, counter);
        let verdict = match &update.verdict {
            Some(verdict) => verdict.clone(),
            None if never_finished(update, tries) => Verdict {
                phase: furthest(update),
                reason: format!(
                    "all {tries} tries ended in an orderly reboot before the checks were over: \
                     that is no failure of the image, which may be applied again"
                ),
                checks: vec![],
            },
            None => autopsy(update, tries, self.panic),
        };
        let mut state = match never_finished(update, tries) {
            true => ended_state(self.state, update, &verdict, self.now),
            false => failed_state(self.state, update, &verdict, tries, self.now),
        };
        if let Some(done) = state.update.as_mut() {
            done.stage = Stage::Failed;
        }
        // The record first: the renames can be found missing by any later boot.
        let mut steps = vec![Step::Save(Box::new(state))];
        // Where a rename was cut off, another name of it may have tries left.
        steps.extend(mark_bad(update, self.entries));
        steps.extend(restore(update, self.entries));
        self.found(BootKind::Fallback, update, steps, &verdict.reason)
    }

    /// A committed system whose boots are counted: this is one of them, or what is left when they have
    /// all been of no use, or somebody has chosen the other system.
    fn counted(&self, update: &Update) -> Finding {
        let counter = find(self.entries, &update.entry).and_then(|e| e.name.counter());
        match counter {
            Some(counter) if self.runs(update) => {
                let used = format!("boot {} of {} since it was last healthy", counter.done, update.tries);
                let mut finding = self.committed(vec![], &used);
                finding.note.counted = true;
                finding
            }
            Some(counter) if counter.left == 0 => self.crashed(update, counter),
            Some(_) | None => self.committed(vec![], "the update was committed"),
        }
    }

    /// The committed system has used up its tries without once having been found healthy.
    fn crashed(&self, update: &Update, counter: Counter) -> Finding {
        let panic = self.panic.map(|panic| format!("; the kernel panicked: {panic}")).unwrap_or_default();
        let last = match counter.done {
            0 | 1 => "its last boot".to_owned(),
            boots => format!("its last {boots} boots"),
        };
        let verdict = Verdict {
            // Boots of committed systems leave no breadcrumbs.
            phase: Phase::Loader,
            reason: format!("it was committed, but {last} ended before it was found healthy{panic}"),
            checks: vec![],
        };
        let mut state = failed_state(self.state, update, &verdict, counter.done, self.now);
        if let Some(done) = state.update.as_mut() {
            done.stage = Stage::Failed;
            done.counted = false;
        }
        let mut steps = vec![Step::Save(Box::new(state))];
        steps.extend(restore(update, self.entries));
        self.found(BootKind::Fallback, update, steps, &verdict.reason)
    }

    fn committed(&self, steps: Vec<Step>, because: &str) -> Finding {
        Finding { note: self.note(BootKind::Committed, None, because), steps, refuse: None }
    }

    fn found(&self, kind: BootKind, update: &Update, steps: Vec<Step>, because: &str) -> Finding {
        Finding { note: self.note(kind, Some(update), because), steps, refuse: None }
    }

    fn note(&self, kind: BootKind, update: Option<&Update>, because: &str) -> BootNote {
        let trial = update.filter(|_| kind == BootKind::Trial);
        BootNote {
            boot_id: self.boot_id.to_owned(),
            kind,
            attempt: None,
            attempts: None,
            slot: trial.map(|u| u.slot),
            version: trial.map(|u| u.version.clone()),
            because: because.to_owned(),
            counted: false,
        }
    }
}
