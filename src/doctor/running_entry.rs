//! A running system without its boot entry.

use abide_core::error::Error;

use crate::doctor::finding::Finding;

/// `why` the entry is unknown.
pub(super) fn unknown(why: &Error) -> Finding {
    Finding::error("running-entry", why.to_string())
        .because(
            "a failed update falls back to the entry of the running system; `abide apply` refuses without it",
        )
        .remedy("put the running system's UKI back into EFI/Linux on the ESP")
}
