//! Which failed units are new: compared with those of an earlier boot by what stays the same of their names.
//!
//! Transient units and instances of templates get another name at each start: podman's health checks, what systemd-run(1)
//! starts, connections of a socket with `Accept=yes`.

use std::collections::{BTreeMap, BTreeSet};

/// What stays the same of the name of a unit, and which of the units with the same stable name it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct StableName {
    /// The name, without what changes.
    text: String,
    /// What tells the units with this text apart: the id of a container, the instance of a template. `None`: nothing, since a
    /// program counts them.
    which: Option<String>,
}

/// The units of `failed` that do not correspond to one of `before`.
///
/// A unit corresponds to one of before that is the same: of the same container, the same instance. Otherwise it corresponds
/// to one with the same text that is not there any more, since a container gets another id when it is made again: to one of
/// its own, so that two failed containers, or two instances, are more than one. Where a program counts the units, it
/// corresponds to any of them.
#[must_use]
pub fn new_failures<'u>(failed: &'u [String], before: &[String]) -> Vec<&'u str> {
    let names = |units: &[String]| units.iter().map(|unit| StableName::of(unit)).collect::<BTreeSet<_>>();
    let (known, now) = (names(before), names(failed));
    // Those of before that no unit is the same as.
    let mut gone: BTreeMap<&str, usize> = BTreeMap::new();
    for name in known.difference(&now) {
        *gone.entry(&name.text).or_default() += 1;
    }
    let mut excused = BTreeSet::new();
    for name in now.difference(&known) {
        if let Some(left) = gone.get_mut(name.text.as_str()).filter(|left| **left > 0) {
            *left -= 1;
            excused.insert(name);
        }
    }
    let is_new = |unit: &&String| {
        let name = StableName::of(unit);
        !known.contains(&name) && !excused.contains(&name)
    };
    failed.iter().filter(is_new).map(String::as_str).collect()
}

impl StableName {
    fn of(unit: &str) -> Self {
        let (stem, suffix) = unit.rsplit_once('.').unwrap_or((unit, ""));
        let Some((template, instance)) = stem.split_once('@') else {
            if let Some(stem) = counted(stem) {
                return Self { text: format!("{stem}.{suffix}"), which: None };
            }
            let (stem, id) = without_ids(stem);
            return Self { text: format!("{stem}.{suffix}"), which: id };
        };
        let (template, id) = without_ids(template);
        let is_counted = id.is_none() || is_connection(instance);
        let which = (!is_counted).then(|| id.unwrap_or_default() + instance);
        Self { text: format!("{template}@.{suffix}"), which }
    }
}

/// Whether systemd has made the instance for a connection of a socket with `Accept=yes`: a running number, then the two
/// addresses with their ports, or process and user of the peer (systemd, `instance_from_socket()`).
fn is_connection(instance: &str) -> bool {
    let mut words = instance.split('-');
    let is_numbered = words.next().is_some_and(is_number);
    let rest: Vec<&str> = words.collect();
    let is_peer = |word: &&str| is_number(word) || word.contains(':') || word.contains('_');
    is_numbered && (rest == ["unknown"] || rest.len() >= 2 && rest.iter().all(is_peer))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// The stable part of a name that systemd makes of a number: `run-u7`, `run-p7-i9` and `run-r<ID>` of systemd-run(1)
/// (`make_unit_name()`), `session-7` and `session-c7` of systemd-logind(8).
fn counted(stem: &str) -> Option<&'static str> {
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

/// The name with `*` for its ids, and the first of them: of containers (`docker-<64 digits>`), of podman's health checks
/// (`<64 digits>-<random digits>`), of pods (a UUID). The random digits say nothing, nor do the numbers of connections to the bus
/// (`:1.7`).
fn without_ids(stem: &str) -> (String, Option<String>) {
    // `-` in a path of a mount.
    let stem = stem.replace("\\x2d", "-");
    let (mut words, mut id): (Vec<&str>, Option<String>) = (vec![], None);
    let mut is_counted = false;
    for same in stem.split('-').collect::<Vec<_>>().chunk_by(|a, b| is_hex(a) == is_hex(b)) {
        if let Some(first) = same.iter().find(|word| is_id(word)) {
            let is_container = first.len() == CONTAINER;
            id.get_or_insert_with(|| if is_container { (*first).to_owned() } else { same.join("-") });
            words.push("*");
        } else {
            is_counted |= same.iter().any(|word| word.starts_with(':'));
            words.extend(same.iter().map(|word| if word.starts_with(':') { "*" } else { *word }));
        }
    }
    let id = id.or_else(|| (!is_counted).then(String::new));
    (words.join("-"), id)
}

/// How many digits the id of a container has.
const CONTAINER: usize = 64;

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
        assert!(!is_excused(
            &["postgresql@14-main.service"],
            &["postgresql@14-main.service", "postgresql@15-main.service"]
        ));
        assert!(!is_excused(&["app@1.service"], &["app@1.service", "app@2.service"]));
        // Failed ones stay until they are reset: their number says nothing.
        let connection = |n: u32| format!("sshd@{n}-10.0.0.1:22-10.0.0.9:{}.service", 50_000 + n);
        assert!(is_excused(&[&connection(1)], &[&connection(2), &connection(3)]));
        assert!(is_excused(
            &["a@1-812-0.service"],
            &["a@1-812-0.service", "a@2-813-0.service", "a@3-unknown.service"]
        ));
        assert!(is_excused(&["run-u1.service"], &["run-u1.service", "run-u2.service"]));
    }

    #[test]
    fn the_failed_health_check_of_one_container_excuses_no_other_container() {
        let (one, again) = ("ID-3a57d2b09c81ef44.service", "ID-5be2c21a77f0135c.service");
        let other = "OTHER-5be2c21a77f0135c.service";
        assert!(!is_excused(&[one], &[again, other]));
        assert!(!is_excused(&[one], &[one, other]));
        // Of one container, however many there are; and of one that was made again.
        assert!(is_excused(&[one], &[one, again]));
        assert!(is_excused(&[one], &[other, "OTHER-3a57d2b09c81ef44.service"]));
        assert!(is_excused(&[one, other], &[again, other]));
        assert!(!is_excused(&["docker-ID.scope"], &["docker-ID.scope", "docker-OTHER.scope"]));
    }
}
