//! What can go wrong, and the exit code that each kind of failure has.

use std::fmt::Display;

/// An error as the user sees it: one line that names the thing, the cause and,
/// where there is one, the remedy. The variant decides the exit code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Anything that has no code of its own.
    #[error("{0}")]
    Failed(String),
    /// The command line or the configuration is wrong.
    #[error("{0}")]
    Usage(String),
    /// The image could not be read, or the slot could not be written.
    #[error("{0}")]
    Image(String),
    /// The boot configuration could not be read or changed.
    #[error("{0}")]
    Boot(String),
    /// There is nothing to apply, commit or roll back.
    #[error("{0}")]
    Nothing(String),
    /// Refused by the policy: failed before, too early, a downgrade, a pinned default, does not fit.
    #[error("{0}")]
    Refused(String),
    /// A digest or signature does not match, or the data read back differs from what was written.
    #[error("{0}")]
    Unverified(String),
    /// Another Abide holds the lock.
    #[error("{0}")]
    Busy(String),
}

/// The result of everything fallible in this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The process exit code; stable, and part of the contract.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Image(_) => 3,
            Self::Boot(_) => 4,
            Self::Nothing(_) => 5,
            Self::Refused(_) => 6,
            Self::Unverified(_) => 7,
            Self::Busy(_) => 8,
        }
    }
}

/// Converts a foreign error into one of ours, with the thing that it is about.
///
/// `fs::read(&path).or_boot(|| format!("{}: cannot read", path.display()))`
pub trait OrError<T> {
    /// As [`Error::Failed`].
    fn or_failed<C: Display>(self, what: impl FnOnce() -> C) -> Result<T>;
    /// As [`Error::Usage`].
    fn or_usage<C: Display>(self, what: impl FnOnce() -> C) -> Result<T>;
    /// As [`Error::Image`].
    fn or_image<C: Display>(self, what: impl FnOnce() -> C) -> Result<T>;
    /// As [`Error::Boot`].
    fn or_boot<C: Display>(self, what: impl FnOnce() -> C) -> Result<T>;
}

impl<T, E: Display> OrError<T> for std::result::Result<T, E> {
    fn or_failed<C: Display>(self, what: impl FnOnce() -> C) -> Result<T> {
        self.map_err(|e| Error::Failed(format!("{}: {e}", what())))
    }
    fn or_usage<C: Display>(self, what: impl FnOnce() -> C) -> Result<T> {
        self.map_err(|e| Error::Usage(format!("{}: {e}", what())))
    }
    fn or_image<C: Display>(self, what: impl FnOnce() -> C) -> Result<T> {
        self.map_err(|e| Error::Image(format!("{}: {e}", what())))
    }
    fn or_boot<C: Display>(self, what: impl FnOnce() -> C) -> Result<T> {
        self.map_err(|e| Error::Boot(format!("{}: {e}", what())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_codes_are_those_of_the_contract() {
        let all = [
            Error::Failed(String::new()),
            Error::Usage(String::new()),
            Error::Image(String::new()),
            Error::Boot(String::new()),
            Error::Nothing(String::new()),
            Error::Refused(String::new()),
            Error::Unverified(String::new()),
            Error::Busy(String::new()),
        ];
        let codes: Vec<u8> = all.iter().map(Error::exit_code).collect();
        assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
