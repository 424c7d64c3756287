//! `kind = "process"`: a process runs.

use abide_core::config::section::Section;
use abide_core::error::Result;

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
