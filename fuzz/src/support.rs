//! What the integration tests make images of.
#![allow(dead_code, clippy::indexing_slicing)]

#[path = "../../tests/support/image.rs"]
pub mod image;
#[path = "../../tests/support/uki.rs"]
pub mod uki;

/// What the images above want to know of the tests' machine.
pub mod tree {
    /// The command line that boots a slot.
    pub fn cmdline(slot: &str) -> String {
        format!("root=PARTUUID=00000000-0000-4000-8000-00000000000{slot} panic=10 quiet")
    }
}
