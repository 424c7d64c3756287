//! The stage that runs in the initramfs.

use crate::doctor::finding::Finding;

/// `ran`: whether it has written its note in this boot.
pub(super) fn look(ran: bool) -> Vec<Finding> {
    if ran {
        return vec![];
    }
    vec![
        Finding::warning("initramfs-stage", "Abide's initramfs stage did not run in this boot")
            .because(
                "without it a trial is assessed only once its root is mounted: Abide cannot end a boot that hangs or \
                 fails before that, and a fallback is recorded only when the next command runs",
            )
            .remedy(
                "build the image's initramfs with the dracut module `abide` (`lsinitrd` must show abide-initrd.service), \
                 and read `journalctl -b -u abide-initrd.service`",
            ),
    ]
}
