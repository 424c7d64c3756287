//! Abide's stage in the initramfs: what this boot is, found out before switch-root, and what ends a trial that hangs.

pub mod emergency;
pub mod initrd;
mod pstore;
pub mod trial_units;
mod watchdog;
