//! What lies over the partitions of the slots, where that keeps an update from being written.

use crate::doctor::finding::Finding;
use abide_core::disk::Layout;
use abide_core::disk::layout::{Fault, FaultKind};

pub(super) fn look(layout: &Layout) -> Vec<Finding> {
    layout.faults.iter().map(finding).collect()
}

fn finding(fault: &Fault) -> Finding {
    let what = fault.what.as_str();
    let found = match fault.kind {
        FaultKind::Unsupported => Finding::error("layout", what)
            .because("an image cannot be written so that its initramfs finds it; `abide write` refuses"),
        FaultKind::NotOpen => Finding::error("not-open", what)
            .because("an update is written through the opened device; `abide write` refuses"),
        FaultKind::Missing => Finding::error("no-hash-partition", what).because(
            "an update needs a place for its hash tree and for its root hash; `abide write` refuses",
        ),
        FaultKind::Tight => {
            Finding::warning("hash-tree-room", what).because("an image that fills its slot is refused")
        }
    };
    found.remedy(fault.remedy.as_str())
}
