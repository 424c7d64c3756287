//! Which failed units are new: compared with those of an earlier boot by what stays the same of their names.
//!
//! Transient units and instances of templates get another name at each start: podman's health checks, what systemd-run(1)
//! starts, connections of a socket with `Accept=yes`.

use std::collections::BTreeMap;

/// What stays the same of the name of a unit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct StableName {
    /// The name, without what changes.
    text: String,
    /// Whether the rest is a name that somebody has chosen, such as `home` in `backup@home.service`.
    is_chosen: bool,
}

/// The units of `failed` that do not correspond to one of `before`.
///
/// A unit corresponds to the unit of the same name, otherwise to one with the same stable name: to any where the rest of the
/// name is made by a program, and to one of its own where somebody has chosen it, so that two failed instances are more than
/// one.
#[must_use]
pub fn new_failures<'u>(failed: &'u [String], before: &[String]) -> Vec<&'u str> {
    let mut places: BTreeMap<StableName, usize> = BTreeMap::new();
    for unit in before {
        *places.entry(StableName::of(unit)).or_default() += 1;
    }
    let (known, others): (Vec<&String>, Vec<&String>) = failed.iter().partition(|unit| before.contains(unit));
    for name in known.into_iter().map(|unit| StableName::of(unit)).filter(|name| name.is_chosen) {
        places.entry(name).and_modify(|left| *left = left.saturating_sub(1));
    }
    let mut is_new = |unit: &str| {
        let name = StableName::of(unit);
        match places.get_mut(&name) {
            None | Some(0) => true,
            Some(left) => {
                *left -= usize::from(name.is_chosen);
                false
            }
        }
    };
    others.into_iter().map(String::as_str).filter(|unit| is_new(unit)).collect()
}

impl StableName {
    fn of(unit: &str) -> Self {
        let (stem, suffix) = unit.rsplit_once('.').unwrap_or((unit, ""));
        let Some((template, instance)) = stem.split_once('@') else {
            let stem = counted(stem).map_or_else(|| without_ids(stem), str::to_owned);
            return Self { text: format!("{stem}.{suffix}"), is_chosen: false };
        };
        // Running numbers, as systemd gives them to connections and core dumps, and the ids of users.
        let is_chosen = !instance.starts_with(|c: char| c.is_ascii_digit());
        Self { text: format!("{}@.{suffix}", without_ids(template)), is_chosen }
    }
}

/// The stable part of a name that systemd makes of a number: `run-u7`, `run-p7-i9` and `run-r<ID>` of systemd-run(1)
/// (`make_unit_name()`), `session-7` and `session-c7` of systemd-logind(8).
fn counted(stem: &str) -> Option<&'static str> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if let Some(rest) = stem.strip_prefix("run-") {
        let of_process = || rest.strip_prefix('p').and_then(|rest| rest.split_once("-i"));
        let is_run = rest.strip_prefix('u').is_some_and(is_number)
            || rest.strip_prefix('r').is_some_and(is_id)
            || of_process().is_some_and(|(process, id)| is_number(process) && is_number(id));
        return is_run.then_some("run-*");
    }
    let session = stem.strip_prefix("session-")?;
    is_number(session.strip_prefix('c').unwrap_or(session)).then_some("session-*")
}

/// The name with `*` for its ids: of containers (`docker-<64 digits>`), of podman's health checks
/// (`<64 digits>-<random digits>`), of pods (a UUID), of connections to the bus (`:1.7`).
fn without_ids(stem: &str) -> String {
    // `-` in a path of a mount.
    let stem = stem.replace("\\x2d", "-");
    let mut words: Vec<&str> = vec![];
    for same in stem.split('-').collect::<Vec<_>>().chunk_by(|a, b| is_hex(a) == is_hex(b)) {
        if same.iter().any(|word| is_id(word)) {
            words.push("*");
        } else {
            words.extend(same.iter().map(|word| if word.starts_with(':') { "*" } else { *word }));
        }
    }
    words.join("-")
}

fn is_hex(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_hexdigit())
}

/// An id: hexadecimal digits, as many as the last group of a UUID or more. A word of a language has none of 0 to 9.
fn is_id(word: &str) -> bool {
    is_hex(word) && word.len() >= 12 && word.bytes().any(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f1c0d7a9b3e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8";
    const OTHER: &str = "90a1b2c3d4e5f60718293a4b5c6d7e8f4f1c0d7a9b3e5f60718293a4b5c6d7e8";

    fn is_excused(before: &[&str], failed: &[&str]) -> bool {
        let owned = |units: &[&str]| {
            let full = |unit: &&str| unit.replace("ID", ID).replace("OTHER", OTHER);
            units.iter().map(full).collect::<Vec<_>>()
        };
        new_failures(&owned(failed), &owned(before)).is_empty()
    }

    #[test]
    fn units_with_changing_names_are_the_same_units() {
        for (before, after) in [
            ("a.service", "a.service"),
            // podman: libpod/healthcheck_linux.go, the id, then random digits; the container may be a new one.
            ("ID-3a57d2b09c81ef44.service", "ID-5be2c21a77f0135c.service"),
            ("ID-3a57d2b09c81ef44.service", "OTHER-5be2c21a77f0135c.service"),
            ("ID.service", "OTHER.service"),
            ("ID-startup-3a57d2b09c81ef44.service", "OTHER-startup-5be2c21a77f0135c.service"),
            ("ID-3a57d2b09c81ef44.timer", "ID-5be2c21a77f0135c.timer"),
            // systemd: src/run/run.c, make_unit_name().
            ("run-r0123456789abcdef0123456789abcdef.service", "run-u17.service"),
            ("run-p1234-i5678.service", "run-p99-i100.service"),
            ("run-u4.scope", "run-u1234.scope"),
            // Containers and pods, of docker, podman, CRI-O and containerd.
            ("docker-ID.scope", "docker-OTHER.scope"),
            ("libpod-conmon-ID.scope", "libpod-conmon-OTHER.scope"),
            ("var-lib-docker-overlay2-ID-merged.mount", "var-lib-docker-overlay2-OTHER-merged.mount"),
            ("run-docker-netns-1a2b3c4d5e6f.mount", "run-docker-netns-f6e5d4c3b2a1.mount"),
            (
                "var-lib-kubelet-pods-0a1b2c3d\\x2d4e5f\\x2d6071\\x2d8293\\x2da4b5c6d7e8f9-volumes.mount",
                "var-lib-kubelet-pods-ffffffff\\x2dffff\\x2dffff\\x2dffff\\x2d1fffffffffff-volumes.mount",
            ),
            // Sessions, connections, core dumps, users.
            ("session-3.scope", "session-c12.scope"),
            ("sshd@3-10.0.0.1:22-10.0.0.9:51234.service", "sshd@9-10.0.0.1:22-10.0.0.7:60000.service"),
            ("systemd-coredump@1-812-0.service", "systemd-coredump@7-90-0.service"),
            ("dbus-:1.2-org.freedesktop.problems@0.service", "dbus-:1.14-org.freedesktop.problems@0.service"),
            ("app@1.service", "app@2.service"),
            ("app@a.service", "app@b.service"),
        ] {
            assert!(is_excused(&[before], &[after]), "{before} {after}");
        }
    }

    #[test]
    fn a_unit_of_another_kind_is_a_new_failure() {
        for (before, after) in [
            ("a.service", "b.service"),
            ("app@a.service", "app@a.socket"),
            ("app@a.service", "other@a.service"),
            ("app@a.service", "app.service"),
            ("ID-3a57d2b09c81ef44.service", "ID-3a57d2b09c81ef44.timer"),
            ("ID-3a57d2b09c81ef44.service", "ID-startup-3a57d2b09c81ef44.service"),
            ("docker-ID.scope", "libpod-ID.scope"),
            ("run-u1.service", "run-user.service"),
            ("run-media.mount", "run-u1.mount"),
            ("session-1.scope", "session-x.scope"),
            ("dead-beef.service", "feed-cafe.service"),
            ("app-1.service", "app-2.service"),
        ] {
            assert!(!is_excused(&[before], &[after]), "{before} {after}");
            assert!(!is_excused(&[], &[after]));
        }
    }

    #[test]
    fn more_instances_with_chosen_names_than_before_are_new_failures() {
        assert!(!is_excused(&["app@a.service"], &["app@a.service", "app@b.service"]));
        assert!(!is_excused(&["app@a.service"], &["app@b.service", "app@c.service"]));
        assert!(is_excused(&["app@a.service", "app@b.service"], &["app@b.service", "app@c.service"]));
        // Failed ones stay until they are reset: their number says nothing.
        assert!(is_excused(&["sshd@1-a.service"], &["sshd@2-a.service", "sshd@3-a.service"]));
        assert!(is_excused(&["run-u1.service"], &["run-u1.service", "run-u2.service"]));
    }
}
