//! The names of the files beside a root. No pattern of systemd-sysupdate for an image matches them.

/// The map of the root whose unpacked file has this name.
#[must_use]
pub fn map(unpacked: &str) -> String {
    format!("{unpacked}.map")
}

/// The patch that makes the root from that of the version `old`.
#[must_use]
pub fn patch(unpacked: &str, old: &str) -> String {
    format!("{unpacked}.from-{old}.patch")
}

/// The name of a root without that of its packing. None if it is not packed with zstd, and so has no frames.
#[must_use]
pub fn unpacked(root: &str) -> Option<&str> {
    root.strip_suffix(".zst")
}
