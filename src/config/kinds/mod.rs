//! The kinds of check: their table ([`check_kind`]), and one file a kind with the keys of `[[check]]` that only this
//! kind has.

pub mod check_kind;
mod clock;
mod command;
mod confirm;
mod disk;
mod file;
mod http;
mod kernel;
mod mount;
mod network;
mod process;
mod system;
mod unit;

pub use check_kind::CheckKind;
pub use clock::ClockCheck;
pub use command::CommandCheck;
pub use confirm::ConfirmCheck;
pub use disk::DiskCheck;
pub use file::FileCheck;
pub use http::{HttpCheck, Method};
pub use kernel::{KernelCheck, Taint};
pub use mount::MountCheck;
pub use network::{Family, NetworkCheck};
pub use process::{FindBy, ProcessCheck};
pub use system::SystemCheck;
pub use unit::UnitCheck;
