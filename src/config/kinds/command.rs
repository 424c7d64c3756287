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
        let is_list = matches!(node.value, Value::List(_));
        let first = words.first().map_or("", String::as_str);
        // The shell succeeds with a text that holds no command: such a check would always pass.
        if first.trim().is_empty() || !is_list && is_comment(first) {
            return Err(wrong(node, key, "a program, such as [\"/path/to/program\"]"));
        }
        if is_list {
            return Ok(words);
        }
        Ok(["/bin/sh", "-c"].into_iter().map(str::to_owned).chain(words).collect())
    }
}

/// Whether a text for the shell has nothing but comments and blanks.
fn is_comment(text: &str) -> bool {
    text.lines().map(str::trim_start).all(|line| line.is_empty() || line.starts_with('#'))
}

impl DescribedForm for CommandLine {
    fn write(value: &Vec<String>) -> Option<Value> {
        List::<Text>::write(value)
    }

    fn described() -> String {
        "list of texts, or text".into()
    }
}
