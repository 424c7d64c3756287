//! `kind = "kernel"`: the kernel has not crashed, and nothing has locked up.

use abide_core::config::form::{Flag, Word, Words};

use crate::config::forms::List;
use crate::config::table::settings;

settings! {
    /// `kind = "kernel"`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct KernelCheck {
        /// The taints of the kernel with which the check fails.
        pub taints: List<Word<Taint>> = vec![Taint::MachineCheck, Taint::BadPage, Taint::Die, Taint::Lockup];
        /// Whether the kernel's log is searched for crashes, lockups and hung tasks.
        pub log: Flag = true;
    }
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

impl Words for Taint {
    type Value = Self;
    const WORDS: &'static [(&'static str, Self)] = &[
        ("machine-check", Self::MachineCheck),
        ("bad-page", Self::BadPage),
        ("die", Self::Die),
        ("warn", Self::Warn),
        ("out-of-tree", Self::OutOfTree),
        ("unsigned", Self::Unsigned),
        ("lockup", Self::Lockup),
    ];
}
