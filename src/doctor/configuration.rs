//! A configuration that is refused.

use abide_core::error::Error;

use crate::doctor::finding::Finding;

/// `why` it is refused.
pub(super) fn refused(why: &Error) -> Finding {
    Finding::error("configuration", why.to_string())
        .because("every command refuses it, and a trial with this configuration fails")
        .remedy("correct it, and verify it with `abide config`")
}
