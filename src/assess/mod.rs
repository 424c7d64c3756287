//! The assessment, beside the boot of a system on trial and of a committed one.

pub mod every_boot;
mod post_mortem;
mod progress;
mod terminate;
pub mod trial_boot;
