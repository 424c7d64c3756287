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
                "without it a trial is assessed only once its root is mounted: a hang or a failure before that is not \
                 ended, and a fallback is recorded by the next command only",
            )
            .remedy(
                "build the image's initramfs with the dracut module `abide` (`lsinitrd` must show abide-initrd.service), \
                 and read `journalctl -b -u abide-initrd.service`",
            ),
    ]
}
