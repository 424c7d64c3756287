//! A running system without its boot entry.

use abide_core::error::Error;
use abide_core::update::finding::Contradiction;

use crate::doctor::finding::Finding;

/// `why` the entry is unknown.
pub(super) fn unknown(why: &Error) -> Finding {
    Finding::error("running-entry", why.to_string())
        .because(
            "a failed update falls back to the entry of the running system; `abide apply` refuses without it",
        )
        .remedy("put the running system's UKI back into EFI/Linux on the ESP")
}

/// The contradiction that keeps it unknown what this boot is.
pub(super) fn contradiction(found: &Contradiction) -> Finding {
    let row = found.kind.row();
    Finding::error("unknown-boot", found.seen.clone())
        .because(format!("it is unknown whether this boot is committed: {}", row.decided))
        .remedy(row.remedy)
}
