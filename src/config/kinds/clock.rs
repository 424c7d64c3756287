//! `kind = "clock"`: the clock is synchronised.

use abide_core::config::form::{Optional, Span};

use crate::config::table::settings;

settings! {
    /// `kind = "clock"`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ClockCheck {
        /// The largest clock error, as estimated by the kernel, with which the check passes.
        pub max_error: Optional<Span> = None, otherwise "any", example "500ms";
    }
}
