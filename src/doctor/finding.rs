//! One thing that is wrong with a machine, and what to do about it.

use serde::Serialize;

use abide_core::text;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It would prevent an update or a rollback.
    Error,
    /// It makes the machine less safe if something else fails, too.
    Warning,
}

impl Severity {
    /// The word in messages and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// What `abide doctor` found; its JSON form is a contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind; stable, and the heading under which the documentation explains it.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, in one sentence.
    pub what: String,
    /// Why that matters.
    pub cause: String,
    /// What to do.
    pub remedy: String,
    /// Whether `abide doctor --fix` can repair it.
    pub fixable: bool,
}

impl Finding {
    /// Something that would prevent an update or a rollback.
    pub(super) fn error(id: &'static str, what: impl Into<String>) -> Self {
        Self::new(id, Severity::Error, what.into())
    }

    /// Something that makes it less safe.
    pub(super) fn warning(id: &'static str, what: impl Into<String>) -> Self {
        Self::new(id, Severity::Warning, what.into())
    }

    fn new(id: &'static str, severity: Severity, what: String) -> Self {
        Self {
            id,
            severity,
            what: text::printable(&what),
            cause: String::new(),
            remedy: String::new(),
            fixable: false,
        }
    }

    pub(super) fn because(self, cause: impl Into<String>) -> Self {
        Self { cause: text::printable(&cause.into()), ..self }
    }

    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: text::printable(&remedy.into()), ..self }
    }

    /// `abide doctor --fix` can repair it.
    pub(super) fn fixable(self) -> Self {
        Self { fixable: true, ..self }
    }
}
