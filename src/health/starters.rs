//! What will start a failed unit again, by itself: such a unit has not failed for good.

use std::collections::BTreeSet;

use crate::systemd::{Manager, Properties};

/// Lists of units, in properties of a unit, that start it again: timers, sockets, paths and automounts, and units with
/// `Upholds=`, which start it again and again.
const STARTERS: [&str; 2] = ["TriggeredBy", "UpheldBy"];

/// For each of `units`, how it will be started again; none if nothing is known that does it.
///
/// # Errors
/// If systemd does not answer.
pub fn of(systemd: &Manager, units: &[&str]) -> Result<Vec<Option<String>>, String> {
    if units.is_empty() {
        return Ok(vec![]);
    }
    let failed = systemd.show(units, &["Id", "SubState", STARTERS[0], STARTERS[1]])?;
    let starters: BTreeSet<&str> = failed.iter().flat_map(starters_of).collect();
    let starters: Vec<&str> = starters.into_iter().collect();
    let states = match starters.as_slice() {
        [] => vec![],
        names => systemd.show(names, &["Id", "ActiveState", "SubState"])?,
    };
    let ready: Vec<&str> =
        starters.iter().zip(&states).filter(|(_, state)| is_ready(state)).map(|(name, _)| *name).collect();
    Ok(failed.iter().map(|unit| starter(unit, &ready)).collect())
}

fn starters_of(unit: &Properties) -> impl Iterator<Item = &str> {
    STARTERS.iter().filter_map(|key| unit.get(*key)).flat_map(|names| names.split_whitespace())
}

/// Whether it is active and waits for its moment. A timer without another one is `elapsed`, a socket or path whose service was
/// started too often has failed.
fn is_ready(state: &Properties) -> bool {
    let get = |key: &str| state.get(key).map_or("", String::as_str);
    let is_waiting = match get("Id").rsplit_once('.') {
        Some((_, "timer" | "path" | "automount")) => get("SubState") == "waiting",
        Some((_, "socket")) => get("SubState") == "listening",
        _ => true,
    };
    get("ActiveState") == "active" && is_waiting
}

fn starter(unit: &Properties, ready: &[&str]) -> Option<String> {
    // `failed-before-auto-restart`, of systemd 254: the moment before `Restart=` applies.
    if unit.get("SubState").is_some_and(|state| state.contains("auto-restart")) {
        return Some("systemd restarts it".into());
    }
    starters_of(unit).find(|name| ready.contains(name)).map(|name| format!("{name} starts it again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &str) -> Properties {
        let pair =
            |word: &str| word.split_once('=').map(|(key, value)| (key.to_owned(), value.replace('+', " ")));
        text.split(' ').filter_map(pair).collect()
    }

    #[test]
    fn a_starter_is_ready_while_it_waits() {
        for (text, expected) in [
            ("Id=a.timer ActiveState=active SubState=waiting", true),
            ("Id=a.timer ActiveState=active SubState=elapsed", false),
            ("Id=a.timer ActiveState=inactive SubState=dead", false),
            ("Id=a.socket ActiveState=active SubState=listening", true),
            ("Id=a.socket ActiveState=failed SubState=failed", false),
            ("Id=a.path ActiveState=active SubState=waiting", true),
            ("Id=data.automount ActiveState=active SubState=waiting", true),
            ("Id=all.target ActiveState=active SubState=active", true),
            ("Id=all.target ActiveState=inactive SubState=dead", false),
        ] {
            assert_eq!(is_ready(&state(text)), expected, "{text}");
        }
    }

    #[test]
    fn what_starts_a_unit_again_is_named() {
        let unit = state("Id=a.service SubState=failed TriggeredBy=a.socket+a.timer UpheldBy=");
        assert_eq!(starter(&unit, &["a.timer"]).as_deref(), Some("a.timer starts it again"));
        assert_eq!(starter(&unit, &["b.timer"]), None);
        let restarting = state("Id=a.service SubState=failed-before-auto-restart");
        assert_eq!(starter(&restarting, &[]).as_deref(), Some("systemd restarts it"));
    }
}
