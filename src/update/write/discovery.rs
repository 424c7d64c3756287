//! Whether a boot could find a root by automatic discovery. Pure.

use abide_core::boot::Entry;
use abide_core::disk::RootArg;

/// Nodes that systemd makes for the root that it discovers: `gpt-auto-root` and, since 258, `by-designator`.
const DISCOVERED: [&str; 2] = ["/dev/gpt-auto-root", "/dev/disk/by-designator/"];

/// Whether one of these entries does not name its root, so that the initramfs may take any partition of the
/// right type: the one with the newest label, by systemd-gpt-auto-generator.
///
/// While a slot is written, it must not be that partition. Where every entry that stays names its root, none
/// boots the slot: the entries that do are removed before its first byte is overwritten.
pub fn matters<'a>(mut entries: impl Iterator<Item = &'a Entry>) -> bool {
    entries.any(|entry| entry.options.as_deref().is_none_or(discovers))
}

fn discovers(cmdline: &str) -> bool {
    match RootArg::parse(cmdline) {
        // `root=gpt-auto`, `root=dissect`, or nothing.
        None | Some(RootArg::Other(_)) => true,
        Some(RootArg::Node(node)) => DISCOVERED.iter().any(|prefix| node.starts_with(prefix)),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_discovered_unless_the_command_line_names_it() {
        for cmdline in [
            "quiet",
            "root=gpt-auto",
            "root=dissect",
            "root=/dev/gpt-auto-root",
            "root=/dev/disk/by-designator/root",
            "root=tmpfs",
        ] {
            assert!(discovers(cmdline), "{cmdline}");
        }
        for cmdline in [
            "root=PARTUUID=0b",
            "root=PARTLABEL=rootfs_b",
            "root=LABEL=root",
            "root=UUID=0b",
            "root=/dev/sda2",
            "roothash=0123456789abcdef0123456789abcdef",
            "boot_uuid=0b",
        ] {
            assert!(!discovers(cmdline), "{cmdline}");
        }
    }
}
