//! The probe of each kind.

use crate::config::{CheckConfig, CheckKind};
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
use crate::health::probe::Probe;
use abide_core::root::Root;
use abide_core::state::Baseline;

/// The probe that `config` asks for; `baseline` is the state of the last committed system.
#[must_use]
pub fn new_probe(config: &CheckConfig, baseline: &Baseline, root: &Root) -> Box<dyn Probe> {
    match &config.kind {
        CheckKind::System(kind) => Box::new(SystemProbe::new(kind, &baseline.failed_units, root)),
        CheckKind::Unit(kind) => Box::new(UnitProbe::new(kind, root)),
        CheckKind::Network(kind) => Box::new(NetworkProbe::new(kind, root)),
        CheckKind::Command(kind) => Box::new(CommandProbe::new(&config.name, kind, root)),
        CheckKind::Http(kind) => Box::new(HttpProbe::new(kind, root)),
        CheckKind::Process(kind) => Box::new(ProcessProbe::new(kind, root)),
        CheckKind::File(kind) => Box::new(FileProbe::new(kind, root)),
        CheckKind::Mount(kind) => Box::new(MountProbe::new(kind, root)),
        CheckKind::Disk(kind) => Box::new(DiskProbe::new(kind, root)),
        CheckKind::Kernel(kind) => Box::new(KernelProbe::new(kind, root)),
        CheckKind::Clock(kind) => Box::new(ClockProbe::new(kind, root)),
        CheckKind::Confirm(kind) => Box::new(ConfirmProbe::new(kind, root)),
    }
}
