//! How long the kernel has been running, from the procfs of any tree.

use std::time::Duration;

use procfs::{FromRead, Uptime};

use abide_core::root::Root;

/// The time since the kernel started; `None` if procfs does not show it.
#[must_use]
pub fn read(root: &Root) -> Option<Duration> {
    let uptime = Uptime::from_file(root.path("/proc/uptime")).ok()?;
    Duration::try_from_secs_f64(uptime.uptime).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_uptime_of_a_tree_is_read_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        assert_eq!(read(&root), None);
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let uptime = |text: &str| {
            std::fs::write(dir.path().join("proc/uptime"), text).unwrap();
            read(&root)
        };
        assert_eq!(uptime("12.50 40.00\n"), Some(Duration::from_millis(12_500)));
        assert_eq!(uptime("-1 0"), None);
        assert_eq!(uptime(""), None);
    }
}
