//! Abide's stage in the initramfs: what this boot is, found out before switch-root, and what ends a trial that hangs.

pub mod blind;
mod early;
mod emergency;
mod end_of_hangs;
pub mod esp;
pub mod initrd;
mod new_root;
pub mod other_trial;
mod pstore;
mod stranded;
pub mod trial_units;
mod watchdog;
