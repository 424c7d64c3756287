//! What each kind of check is told: the keys of `[[check]]` that only this kind has.

mod answers;
mod machine;
mod network;
mod services;

pub use answers::{ConfirmCheck, HttpCheck, Method};
pub use machine::{ClockCheck, DiskCheck, FileCheck, KernelCheck, MountCheck, Taint};
pub use network::{Family, NetworkCheck};
pub use services::{CommandCheck, ProcessCheck, SystemCheck, UnitCheck, Which};
