//! The stage that runs in the initramfs.

use crate::doctor::finding::Finding;

/// `ran`: whether it has written its note in this boot.
pub(super) fn look(ran: bool) -> Vec<Finding> {
    if ran {
        return vec![];
    }
    vec![
        Finding::error("initramfs-stage", "Abide's initramfs stage did not run in this boot (no /run/abide/boot.json)")
            .because(
                "without it a trial is not assessed and not committed, hangs in the initramfs do not end, and a fallback \
                 is not recorded",
            )
            .remedy(
                "build the image's initramfs with the dracut module `abide` (`lsinitrd` must show abide-initrd.service), \
                 and read `journalctl -b -u abide-initrd.service`",
            ),
    ]
}
