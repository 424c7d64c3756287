//! What each kind of check is told: the keys of `[[check]]` that only this kind has.

use super::section::Section;
use crate::error::Result;

/// `kind = "system"`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SystemCheck {
    /// Units that may fail, as shell patterns, beside those that had failed before the update.
    pub allow_failed: Vec<String>,
}

/// `kind = "unit"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitCheck {
    /// The units, all of which must be active (or have finished, for a oneshot).
    pub units: Vec<String>,
    /// How often each may be restarted by systemd while it is watched.
    pub restarts_allowed: u32,
}

/// `kind = "network"`. Without any key of its own: some interface other than the loopback is up
/// with a carrier and an address, there is a default route, and its gateway answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkCheck {
    /// Names of interfaces, as shell patterns; empty means any but the loopback.
    pub interfaces: Vec<String>,
    /// Whether all of [`NetworkCheck::interfaces`] must be usable, or any of them.
    pub all_interfaces: bool,
    /// The kinds of address that are needed.
    pub family: Family,
    /// Whether a default route is needed.
    pub default_route: bool,
    /// Whether the gateway of the default route must answer.
    pub gateway: bool,
    /// Names that must resolve.
    pub resolve: Vec<String>,
    /// `HOST:PORT`s that must accept a connection.
    pub connect: Vec<String>,
}

/// Which addresses an interface must have. Link-local ones do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// At least one of either.
    Any,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// One of each.
    Both,
}

/// `kind = "command"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandCheck {
    /// The program and its arguments.
    pub command: Vec<String>,
}

impl SystemCheck {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        Ok(Self { allow_failed: section.texts("allow_failed")?.unwrap_or_default() })
    }
}

impl UnitCheck {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        let units = section.texts("units")?.unwrap_or_default();
        if units.is_empty() {
            return Err(section.error("a check of kind unit needs units = [\"NAME.service\"]"));
        }
        if let Some(unit) = units.iter().find(|unit| !is_unit_name(unit)) {
            return Err(section.error_at(
                "units",
                &format!("'{unit}' is not the name of a unit; it needs a suffix such as .service"),
            ));
        }
        Ok(Self { units, restarts_allowed: section.count("restarts_allowed", 0..=1000)?.unwrap_or(0) })
    }
}

impl NetworkCheck {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        let families =
            [("any", Family::Any), ("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6), ("both", Family::Both)];
        let check = Self {
            interfaces: section.texts("interfaces")?.unwrap_or_default(),
            all_interfaces: section.word("need", &[("any", false), ("all", true)])?.unwrap_or(false),
            family: section.word("family", &families)?.unwrap_or(Family::Any),
            default_route: section.flag("default_route")?.unwrap_or(true),
            gateway: section.flag("gateway")?.unwrap_or(true),
            resolve: section.texts("resolve")?.unwrap_or_default(),
            connect: section.texts("connect")?.unwrap_or_default(),
        };
        if let Some(target) = check.connect.iter().find(|target| !is_host_and_port(target)) {
            return Err(section.error_at("connect", &format!("'{target}' is not HOST:PORT")));
        }
        if check.gateway && !check.default_route && section.has("gateway") {
            return Err(section.error_at("gateway", "needs default_route = true: it is that route's gateway"));
        }
        Ok(Self { gateway: check.gateway && check.default_route, ..check })
    }
}

impl CommandCheck {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        let is_list = section.is_list("command");
        let command = match section.texts("command")? {
            Some(words) if is_list => words,
            Some(mut line) => {
                let mut shell = vec!["/bin/sh".to_owned(), "-c".to_owned()];
                shell.append(&mut line);
                shell
            }
            None => Vec::new(),
        };
        match command.first() {
            Some(program) if !program.is_empty() => Ok(Self { command }),
            _ => Err(section.error("a check of kind command needs command = [\"/path/to/program\"]")),
        }
    }
}

/// Whether `name` has one of systemd's suffixes of units.
fn is_unit_name(name: &str) -> bool {
    const SUFFIXES: [&str; 11] = [
        "service",
        "socket",
        "target",
        "mount",
        "automount",
        "swap",
        "timer",
        "path",
        "slice",
        "scope",
        "device",
    ];
    name.rsplit_once('.').is_some_and(|(stem, suffix)| !stem.is_empty() && SUFFIXES.contains(&suffix))
}

fn is_host_and_port(target: &str) -> bool {
    target
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}
