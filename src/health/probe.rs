//! A check ready to run, whatever its kind.

use std::time::Duration;

use super::Finding;
use super::command::CommandProbe;
use super::network::NetworkProbe;
use super::system::SystemProbe;
use super::unit::UnitProbe;
use crate::config::{CheckConfig, CheckKind};
use crate::root::Root;
use crate::state::Baseline;

/// A check with what it has seen so far.
#[derive(Debug)]
pub enum Probe {
    /// `kind = "system"`
    System(SystemProbe),
    /// `kind = "unit"`
    Unit(UnitProbe),
    /// `kind = "network"`
    Network(NetworkProbe),
    /// `kind = "command"`
    Command(CommandProbe),
}

impl Probe {
    /// The check that `config` describes; `baseline` is how the last committed system looked.
    #[must_use]
    pub fn new(config: &CheckConfig, baseline: &Baseline, root: &Root) -> Self {
        match &config.kind {
            CheckKind::System(kind) => Self::System(SystemProbe::new(kind, &baseline.failed_units, root)),
            CheckKind::Unit(kind) => Self::Unit(UnitProbe::new(kind, root)),
            CheckKind::Network(kind) => Self::Network(NetworkProbe::new(kind, root)),
            CheckKind::Command(kind) => Self::Command(CommandProbe::new(&config.name, kind, root)),
        }
    }

    /// Runs it once, for about `limit` at most.
    pub fn run(&mut self, limit: Duration) -> Finding {
        match self {
            Self::System(probe) => probe.run(limit),
            Self::Unit(probe) => probe.run(limit),
            Self::Network(probe) => probe.run(limit),
            Self::Command(probe) => probe.run(limit),
        }
    }
}
