//! The kinds that look at what runs.

use abide_core::config::section::Section;
use abide_core::error::Result;

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

/// `kind = "process"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessCheck {
    /// How the process is found.
    pub which: Which,
    /// The resident memory that all of its instances together may use, in bytes.
    pub memory_max: Option<u64>,
}

/// How a process is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// By the name of its program.
    Program(String),
    /// By the process id in a file.
    Pidfile(String),
}

/// `kind = "command"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandCheck {
    /// The program and its arguments.
    pub command: Vec<String>,
}

impl SystemCheck {
    pub(in crate::config) fn read(section: &mut Section<'_>) -> Result<Self> {
        Ok(Self { allow_failed: section.texts("allow_failed")?.unwrap_or_default() })
    }
}

impl UnitCheck {
    pub(in crate::config) fn read(section: &mut Section<'_>) -> Result<Self> {
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

impl ProcessCheck {
    pub(in crate::config) fn read(section: &mut Section<'_>) -> Result<Self> {
        let which = match (section.text("program")?, section.path("pidfile")?) {
            (Some(program), None) if !program.is_empty() => Which::Program(program),
            (None, Some(file)) => Which::Pidfile(file),
            _ => {
                return Err(
                    section.error("a check of kind process needs program = \"NAME\" or pidfile = \"/FILE\"")
                );
            }
        };
        Ok(Self { which, memory_max: section.size("memory_max")? })
    }
}

impl CommandCheck {
    pub(in crate::config) fn read(section: &mut Section<'_>) -> Result<Self> {
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
