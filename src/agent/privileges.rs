//! Who may do what: the part with network access is not root, the part that is root has no network.

/// What a run may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Privileges {
    /// Talk to servers, and fetch into the cache.
    pub network: bool,
    /// Write the slot.
    pub write: bool,
    /// Change the boot entries, and reboot.
    pub boot: bool,
}

impl Privileges {
    /// Of a command run by root.
    pub const ALL: Self = Self { network: true, write: true, boot: true };
    /// Of `abide-update.service`, which is not root.
    pub const FETCH: Self = Self { network: true, write: false, boot: false };
    /// Of the first command of `abide-install.service`: it parses the image, without network.
    pub const WRITE: Self = Self { network: false, write: true, boot: false };
    /// Of the second command of `abide-install.service`.
    pub const BOOT: Self = Self { network: false, write: false, boot: true };

    /// Whether the run is root, and can examine the machine.
    #[must_use]
    pub fn is_root(self) -> bool {
        self.write || self.boot
    }
}
