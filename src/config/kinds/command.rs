//! `kind = "command"`: a program exits with status 0.

use abide_core::config::section::Section;
use abide_core::error::Result;

/// `kind = "command"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandCheck {
    /// The program and its arguments.
    pub command: Vec<String>,
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
