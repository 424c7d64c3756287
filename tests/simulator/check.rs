//! The invariants, as far as a machine without power can keep or break them.

use abide::boot::simulation::boot;
use abide::update::rearm;
use abide_core::boot::{Entry, Quirks};
use abide_core::state::{Stage, State, Store};
use abide_testing::entry::is_remembered;

use super::world::{Goal, Quality, System, World, entries, place, quirks, settings, tries};

/// What is wrong, in one sentence that begins with the invariant's number.
pub type Violation = String;

/// Checks a machine without power.
pub fn check(world: &World, goals: &[Goal], loader: &str) -> Result<(), Violation> {
    let fat = world.fat();
    let entries = entries(&fat, &quirks(loader));
    let state = Store::open(&fat).state();
    nothing_half_written_is_bootable(world, &entries)?;
    a_good_system_is_there(world, &entries, &state)?;
    the_loader_alone_ends_on_a_good_system(world, &entries, &quirks(loader))?;
    tries_are_given_back(world, &entries, &state)?;
    only_committed_systems_are_good(world, &entries, &state)?;
    failures_are_deserved(world, &entries, &state, goals)
}

fn nothing_half_written_is_bootable(world: &World, entries: &[Entry]) -> Result<(), Violation> {
    for name in world.entries() {
        let Some(system) = world.system_at(&name) else {
            return Err(format!("2: {name} is not whole"));
        };
        if !world.is_whole(system) {
            return Err(format!("2: {name} boots {system:?}, whose slot holds {:?}", world.slots));
        }
    }
    for entry in entries {
        if world.system_at(&place(entry)).is_none() {
            return Err(format!("2: {} is not whole", entry.name));
        }
    }
    Ok(())
}

fn is_good(world: &World, entry: &Entry) -> bool {
    let is_well = |s: System| world.ghost.good.contains(&s) && world.ghost.broken != Some(s);
    world.system_at(&place(entry)).is_some_and(|s| is_well(s) && world.is_whole(s))
}

fn a_good_system_is_there(world: &World, entries: &[Entry], state: &State) -> Result<(), Violation> {
    let previous = state.update.as_ref().and_then(|u| u.previous.as_ref()).map(|p| p.entry.as_str());
    let is_marked_good = |e: &Entry| {
        e.name.counter().is_none() || is_remembered(state, &e.id()) || previous == Some(e.id().as_str())
    };
    if entries.iter().any(|e| is_good(world, e) && is_marked_good(e)) {
        return Ok(());
    }
    Err("1: there is no good entry with its complete slot".into())
}

/// As if nothing ever reported: at most `tries` + 1 boots of others, then the good system.
fn the_loader_alone_ends_on_a_good_system(
    world: &World,
    entries: &[Entry],
    quirks: &Quirks,
) -> Result<(), Violation> {
    let good: Vec<String> = entries.iter().filter(|e| is_good(world, e)).map(Entry::id).collect();
    let (mut entries, mut settings) = (entries.to_vec(), settings());
    let mut last = String::new();
    for _ in 0..tries() + 2 {
        let Some(next) = boot(&entries, &settings, quirks) else {
            return Err("1: the loader has nothing to boot".into());
        };
        let was = &next.choice.entry;
        if good.contains(&was.id()) {
            return Ok(());
        }
        last = was.name.to_string();
        (entries, settings) = (next.entries, next.settings);
    }
    Err(format!("3: after {} boots the loader is still at {last}", tries() + 2))
}

/// If nothing restores the tries of a good system, the loader finally leaves it for another entry. If a
/// rename was interrupted, its plain name may exist as well, and stays when the tries are used up.
fn tries_are_given_back(world: &World, entries: &[Entry], state: &State) -> Result<(), Violation> {
    let has_tries = |e: &&Entry| e.name.counter().is_some_and(|c| c.left > 0);
    let is_plain_too =
        |e: &&Entry| entries.iter().any(|other| other.id() == e.id() && other.name.counter().is_none());
    let armed = entries.iter().filter(|e| is_good(world, e)).filter(has_tries);
    for entry in armed.filter(|e| !is_plain_too(e)) {
        let is_on_trial =
            state.update.as_ref().is_some_and(|u| u.entry == entry.id() && u.stage != Stage::Committed);
        if !is_on_trial && rearm::counted_entry(state) != Some(entry.id().as_str()) {
            return Err(format!("1: {} has tries that nobody gives back", entry.name));
        }
    }
    Ok(())
}

fn only_committed_systems_are_good(world: &World, entries: &[Entry], state: &State) -> Result<(), Violation> {
    let ghost = &world.ghost;
    let may_be_good = |s: &System| ghost.good.contains(s) || ghost.commit_begun == Some(*s);
    for entry in entries.iter().filter(|e| e.name.counter().is_none()) {
        let system = world.system_at(&place(entry));
        if !system.is_some_and(|s| may_be_good(&s)) {
            return Err(format!("4: {} is good, but nobody committed it", entry.name));
        }
    }
    if let Some(update) = state.update.as_ref().filter(|u| u.stage == Stage::Committed) {
        let is = |s: &System| s.0 == update.slot && s.1 == update.version;
        if !ghost.good.iter().chain(&ghost.commit_begun).any(is) {
            return Err(format!("4: the state says that {} is committed, but nobody did", update.version));
        }
        if let Some(entry) = entries.iter().find(|e| e.id() == update.entry && e.name.counter().is_some())
            && !entries.iter().any(|e| e.id() == update.entry && e.name.counter().is_none())
            && is_remembered(state, &update.entry)
            && entry.name.counter().is_some_and(|c| c.left > 0)
            && !update.is_counted()
        {
            return Err(format!("4: the state says that {} is committed, but it is on trial", entry.name));
        }
    }
    Ok(())
}

fn failures_are_deserved(
    world: &World,
    entries: &[Entry],
    state: &State,
    goals: &[Goal],
) -> Result<(), Violation> {
    for failure in &state.failures {
        let of_goal = goals.iter().take(world.ghost.goal + 1).rev().find_map(|g| match g {
            Goal::Update(version, quality) if *version == failure.version => Some(*quality),
            _ => None,
        });
        if of_goal.is_none_or(|q| q == Quality::Good)
            && !goals.iter().any(|g| matches!(g, Goal::Forget(v) if *v == failure.version))
            && world.ghost.broken.is_none_or(|(_, version)| version != failure.version)
        {
            return Err(format!("5: {} is healthy, but has a failure record: {failure:?}", failure.version));
        }
        let Some(update) = state.update.as_ref().filter(|u| u.version == failure.version) else { continue };
        let left =
            entries.iter().filter(|e| e.id() == update.entry).find_map(|e| e.name.counter()).map(|c| c.left);
        if !world.ghost.given_up && left.is_some_and(|left| left > 0) {
            return Err(format!(
                "5: {} has a failure record although it has {left:?} tries left",
                failure.version
            ));
        }
    }
    Ok(())
}
