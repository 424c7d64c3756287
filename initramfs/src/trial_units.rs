//! Brings Abide's units into a trial boot, and into no other.
//!
//! Written to `/run/systemd/system` from the initramfs: the new system's systemd reads it when it
//! starts. So a committed boot knows nothing of these units, and a trial does not depend on
//! presets having been applied when the image was built.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use abide_core::error::{OrError, Result};
use abide_core::root::Root;
use abide_core::update::deadline::drop_in;

const RUN: &str = "/run/systemd/system";
const UNITS: &str = "/usr/lib/systemd/system";

/// Which unit pulls in which.
const LINKS: [(&str, &str); 5] = [
    // Wanted by the first target there is, so that nothing has to be reached before it starts.
    ("sysinit.target.wants", "abide-deadline.timer"),
    // As systemd's own generator does for systemd-bless-boot.service. It requires
    // boot-complete.target, which is pulled in by nothing else.
    ("basic.target.wants", "abide-commit.service"),
    ("boot-complete.target.requires", "abide-assess.service"),
    // These targets would wait for a person, and nobody is there.
    ("emergency.target.wants", "abide-rollback.service"),
    ("rescue.target.wants", "abide-rollback.service"),
];

/// Where a system keeps its units (systemd.unit(5)).
const SEARCHED: [&str; 4] =
    ["/etc/systemd/system", "/usr/local/lib/systemd/system", UNITS, "/lib/systemd/system"];

/// The trial can no longer succeed if any unit fails that boot-complete.target requires, or if the
/// system enters emergency mode.
const ON_FAILURE: &str = "[Unit]\nOnFailure=abide-rollback.service\n";

/// Where systemd looks for changes to its own configuration; a file of another name in `/etc` that
/// sorts later still wins.
const MANAGER: &str = "/run/systemd/system.conf.d/00-abide.conf";

/// If systemd crashes, it freezes unless it is configured to reboot, and the deadline's timer stops,
/// too. (Since systemd 256 the key is an old name of `CrashAction=`, and still works.)
const REBOOT_ON_CRASH: &str = "[Manager]\nCrashReboot=yes\n";

/// The watchdog that the initramfs stage has started must be fed. systemd does that only if it is
/// configured to. Otherwise the watchdog would reset the machine in the middle of a good trial.
const FEED_WATCHDOG: &str = "RuntimeWatchdogSec=1min\n";
const WATCHDOG: &str = "/dev/watchdog";

/// Makes the system that boots next start the assessment, the commit and the deadline. `deadline` counts
/// from the start of the kernel.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if `/run/systemd/system` of `root` cannot be written. A trial
/// must not continue then: nothing would end it.
pub fn install(root: &Root, deadline: Duration) -> Result<()> {
    write_into(&root.path(RUN), deadline)?;
    end_what_hangs(root)
}

/// Writes the units of a trial into `folder`, from where systemd reads them. `deadline` counts from the start of
/// the kernel.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it cannot be written.
pub fn write_into(folder: &Path, deadline: Duration) -> Result<()> {
    write(&folder.join("abide-deadline.timer.d/10-trial.conf"), &drop_in(deadline))?;
    write(&folder.join("boot-complete.target.d/10-trial.conf"), ON_FAILURE)?;
    LINKS.iter().try_for_each(|(target, unit)| link(folder, target, unit))
}

/// The units that a trial needs and that `system` does not have, or has masked: nothing would end a trial of it.
#[must_use]
pub fn missing_in(system: &Root) -> Vec<&'static str> {
    let has = |unit: &str| {
        SEARCHED.iter().any(|dir| system.resolve(Path::new(dir).join(unit)).is_ok_and(|path| path.is_file()))
    };
    let mut needed: Vec<&str> =
        LINKS.iter().map(|(_, unit)| *unit).chain(["abide-deadline.service"]).collect();
    needed.sort_unstable();
    needed.dedup();
    needed.into_iter().filter(|unit| !has(unit)).collect()
}

/// For a committed system whose boots are counted: makes it get its tries back once it is healthy,
/// whatever units it has enabled, and makes it reset itself if it hangs.
///
/// # Errors
/// As [`install`]; the boot continues then.
pub fn install_for_counted(root: &Root) -> Result<()> {
    end_what_hangs(root)?;
    link(&root.path(RUN), "multi-user.target.wants", "abide-every-boot.service")
}

/// Configures systemd to reboot if it crashes, and to feed the watchdog that was started.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if `/run/systemd` of `root` cannot be written.
pub(crate) fn end_what_hangs(root: &Root) -> Result<()> {
    let feed = if root.path(WATCHDOG).exists() { FEED_WATCHDOG } else { "" };
    write(&root.path(MANAGER), &format!("{REBOOT_ON_CRASH}{feed}"))
}

fn write(path: &Path, text: &str) -> Result<()> {
    create_parent(path)?;
    fs::write(path, text).or_failed(|| format!("{}: cannot write", path.display()))
}

fn link(folder: &Path, target: &str, unit: &str) -> Result<()> {
    let path = folder.join(target).join(unit);
    create_parent(&path)?;
    // systemd uses only the link's name; its target is for people.
    match symlink(Path::new(UNITS).join(unit), &path) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other.or_failed(|| format!("{}: cannot link", path.display())),
    }
}

fn create_parent(path: &Path) -> Result<()> {
    let Some(dir) = path.parent() else { return Ok(()) };
    fs::create_dir_all(dir).or_failed(|| format!("{}: cannot create", dir.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_trial_gets_its_deadline_from_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        install(&Root::at(dir.path()), Duration::from_secs(600)).unwrap();
        let drop_in = dir.path().join("run/systemd/system/abide-deadline.timer.d/10-trial.conf");
        assert_eq!(fs::read_to_string(drop_in).unwrap(), "[Timer]\nOnBootSec=\nOnBootSec=602s\n");
    }

    #[test]
    fn a_hardware_watchdog_is_fed_by_the_new_system() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        install(&root, Duration::from_secs(1)).unwrap();
        let file = dir.path().join("run/systemd/system.conf.d/00-abide.conf");
        assert_eq!(fs::read_to_string(&file).unwrap(), "[Manager]\nCrashReboot=yes\n");
        fs::create_dir(dir.path().join("dev")).unwrap();
        fs::write(dir.path().join("dev/watchdog"), "").unwrap();
        install(&root, Duration::from_secs(1)).unwrap();
        let text = fs::read_to_string(file).unwrap();
        assert_eq!(text, "[Manager]\nCrashReboot=yes\nRuntimeWatchdogSec=1min\n");
    }

    #[test]
    fn every_unit_that_is_pulled_in_is_shipped() {
        for (_, unit) in LINKS {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd-units").join(unit);
            assert!(file.is_file(), "{unit}");
        }
    }

    #[test]
    fn a_system_without_the_units_of_a_trial_or_with_masked_ones_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        assert!(missing_in(&root).contains(&"abide-deadline.timer"));
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd-units");
        let units = dir.path().join("usr/lib/systemd/system");
        fs::create_dir_all(&units).unwrap();
        for unit in missing_in(&root) {
            fs::copy(shipped.join(unit), units.join(unit)).unwrap();
        }
        assert!(missing_in(&root).is_empty());
        fs::remove_file(units.join("abide-assess.service")).unwrap();
        symlink("/dev/null", units.join("abide-assess.service")).unwrap();
        assert_eq!(missing_in(&root), ["abide-assess.service"]);
    }

    #[test]
    fn installing_twice_is_installing_once() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        install(&root, Duration::from_secs(1)).unwrap();
        install(&root, Duration::from_secs(1)).unwrap();
        let link = dir.path().join("run/systemd/system/basic.target.wants/abide-commit.service");
        assert_eq!(fs::read_link(link).unwrap(), Path::new("/usr/lib/systemd/system/abide-commit.service"));
    }
}
