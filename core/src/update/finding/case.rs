//! What this boot is in the life of an update.

use crate::boot::{Counter, Entry};
use crate::disk::{RootArg, SlotName};
use crate::state::{BootEnd, BootKind, BootNote, Stage, Update};

use super::contradiction::{Contradiction, Kind};
use super::identity::Identity;
use super::witnesses::Witnesses;
use crate::update::kept::is_kept;
use crate::update::renames::find;

/// What this boot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Committed, a try, a fallback, or unknown.
    pub boot: Boot,
    /// The entry that the running system was started from, where the witnesses agree on it.
    pub entry: Option<Entry>,
    /// The slot that runs, where the slots are known and the witnesses agree.
    pub slot: Option<SlotName>,
}

/// The kinds of boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// A system that was kept.
    Committed,
    /// A try of an update.
    Trial {
        /// Which one, from 1.
        attempt: u32,
        /// Tries that the update was given.
        tries: u32,
    },
    /// The system before a failed trial.
    Fallback,
    /// It cannot be told; nothing may be changed that cannot be undone.
    Unknown(Contradiction),
}

impl Finding {
    /// What follows from the case.
    pub(in crate::update) fn new(witnesses: &Witnesses<'_>, identity: Identity<'_>, case: &Case<'_>) -> Self {
        let began = witnesses.note.map(|note| note.kind);
        let boot = match case.boot() {
            // It stays one until the next boot.
            Boot::Committed if began == Some(BootKind::Fallback) => Boot::Fallback,
            boot => boot,
        };
        Self {
            boot,
            entry: identity.entry.cloned(),
            slot: identity.slot.filter(|_| identity.doubt.is_none()),
        }
    }

    /// The contradiction, where there is one.
    #[must_use]
    pub fn contradiction(&self) -> Option<&Contradiction> {
        match &self.boot {
            Boot::Unknown(contradiction) => Some(contradiction),
            Boot::Committed | Boot::Trial { .. } | Boot::Fallback => None,
        }
    }
}

/// What the names, the state and the note together say; each case has its own consequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::update) enum Case<'a> {
    /// A committed system, and nothing to do; why.
    Committed(&'static str),
    /// A committed system whose boots are counted, in one of these boots.
    Counted(&'a Update, Counter),
    /// The system beside a committed one that has used up its tries.
    Crashed(&'a Update, Counter),
    /// The update was blessed, and the state does not say so yet; why.
    Blessed(&'a Update, &'static str),
    /// The system that was kept before an update failed.
    AfterFailure(&'a Update),
    /// A try, and its number.
    Trial(&'a Update, u32),
    /// The first try, of which the loader keeps no count: another tool has taken the counter off.
    Uncounted(&'a Update),
    /// A try of an update that was given up already, and its number.
    GivenUp(&'a Update, u32),
    /// One try more than the update was given, and its number.
    TooMany(&'a Update, u32),
    /// The first boot after the last try.
    Fallback(&'a Update, Counter),
    /// The witnesses contradict each other.
    Unknown(Contradiction),
}

impl<'a> Case<'a> {
    /// Compares names, state and note, once it is known which system runs.
    pub(in crate::update) fn of(witnesses: &Witnesses<'a>, identity: &Identity<'a>) -> Self {
        if let Some(why) = witnesses.foreign {
            return Self::Unknown(Contradiction::new(Kind::ForeignState, why));
        }
        if let Some(doubt) = identity.doubt.clone() {
            return Self::Unknown(doubt);
        }
        let case = View { witnesses, identity }.case();
        match note_and_state(witnesses, &case) {
            Some(contradiction) => Self::Unknown(contradiction),
            None => case,
        }
    }

    /// Whether this is a try that has failed, in the boot `boot_id` or before it.
    fn has_failed(&self, boot_id: &str) -> bool {
        match self {
            Self::GivenUp(..) | Self::TooMany(..) => true,
            Self::Trial(update, _) => update
                .boots
                .iter()
                .any(|boot| boot.boot_id == boot_id && matches!(boot.end, Some(BootEnd::Failed(_)))),
            _ => false,
        }
    }

    fn boot(&self) -> Boot {
        match self {
            Self::Committed(_) | Self::Counted(..) | Self::Blessed(..) | Self::AfterFailure(_) => {
                Boot::Committed
            }
            Self::Trial(update, attempt)
            | Self::GivenUp(update, attempt)
            | Self::TooMany(update, attempt) => Boot::Trial { attempt: *attempt, tries: update.tries },
            Self::Uncounted(update) => Boot::Trial { attempt: 1, tries: update.tries },
            Self::Crashed(..) | Self::Fallback(..) => Boot::Fallback,
            Self::Unknown(contradiction) => Boot::Unknown(contradiction.clone()),
        }
    }
}

/// The note of this boot must fit what is found now. What is found now may be more than the note says,
/// where the initramfs saw less.
fn note_and_state(witnesses: &Witnesses<'_>, case: &Case<'_>) -> Option<Contradiction> {
    let note = witnesses.note?;
    if note.kind == BootKind::Unknown && case.has_failed(&note.boot_id) {
        // A reboot would not have helped; the note has the reason, and the remedy.
        let remedy = format!("; {}", Kind::NowhereElse.row().remedy);
        let seen = note.because.strip_suffix(&remedy).unwrap_or(&note.because);
        return Some(Contradiction::new(Kind::NowhereElse, seen));
    }
    let seen = match (note.kind, case) {
        // Committed in this boot, and whatever came after that was taken back.
        (BootKind::Trial, Case::Committed(_)) => return None,
        (BootKind::Trial, _) if !knows_trial(witnesses, note) => {
            "this boot started as a trial, but the state no longer records that trial"
        }
        (BootKind::Unknown, Case::Trial(..) | Case::Uncounted(_)) => {
            "this boot could not be identified as a trial when it started, so it is not assessed"
        }
        (BootKind::Committed | BootKind::Fallback, Case::Trial(..) | Case::Uncounted(_)) => {
            "this boot did not start as a trial, but the state records it as one"
        }
        _ => return None,
    };
    Some(Contradiction::new(Kind::NoteAndState, seen))
}

/// Whether the state still holds the trial that the note speaks of. An update for the other slot can only have
/// come after this boot was committed.
fn knows_trial(witnesses: &Witnesses<'_>, note: &BootNote) -> bool {
    witnesses.state.update.as_ref().is_some_and(|u| {
        u.is_open() || u.stage == Stage::Committed || note.slot.is_some_and(|slot| slot != u.slot)
    })
}

struct View<'w, 'a> {
    witnesses: &'w Witnesses<'a>,
    identity: &'w Identity<'a>,
}

impl<'a> View<'_, 'a> {
    fn case(&self) -> Case<'a> {
        let Some(update) = &self.witnesses.state.update else {
            return self.settled("no update in flight");
        };
        match update.stage {
            Stage::Writing | Stage::Staged if self.boots_slot_of(update) => never_kept(update),
            Stage::Writing | Stage::Staged => self.settled("an update is staged, not applied"),
            Stage::Committed if update.is_counted() => self.counted(update),
            Stage::Committed => self.settled("the update was committed"),
            Stage::Failed if self.runs(update) || self.boots_slot_of(update) => Case::Unknown(
                Contradiction::new(Kind::GivenUp, "this image failed before; it was selected manually"),
            ),
            Stage::Failed => match self.settled("the last update failed") {
                Case::Committed(_) => Case::AfterFailure(update),
                other => other,
            },
            Stage::Applied | Stage::Testing if self.runs(update) && self.is_root_of(update) => {
                self.on_trial(update)
            }
            Stage::Applied | Stage::Testing if self.runs(update) => never_kept(update),
            Stage::Applied | Stage::Testing if self.identity.entry.is_none() && self.is_root_of(update) => {
                Case::Unknown(Contradiction::new(
                    Kind::TrialDisappeared,
                    "the entry on trial has disappeared",
                ))
            }
            Stage::Applied | Stage::Testing if self.boots_slot_of(update) => never_kept(update),
            Stage::Applied | Stage::Testing => self.beside_trial(update),
        }
    }

    /// A boot that has nothing to do with an update: what its name says.
    fn settled(&self, because: &'static str) -> Case<'a> {
        let Some(entry) = self.identity.entry else {
            let seen = match self.witnesses.kernel {
                Some(root) => format!(
                    "no boot entry on the ESP boots the running system ({root}), so there is nothing to fall back to"
                ),
                None => {
                    "neither the kernel's command line nor the boot loader shows which entry runs".to_owned()
                }
            };
            return Case::Unknown(Contradiction::new(Kind::NoEntry, seen));
        };
        match entry.name.counter() {
            None => Case::Committed(because),
            Some(counter) if counter.left == 0 && is_kept(self.witnesses.state, entry) => {
                Case::Committed(because)
            }
            Some(_) if self.witnesses.kexec == Some(true) => Case::Unknown(Contradiction::new(
                Kind::KexecIntoTrial,
                format!("{} has a counter, and another kernel has started it (kexec)", entry.name),
            )),
            Some(counter) => Case::Unknown(Contradiction::new(
                Kind::CountedByOther,
                format!("{} is counted by another tool, {} tries left", entry.name, counter.left),
            )),
        }
    }

    fn on_trial(&self, update: &'a Update) -> Case<'a> {
        let counter = self.identity.entry.and_then(|entry| entry.name.counter());
        let known = update.boots.iter().any(|b| b.boot_id == self.witnesses.boot_id);
        let earlier = u32::try_from(update.boots.len() - usize::from(known)).unwrap_or(u32::MAX);
        let others = update.boots.iter().filter(|b| b.boot_id != self.witnesses.boot_id);
        // Of very many boots the first are no longer recorded.
        let earlier = others.map(|b| b.attempt).max().unwrap_or_default().max(earlier);
        // Where the firmware cannot rename, the loader never counts; then our own record does.
        let attempt = counter.map_or(0, |c| c.done).max(earlier.saturating_add(1));
        match counter {
            _ if update.verdict.is_some() && self.witnesses.kexec != Some(true) => {
                Case::GivenUp(update, attempt)
            }
            // Somebody, perhaps we ourselves before a power cut, has blessed it.
            None if update.verdict.is_none() && !self.is_untried(update) => {
                Case::Blessed(update, "the entry has no counter any more")
            }
            _ if self.witnesses.kexec == Some(true) => Case::Unknown(Contradiction::new(
                Kind::KexecIntoTrial,
                format!("{} is on trial, and another kernel has started it (kexec)", update.entry),
            )),
            None if update.verdict.is_none() => Case::Uncounted(update),
            _ if attempt > update.tries.max(1) => Case::TooMany(update, attempt),
            _ => Case::Trial(update, attempt),
        }
    }

    /// Not the slot on trial: a fallback, or the trial is still to come.
    fn beside_trial(&self, update: &'a Update) -> Case<'a> {
        // Whatever the trial is, the running system must be one that was kept.
        match self.settled("") {
            Case::Committed(_) => {}
            unknown => return unknown,
        }
        let had_a_chance = self.had_a_chance(update);
        match find(self.witnesses.entries, &update.entry).map(|e| e.name.counter()) {
            // `apply` was cut off, or somebody has removed or damaged the entry.
            None if had_a_chance => Case::Committed(
                "the boot entry on trial does not exist or cannot be read; write the update again",
            ),
            None => Case::Committed("the update is not bootable yet"),
            Some(None) if update.verdict.is_none() && self.is_untried(update) => Case::Committed(
                "another tool has removed the counter of the update before its first boot; `abide apply` sets it again",
            ),
            Some(None) if update.verdict.is_none() => {
                Case::Blessed(update, "the update is committed; this slot was selected manually")
            }
            // Given up, and blessed by somebody all the same.
            Some(None) => Case::Fallback(update, Counter { left: 0, done: 0 }),
            Some(Some(counter)) if counter.left > 0 && counter.done == 0 && update.boots.is_empty() => {
                // Pinned by somebody since, chosen in the menu, or not offered by the loader at all.
                Case::Committed(if had_a_chance {
                    "the boot loader skipped the update on trial; it has all its tries left"
                } else {
                    "an update waits for the next boot"
                })
            }
            Some(Some(counter)) if counter.left > 0 && update.verdict.is_none() => {
                Case::Committed("the update on trial was skipped; it has tries left")
            }
            Some(Some(counter)) if self.is_unarmed(update, counter) => Case::Committed(
                "the rollback to the other system was interrupted before its entry got its tries",
            ),
            Some(Some(counter)) => Case::Fallback(update, counter),
        }
    }

    /// A committed system whose boots are counted: this is one of them, or what is left when they have
    /// all failed, or the other system was selected manually.
    fn counted(&self, update: &'a Update) -> Case<'a> {
        let counter = find(self.witnesses.entries, &update.entry).and_then(|e| e.name.counter());
        match counter {
            Some(counter) if self.runs(update) => Case::Counted(update, counter),
            Some(counter) if counter.left == 0 && matches!(self.settled(""), Case::Committed(_)) => {
                Case::Crashed(update, counter)
            }
            Some(_) | None => self.settled("the update was committed"),
        }
    }

    /// Whether no boot has tried the update, and the system before it is there to fall back to.
    fn is_untried(&self, update: &Update) -> bool {
        let previous = update.previous.as_ref().and_then(|p| find(self.witnesses.entries, &p.entry));
        let is_good = previous.is_some_and(|entry| match entry.name.counter() {
            None => true,
            Some(counter) => counter.left == 0 && is_kept(self.witnesses.state, entry),
        });
        is_good && update.boots.is_empty()
    }

    /// Whether the running system was started from the update's entry.
    fn runs(&self, update: &Update) -> bool {
        self.identity.is_of(&update.entry)
    }

    /// Whether the kernel was given the update's root.
    fn is_root_of(&self, update: &Update) -> bool {
        let Some(kernel) = self.witnesses.kernel else { return false };
        RootArg::parse(&update.root).is_some_and(|root| self.witnesses.is_same_root(kernel, &root))
    }

    /// Whether what runs is, or may be, the update, started from another entry than its own.
    fn boots_slot_of(&self, update: &Update) -> bool {
        let may_be_its_slot = match self.witnesses.kernel {
            Some(_) => self.is_root_of(update),
            None => self.identity.slot.is_none_or(|slot| slot == update.slot),
        };
        may_be_its_slot && self.identity.entry.is_some_and(|entry| entry.is_version(&update.version))
    }

    /// Whether this is a later boot than the one in which the update was applied.
    fn had_a_chance(&self, update: &Update) -> bool {
        !update.applied_in.is_empty() && update.applied_in != self.witnesses.boot_id
    }

    /// Whether a rollback to the other system was cut off before its entry got its tries: a good
    /// entry waits for them as `+0-0`.
    fn is_unarmed(&self, update: &Update, counter: Counter) -> bool {
        let entry = find(self.witnesses.entries, &update.entry);
        let is_good = entry.is_some_and(|entry| is_kept(self.witnesses.state, entry));
        is_good && update.verdict.is_none() && counter.left == 0 && counter.done < update.tries
    }
}

fn never_kept(update: &Update) -> Case<'_> {
    Case::Unknown(Contradiction::new(
        Kind::SlotNeverKept,
        format!("slot {} is running, but its version {} was never committed", update.slot, update.version),
    ))
}
