//! The deadline that is configured, where it is not the one that the timer has.
//!
//! The initramfs stage, or the generator, sets the timer of a trial from the configuration that it can read. More of it may
//! be in an `/etc` that is mounted later. So the assessment and the deadline's own unit, which read all of it, set the
//! timer again.

use std::time::Duration;

use log::info;

use crate::files;
use crate::health::MonotonicClock;
use crate::systemd::Systemctl;
use crate::uptime;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::state::run_file;
use abide_core::update::deadline::drop_in;

const TIMER: &str = "abide-deadline.timer";

/// How long systemd may take to read its unit files again.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the initramfs or the generator has set.
const SET_EARLY: [&str; 2] = [
    "/run/systemd/system/abide-deadline.timer.d/10-trial.conf",
    "/run/systemd/generator/abide-deadline.timer.d/10-trial.conf",
];

/// What systemd was told last: setting the timer may be interrupted.
const IN_FORCE: &str = "/run/abide/deadline";

/// What is set here; it sorts after the other.
const SET_HERE: &str = "/run/systemd/system/abide-deadline.timer.d/20-configured.conf";

/// Whether a deadline has passed, counted from the start of the kernel on the monotonic clock. True where no clock tells.
#[must_use]
pub(super) fn has_passed(root: &Root, deadline: Duration) -> bool {
    (!root.is_live() && uptime::read(root).is_none()) || MonotonicClock::new(root).now() >= deadline
}

/// Sets the timer to the configured deadline, if it has another. Below a folder, systemd is not asked.
///
/// # Errors
/// [`Error::Failed`] if the timer cannot be set; it has the old deadline then.
pub(super) fn set(root: &Root, deadline: Duration) -> Result<()> {
    let wanted = drop_in(deadline);
    let read = |path: &&str| files::read_text(&root.path(*path)).ok().flatten();
    let early = SET_EARLY.iter().find_map(read).filter(|_| !root.path(SET_HERE).exists());
    if read(&IN_FORCE).or(early).as_ref() == Some(&wanted) {
        return Ok(());
    }
    set_again(root, deadline)
}

/// Sets the timer, whatever it has: it has elapsed.
///
/// # Errors
/// As [`set`].
pub(super) fn set_again(root: &Root, deadline: Duration) -> Result<()> {
    let wanted = drop_in(deadline);
    run_file::write(root, SET_HERE, &wanted)?;
    info!("the deadline of this trial is {} s after the start of the kernel", deadline.as_secs());
    if root.is_live() {
        let told = Systemctl::new(root, PATIENCE).reload_and_restart(TIMER);
        told.map_err(|why| Error::Failed(format!("cannot set {TIMER}: {why}")))?;
    }
    run_file::write(root, IN_FORCE, &wanted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    fn tree(early: u64, uptime: u64) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let early_file = root.path(SET_EARLY[0]);
        fs::create_dir_all(early_file.parent().unwrap()).unwrap();
        fs::write(early_file, format!("[Timer]\nOnBootSec=\nOnBootSec={early}s\n")).unwrap();
        fs::create_dir_all(root.path("/proc")).unwrap();
        fs::write(root.path("/proc/uptime"), format!("{uptime}.00 1.00\n")).unwrap();
        (dir, root)
    }

    #[test]
    fn the_timer_gets_the_deadline_that_only_the_real_root_knows() {
        for (early, configured) in [(1202, 3600), (3602, 300)] {
            let (_dir, root) = tree(early, 60);
            set(&root, Duration::from_secs(configured)).unwrap();
            let written = fs::read_to_string(root.path(SET_HERE)).unwrap();
            assert!(written.ends_with(&format!("OnBootSec={}s\n", configured + 2)), "{written}");
        }
    }

    #[test]
    fn a_timer_that_has_the_configured_deadline_is_left_alone() {
        let (_dir, root) = tree(1202, 60);
        set(&root, Duration::from_secs(1200)).unwrap();
        assert!(!root.path(SET_HERE).exists());
        // Set here and back again.
        set(&root, Duration::from_secs(600)).unwrap();
        set(&root, Duration::from_secs(1200)).unwrap();
        assert!(fs::read_to_string(root.path(SET_HERE)).unwrap().contains("1202s"));
    }

    #[test]
    fn a_timer_whose_setting_was_interrupted_is_set_again() {
        let (_dir, root) = tree(1202, 60);
        set(&root, Duration::from_secs(600)).unwrap();
        // Written, and systemd was not told.
        fs::remove_file(root.path(IN_FORCE)).unwrap();
        fs::remove_file(root.path(SET_HERE)).unwrap();
        fs::write(root.path(SET_HERE), drop_in(Duration::from_secs(600))).unwrap();
        set(&root, Duration::from_secs(600)).unwrap();
        assert!(root.path(IN_FORCE).exists());
    }

    #[test]
    fn a_deadline_counts_from_the_start_of_the_kernel() {
        let (_dir, root) = tree(1202, 1203);
        assert!(has_passed(&root, Duration::from_secs(1200)));
        assert!(!has_passed(&root, Duration::from_secs(3600)));
        fs::remove_file(root.path("/proc/uptime")).unwrap();
        assert!(has_passed(&root, Duration::from_secs(3600)), "nothing tells the time");
    }
}
