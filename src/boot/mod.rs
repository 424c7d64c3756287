//! What the product alone asks of the boot: the list of entries for people, the firmware's boot
//! options, the words of a kernel's command line.

pub mod firmware;
pub mod kernel_args;
pub mod listing;

#[cfg(test)]
pub(crate) mod tests;
