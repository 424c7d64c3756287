//! `kind = "kernel"`: the kernel has not crashed, and nothing has locked up.

use abide_core::config::section::Section;
use abide_core::error::Result;

/// `kind = "kernel"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelCheck {
    /// The taints that fail.
    pub taints: Vec<Taint>,
    /// Whether the kernel's log is searched for crashes and lockups.
    pub log: bool,
}

/// What may have tainted the kernel (Linux, Documentation/admin-guide/tainted-kernels.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taint {
    /// A machine check exception.
    MachineCheck,
    /// A page in a bad state.
    BadPage,
    /// An oops or BUG.
    Die,
    /// A warning.
    Warn,
    /// A module from outside the kernel's tree.
    OutOfTree,
    /// An unsigned module.
    Unsigned,
    /// A soft lockup.
    Lockup,
}

impl KernelCheck {
    pub(in crate::config) fn read(section: &mut Section<'_>) -> Result<Self> {
        let words = [
            ("machine-check", Taint::MachineCheck),
            ("bad-page", Taint::BadPage),
            ("die", Taint::Die),
            ("warn", Taint::Warn),
            ("out-of-tree", Taint::OutOfTree),
            ("unsigned", Taint::Unsigned),
            ("lockup", Taint::Lockup),
        ];
        Ok(Self {
            taints: section
                .words("taints", &words)?
                .unwrap_or_else(|| vec![Taint::MachineCheck, Taint::BadPage, Taint::Die, Taint::Lockup]),
            log: section.flag("log")?.unwrap_or(true),
        })
    }
}
