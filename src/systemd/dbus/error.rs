//! Why a call over D-Bus has no reply.

use std::fmt;
use std::io;

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DbusError {
    /// This way cannot be used: no socket, a lost connection, or a reply that is not D-Bus.
    Unusable(String),
    /// systemd accepted the call, and did not reply in time.
    TimedOut(String),
}

impl fmt::Display for DbusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(why) | Self::TimedOut(why) => f.write_str(why),
        }
    }
}

pub(super) fn lost(e: io::Error) -> DbusError {
    DbusError::Unusable(format!("lost the connection to systemd: {e}"))
}

pub(super) fn cannot_parse(e: impl fmt::Display) -> DbusError {
    DbusError::Unusable(format!("cannot parse systemd's reply: {e}"))
}
