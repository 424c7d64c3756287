//! What must hold, told from what really is; written from `docs/explanation/witnesses.md`.

use abide_core::boot::model::name::EntryName;
use abide_core::disk::SlotName;
use abide_core::state::{Stage, State};
use abide_core::update::finding::Boot;
use abide_testing::entry::is_remembered;

use super::memory::Memory;
use super::run::{Command, Done};
use super::situation::{Memo, Name, Sight, Situation, Vars, id, index};

/// The names of a slot's entry.
fn names_of(esp: &Memory, slot: SlotName) -> Vec<EntryName> {
    let all = esp.names("EFI/Linux");
    all.iter().filter_map(|name| EntryName::parse(name)).filter(|name| name.id() == id(slot)).collect()
}

fn is_plain(esp: &Memory, slot: SlotName) -> bool {
    names_of(esp, slot).iter().any(|name| name.counter().is_none())
}

/// Whether nothing that the machine sees contradicts anything else about which system runs.
pub fn is_consistent(situation: &Situation) -> bool {
    let Situation { runs, kernel, rooted, sight, vars, kexec, names, .. } = *situation;
    let by_loader = (vars != Vars::Absent && kexec != Some(true)).then(|| situation.selected()).flatten();
    if rooted {
        by_loader.is_none_or(|slot| slot == kernel) && (sight == Sight::Blind || runs == kernel)
    } else {
        // Only the loader tells which UKI it was.
        by_loader
            .is_none_or(|slot| names[index(slot)] != Name::Absent && (sight == Sight::Blind || slot == runs))
    }
}

/// Whether the system in a slot is good in truth, as far as anybody can know: by its plain name, or because it was
/// kept and stepped back.
fn is_good(situation: &Situation, slot: SlotName) -> bool {
    let was_kept = is_remembered(&situation.disk().state, &id(slot));
    let is_given_up = matches!(situation.memo, Memo::GivenUp(s) | Memo::Failed(s) if s == slot);
    match situation.names[index(slot)] {
        Name::Plain => !is_given_up,
        Name::Spent => was_kept,
        Name::Left => was_kept && situation.memo == Memo::Counted(slot),
        Name::Absent => false,
    }
}

/// Judges what a boot was found to be, and which slots may be overwritten.
///
/// # Errors
/// What is wrong, in one sentence.
pub fn judge_finding(situation: &Situation, boot: &Boot, may_overwrite: [bool; 2]) -> Result<(), String> {
    let is_unknown = matches!(boot, Boot::Unknown(_));
    if !is_consistent(situation) && !is_unknown {
        return Err(format!("the boot is {boot:?} although the witnesses disagree"));
    }
    if is_told(situation)
        && *boot == Boot::Committed
        && !is_good(situation, situation.kernel)
        && !is_blessed(situation)
    {
        return Err("a system is committed that nothing says is good".into());
    }
    for slot in SlotName::ALL.into_iter().filter(|slot| may_overwrite[index(*slot)]) {
        let runs = slot == situation.runs || slot == situation.kernel;
        if !is_consistent(situation) || is_told(situation) && runs {
            return Err(format!("slot {slot} may be overwritten"));
        }
    }
    Ok(())
}

/// Whether another has blessed the trial that runs.
fn is_blessed(situation: &Situation) -> bool {
    situation.names[index(situation.kernel)] == Name::Plain
        && situation.memo.is_open_trial_of(situation.kernel)
}

/// Judges what a command has done.
///
/// # Errors
/// What is wrong, in one sentence.
pub fn judge(situation: &Situation, command: Command, before: &Memory, done: &Done) -> Result<(), String> {
    let after = &done.esp;
    let is_consistent = is_consistent(situation);
    for slot in SlotName::ALL {
        let (old, new) = (names_of(before, slot), names_of(after, slot));
        let was_plain = is_plain(before, slot);
        let overwritten = done.overwritten == Some(slot);
        let removed = !old.is_empty() && new.is_empty();
        let lost_name = was_plain && !is_plain(after, slot);
        if (overwritten || removed) && !is_consistent {
            return Err(format!("slot {slot} or its entry was destroyed although the witnesses disagree"));
        }
        if (overwritten || removed)
            && (slot == situation.runs || slot == situation.kernel)
            && is_told(situation)
        {
            return Err(format!("slot {slot} or its entry was destroyed, which runs"));
        }
        if lost_name && !is_consistent && !given_up(&done.state, slot) {
            return Err(format!("{} lost its plain name although the witnesses disagree", id(slot)));
        }
        if !was_plain && is_plain(after, slot) && !may_be_plain(situation, command, slot) {
            return Err(format!("{} got its plain name without evidence", id(slot)));
        }
    }
    let good = |slot: &SlotName| is_good(situation, *slot);
    let is_left = |slot: &SlotName| {
        let is_marked = is_plain(after, *slot) || is_remembered(&done.state, &id(*slot));
        good(slot) && is_marked && !names_of(after, *slot).is_empty() && done.overwritten != Some(*slot)
    };
    if SlotName::ALL.iter().any(good) && !SlotName::ALL.iter().any(is_left) {
        return Err("no good system is left".into());
    }
    if done.refused && before.names("EFI/Linux") != after.names("EFI/Linux") && command != Command::Boot {
        let renamed = SlotName::ALL.iter().filter(|slot| names_of(before, **slot) != names_of(after, **slot));
        let mut own =
            renamed.filter(|slot| !situation.memo.is_open_trial_of(**slot) && !given_up(&done.state, **slot));
        if let Some(slot) = own.find(|slot| !is_good(situation, **slot)) {
            return Err(format!("{} was renamed by a command that refused", id(*slot)));
        }
    }
    Ok(())
}

/// Whether anything that the machine sees tells what really runs. Where nothing does, nothing can be refused.
fn is_told(situation: &Situation) -> bool {
    let Situation { runs, kernel, rooted, sight, vars, kexec, .. } = *situation;
    let kernel_is_told = rooted || vars != Vars::Stale || kexec == Some(true);
    kernel_is_told && (runs == kernel || sight != Sight::Blind)
}

fn given_up(state: &State, slot: SlotName) -> bool {
    state.update.as_ref().is_some_and(|u| u.slot == slot && (u.verdict.is_some() || u.stage == Stage::Failed))
}

/// What gets a plain name was kept before, or this boot is its trial and was found healthy.
fn may_be_plain(situation: &Situation, command: Command, slot: SlotName) -> bool {
    let is_trial_of_it = situation.memo.is_open_trial_of(slot)
        && slot == situation.kernel
        && is_consistent(situation)
        && situation.rooted
        && situation.kexec != Some(true);
    is_good(situation, slot) || command == Command::Commit && is_trial_of_it
}

/// Judges whom the system's own blesser is let bless: what nobody else counts, and nothing that Abide does.
///
/// # Errors
/// What is wrong, in one sentence.
pub fn judge_consent(situation: &Situation, lets_others: bool) -> Result<(), String> {
    let slot = situation.kernel;
    let is_counted = matches!(situation.names[index(slot)], Name::Left | Name::Spent);
    let is_abides =
        situation.memo.update().is_some_and(|(of, stage)| of == slot && stage != Stage::Committed);
    if lets_others && is_told(situation) && is_abides && !is_good(situation, slot) && is_counted {
        return Err("the system's blesser may bless Abide's trial".into());
    }
    if lets_others && !is_consistent(situation) {
        return Err("the system's blesser may bless although the witnesses disagree".into());
    }
    // The path that the blesser follows is that of an older boot.
    let is_kexec = situation.kexec == Some(true);
    if lets_others && is_kexec {
        return Err("the system's blesser may bless after a kexec".into());
    }
    let is_anothers = !is_kexec
        && situation.memo == Memo::Lost
        && is_counted
        && is_consistent(situation)
        && situation.rooted;
    if is_anothers && is_told(situation) && !situation.began_as_trial() && !lets_others {
        return Err("nobody may bless the trial of another tool".into());
    }
    Ok(())
}
