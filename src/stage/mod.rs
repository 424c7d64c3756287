//! What runs at boot: in the initramfs, and beside the boot of a system on trial.

pub mod hooks;
pub mod initrd;
mod watchdog;
