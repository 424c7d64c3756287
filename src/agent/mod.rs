//! The update agent: installs updates without an operator, as the policy and the maintenance windows allow.
//!
//! A run is a loop ([`run`]): everything that matters is read ([`observe`]), the next step follows from it
//! ([`next_step`], pure), and is done ([`fetch`], [`install`], [`reboot_lock`]). Each step may be interrupted and
//! repeated.
//!
//! Where updates come from is a [`source`]: a feed, or a hawkBit server. What a new source needs is said there.
//!
//! The units share the steps by privilege ([`Privileges`]). `abide-update.service` has the network and is not
//! root: it fetches into the cache. `abide-install.service` is root and installs without network; it verifies
//! the signature, the policy and the digests again, since the content of the cache is untrusted. A command run
//! by root does both, in a cache that it has taken over ([`crate::feed::ownership`]).

mod clock;
mod context;
mod cost;
mod end;
mod fetch;
mod fleetlock;
mod give_up;
mod goal;
mod hand_over;
mod inhibit;
mod install;
mod learn;
mod memory;
mod mode;
mod next_step;
mod notice;
mod observe;
mod privileges;
mod reboot_lock;
mod run;
mod schedule;
mod source;
mod survey;
mod timing;
mod view;

pub use cost::Cost;
pub use end::{End, RunResult};
pub use goal::{Subject, Wait};
pub use hand_over::{hand_over, take_back};
pub use mode::Mode;
pub use notice::Notice;
pub use privileges::Privileges;
pub use run::run;
pub use survey::leave_survey;
