//! `kind = "process"`: a process runs, within its memory.

use abide_core::config::form::Optional;
use abide_core::config::section::{Section, Settings};
use abide_core::config::tree::Table;
use abide_core::error::Result;

use crate::config::described::DescribedSettings;
use crate::config::forms::{AbsolutePath, NotEmpty, Size};
use crate::config::setting::Setting;
use crate::config::table::settings;

/// `kind = "process"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessCheck {
    /// How the process is found.
    pub find_by: FindBy,
    /// The resident memory that all of its instances together may use, in bytes.
    pub memory_max: Option<u64>,
}

/// How a process is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindBy {
    /// By the name of its program.
    Program(String),
    /// By the process ID in a file.
    Pidfile(String),
}

settings! {
    struct Keys {
        /// The name of the program. Either this or `pidfile` is needed.
        program: Optional<NotEmpty> = None, example "app";
        /// A file that holds the process ID, instead of `program`.
        pidfile: Optional<AbsolutePath> = None;
        /// How much resident memory all instances together may use.
        memory_max: Optional<Size> = None, otherwise "no limit", example "512M";
    }
}

impl Settings for ProcessCheck {
    fn read(section: &mut Section<'_>) -> Result<Self> {
        let Keys { program, pidfile, memory_max } = Keys::read(section)?;
        let find_by = match (program, pidfile) {
            (Some(program), None) => FindBy::Program(program),
            (None, Some(file)) => FindBy::Pidfile(file),
            (None, None) => return Err(section.error("needs program = \"NAME\" or pidfile = \"/FILE\"")),
            (Some(_), Some(_)) => {
                return Err(section.error_at("pidfile", "program is set, too; set only one of them"));
            }
        };
        Ok(Self { find_by, memory_max })
    }
}

impl DescribedSettings for ProcessCheck {
    const KEYS: &'static [Setting] = Keys::KEYS;

    fn write(&self) -> Table {
        let (program, pidfile) = match self.find_by.clone() {
            FindBy::Program(name) => (Some(name), None),
            FindBy::Pidfile(file) => (None, Some(file)),
        };
        Keys { program, pidfile, memory_max: self.memory_max }.write()
    }
}
