//! `kind = "network"`: an interface is usable, there is a default route, and its gateway answers.

mod ping;
mod probe;
mod state;

pub use probe::NetworkProbe;
