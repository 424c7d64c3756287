//! What a boot is told from.

use crate::boot::Entry;
use crate::disk::{RootArg, SlotName, Slots};
use crate::state::{BootNote, State};

/// Everything that says something about this boot. Each may be silent (`None`), and each may speak
/// of another boot or another system; none of them is trusted alone.
#[derive(Debug, Clone, Copy)]
pub struct Witnesses<'a> {
    /// The root that the running kernel was given: `root=`, `roothash=` or `boot_uuid=` of its command line.
    pub kernel: Option<&'a RootArg>,
    /// The slot that `/`, `/sysroot` or `/usr` is mounted from.
    pub mounted: Option<SlotName>,
    /// `LoaderEntrySelected`, folded: the entry that the loader says it started. It survives kexec and
    /// soft-reboot, and speaks of an older boot then.
    pub selected: Option<&'a str>,
    /// `LoaderBootCountPath`: the path of the entry that the loader counted in this boot, if it is that of
    /// the entry which it says it started; it may be left over from an earlier attempt.
    pub counted: Option<&'a str>,
    /// Whether another kernel has started this one (kexec), so that the loader's variables are stale.
    pub kexec: Option<bool>,
    /// The version that the running system's own os-release states.
    pub version: Option<&'a str>,
    /// Every boot entry on the ESP and XBOOTLDR, with its counter.
    pub entries: &'a [Entry],
    /// Both slots; none in the initramfs, and where the disk does not show them.
    pub slots: Option<&'a Slots>,
    /// What is remembered on the ESP.
    pub state: &'a State,
    /// Why that is not understood, where it is whole and that of a newer Abide.
    pub foreign: Option<&'a str>,
    /// What the initramfs stage or the generator noted in this boot.
    pub note: Option<&'a BootNote>,
    /// The kernel's id of this boot.
    pub boot_id: &'a str,
}

impl Witnesses<'_> {
    /// The slot that a root means, where the slots are known.
    #[must_use]
    pub fn slot_of(&self, root: &RootArg) -> Option<SlotName> {
        self.slots?.of_root(root)
    }

    /// The slot that an entry boots, where the slots are known and its command line names one.
    #[must_use]
    pub fn slot_of_entry(&self, entry: &Entry) -> Option<SlotName> {
        self.slots?.of_cmdline(entry.options.as_deref()?)
    }

    /// Whether two roots are one.
    #[must_use]
    pub fn is_same_root(&self, one: &RootArg, other: &RootArg) -> bool {
        let slot = self.slot_of(one);
        one.is_same(other) || slot.is_some() && slot == self.slot_of(other)
    }

    /// The root that an entry boots, where its command line names one.
    #[must_use]
    pub fn root_of(entry: &Entry) -> Option<RootArg> {
        entry.options.as_deref().and_then(RootArg::parse)
    }
}
