//! `kind = "command"`: a program exits with status 0.

use abide_core::config::form::Text;
use abide_core::config::section::{Form, Section, wrong};
use abide_core::config::tree::{Node, Value};
use abide_core::error::Result;

use crate::config::described::DescribedForm;
use crate::config::forms::List;
use crate::config::table::settings;

settings! {
    /// `kind = "command"`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CommandCheck {
        /// The program and its arguments as a list, or a text for `/bin/sh -c`.
        pub command: CommandLine, example ["/usr/bin/app", "--self-test"];
    }
}

/// A program and its arguments, or a text for the shell.
#[derive(Debug)]
pub struct CommandLine;

impl Form for CommandLine {
    type Value = Vec<String>;

    fn read(section: &Section<'_>, key: &str, node: &Node) -> Result<Vec<String>> {
        let words = List::<Text>::read(section, key, node)?;
        if words.first().is_none_or(String::is_empty) {
            return Err(wrong(node, key, "a program, such as [\"/path/to/program\"]"));
        }
        if let Value::List(_) = node.value {
            return Ok(words);
        }
        Ok(["/bin/sh", "-c"].into_iter().map(str::to_owned).chain(words).collect())
    }
}

impl DescribedForm for CommandLine {
    fn write(value: &Vec<String>) -> Option<Value> {
        List::<Text>::write(value)
    }

    fn described() -> String {
        "list of texts, or text".into()
    }
}
