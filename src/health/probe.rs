//! A check ready to run, whatever its kind.

use std::time::Duration;

use crate::config::{CheckConfig, CheckKind};
use crate::health::ProbeResult;
use crate::health::kinds::clock::ClockProbe;
use crate::health::kinds::command::CommandProbe;
use crate::health::kinds::confirm::ConfirmProbe;
use crate::health::kinds::disk::DiskProbe;
use crate::health::kinds::file::FileProbe;
use crate::health::kinds::http::HttpProbe;
use crate::health::kinds::kernel::KernelProbe;
use crate::health::kinds::mount::MountProbe;
use crate::health::kinds::network::NetworkProbe;
use crate::health::kinds::process::ProcessProbe;
use crate::health::kinds::system::SystemProbe;
use crate::health::kinds::unit::UnitProbe;
use abide_core::root::Root;
use abide_core::state::Baseline;

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
    /// `kind = "http"`
    Http(HttpProbe),
    /// `kind = "process"`
    Process(ProcessProbe),
    /// `kind = "file"`
    File(FileProbe),
    /// `kind = "mount"`
    Mount(MountProbe),
    /// `kind = "disk"`
    Disk(DiskProbe),
    /// `kind = "kernel"`
    Kernel(KernelProbe),
    /// `kind = "clock"`
    Clock(ClockProbe),
    /// `kind = "confirm"`
    Confirm(ConfirmProbe),
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
            CheckKind::Http(kind) => Self::Http(HttpProbe::new(kind, root)),
            CheckKind::Process(kind) => Self::Process(ProcessProbe::new(kind, root)),
            CheckKind::File(kind) => Self::File(FileProbe::new(kind, root)),
            CheckKind::Mount(kind) => Self::Mount(MountProbe::new(kind, root)),
            CheckKind::Disk(kind) => Self::Disk(DiskProbe::new(kind, root)),
            CheckKind::Kernel(kind) => Self::Kernel(KernelProbe::new(kind, root)),
            CheckKind::Clock(kind) => Self::Clock(ClockProbe::new(kind, root)),
            CheckKind::Confirm(kind) => Self::Confirm(ConfirmProbe::new(kind, root)),
        }
    }

    /// The end of what its program put out in the last run; empty where it runs none.
    #[must_use]
    pub fn output(&self) -> String {
        match self {
            Self::Command(probe) => probe.output().to_owned(),
            _ => String::new(),
        }
    }

    /// Runs it once, for about `limit` at most.
    pub fn run(&mut self, limit: Duration) -> ProbeResult {
        match self {
            Self::System(probe) => probe.run(limit),
            Self::Unit(probe) => probe.run(limit),
            Self::Network(probe) => probe.run(limit),
            Self::Command(probe) => probe.run(limit),
            Self::Http(probe) => probe.run(limit),
            Self::Process(probe) => probe.run(limit),
            Self::File(probe) => probe.run(limit),
            Self::Mount(probe) => probe.run(limit),
            Self::Disk(probe) => probe.run(limit),
            Self::Kernel(probe) => probe.run(limit),
            Self::Clock(probe) => probe.run(limit),
            Self::Confirm(probe) => probe.run(limit),
        }
    }
}
