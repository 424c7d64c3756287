//! What runs at boot: in the initramfs, and beside the boot of a system on trial.

#[cfg(feature = "full")]
pub mod assess;
pub mod emergency;
#[cfg(feature = "full")]
pub mod every_boot;
pub mod hooks;
pub mod initrd;
#[cfg(feature = "full")]
mod notify;
#[cfg(feature = "full")]
mod post_mortem;
#[cfg(feature = "full")]
mod progress;
mod pstore;
#[cfg(feature = "full")]
pub mod report;
#[cfg(feature = "full")]
mod terminate;
#[cfg(feature = "full")]
pub mod updating;
mod watchdog;
