//! Code about booting that only the product needs: the list of entries for people, a simulation of the next boots,
//! names of new entries, the firmware's boot options, the words of a kernel's command line.

pub mod directory_room;
pub mod firmware;
pub mod initramfs_stage;
pub mod installed_version;
pub mod kernel_args;
pub mod listing;
pub mod names;
pub mod secure_boot;
pub mod simulation;
