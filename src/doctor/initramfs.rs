//! The stage that runs in the initramfs.

use crate::doctor::finding::Finding;

/// `ran` says whether it left its note in this boot.
pub(super) fn look(ran: bool) -> Vec<Finding> {
    if ran {
        return vec![];
    }
    vec![
        Finding::error("initramfs-stage", "Abide's initramfs stage did not run in this boot (no /run/abide/boot.json)")
            .because(
                "without it a trial is not assessed, not committed, and not guarded until its own user space is up; a \
                 fallback is not recorded",
            )
            .remedy(
                "build the initramfs of the image with the dracut module `abide` (`lsinitrd` shows whether \
                 abide-initrd.service is in it), and look at `journalctl -b -u abide-initrd.service`",
            ),
    ]
}
