//! Who may do what: the part with the network has no rights, the part with rights has no network.

use crate::agent::next_step::Step;

/// What whoever runs this can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Powers {
    /// Talk to servers, and fetch.
    pub network: bool,
    /// Write the slot.
    pub write: bool,
    /// Steer the loader, and reboot.
    pub boot: bool,
}

impl Powers {
    /// Of root, by hand.
    pub const ALL: Self = Self { network: true, write: true, boot: true };
    /// Of `abide-update.service`, which is not root.
    pub const FETCH: Self = Self { network: true, write: false, boot: false };
    /// Of `abide-install.service`, first: it takes the image apart, without network.
    pub const WRITE: Self = Self { network: false, write: true, boot: false };
    /// Of `abide-install.service`, then.
    pub const BOOT: Self = Self { network: false, write: false, boot: true };

    /// Whether it can do this.
    pub(super) fn has(self, step: &Step) -> bool {
        match step {
            Step::Poll | Step::Fetch | Step::AskForTurn => self.network,
            Step::Write => self.write,
            Step::Apply | Step::Reboot => self.boot,
            Step::Wait(_) => true,
        }
    }

    /// Whether it is root, and can look at the machine.
    pub(super) fn is_root(self) -> bool {
        self.write || self.boot
    }
}
