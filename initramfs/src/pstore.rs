//! The last messages of a kernel that panicked, if the platform has stored them.
//!
//! Linux hands them to a "persistent store" (Documentation/ABI/testing/pstore): EFI variables, ACPI's
//! ERST, or memory that survives a reset. They come in parts, the last one first, each a file with a
//! heading, `Panic#1 Part1`. Nothing is removed here: systemd-pstore.service archives them, and
//! administrators may want to read them.

use std::cmp::Reverse;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use abide_core::error::{Error, OrError, Result};
use abide_core::root::Root;

const STORE: &str = "/sys/fs/pstore";

/// The backend that works on most machines with EFI. It is usually a module. If it is built in, or
/// another backend is active, loading it changes nothing.
const MODULE: &str = "efi_pstore";

/// Makes the kernel store panics, and shows the stored ones.
///
/// # Errors
/// [`Error::Failed`] if the kernel module cannot be loaded.
pub fn load(root: &Root) -> Result<()> {
    if !root.is_live() {
        return Ok(());
    }
    let status = Command::new("modprobe").args(["-q", MODULE]).status();
    if !status.or_failed(|| "modprobe: cannot start")?.success() {
        return Err(Error::Failed(format!("the kernel module {MODULE} cannot be loaded")));
    }
    Ok(())
}

/// The reason of the last kernel panic since `since`, RFC 3339 in UTC. `None` if there was none, or if
/// none was stored.
#[must_use]
pub fn last_panic(root: &Root, since: &str) -> Option<String> {
    let mut parts: Vec<Part> = fs::read_dir(root.path(STORE))
        .ok()?
        .filter_map(|file| Part::read(&file.ok()?.path()))
        .filter(|part| rfc_3339(part.time).as_str() >= since)
        .collect();
    parts.sort_by_key(|part| (Reverse(part.time), part.number));
    // The line stands in one of the last parts of a panic. If the store was nearly full, the last panic
    // may lack it, but not the one before.
    parts.iter().find_map(Part::panic)
}

struct Part {
    time: SystemTime,
    number: u32,
    text: String,
}

impl Part {
    fn read(path: &Path) -> Option<Self> {
        if !path.file_name()?.to_str()?.starts_with("dmesg-") {
            return None;
        }
        let time = fs::metadata(path).ok()?.modified().ok()?;
        let text = String::from_utf8_lossy(&fs::read(path).ok()?).into_owned();
        let heading = text.lines().next()?;
        let number = heading.rsplit_once("Part").and_then(|(_, n)| n.trim().parse().ok()).unwrap_or(0);
        Some(Self { time, number, text })
    }

    /// `<0>[   12.345678] Kernel panic - not syncing: REASON`
    fn panic(&self) -> Option<String> {
        let reason = self.text.lines().find_map(|line| line.split_once("Kernel panic - not syncing: "))?.1;
        Some(reason.trim().to_owned())
    }
}

fn rfc_3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map_or_else(|_| String::new(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn store(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("sys/fs/pstore");
        fs::create_dir_all(&folder).unwrap();
        let now = SystemTime::now();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
            fs::File::options().append(true).open(folder.join(name)).unwrap().set_modified(now).unwrap();
        }
        let root = Root::at(dir.path());
        (dir, root)
    }

    const PANIC: &str = "Panic#1 Part2\n<6>[    1.0] before\n<0>[   12.3] Kernel panic - not syncing: sysrq triggered crash\n";

    #[test]
    fn the_reason_of_a_panic_is_found_in_whichever_part_it_is() {
        let (_dir, root) = store(&[
            ("dmesg-efi_pstore-1", "Panic#1 Part1\n<4>[   12.4] RIP: 0033\n"),
            ("dmesg-efi_pstore-2", PANIC),
            ("console-ramoops-0", "Kernel panic - not syncing: of another kind\n"),
        ]);
        assert_eq!(last_panic(&root, "2001-01-01T00:00:00Z").as_deref(), Some("sysrq triggered crash"));
    }

    #[test]
    fn a_panic_from_before_the_trial_does_not_count() {
        let (_dir, root) = store(&[("dmesg-efi_pstore-2", PANIC)]);
        assert_eq!(last_panic(&root, "2999-01-01T00:00:00Z"), None);
    }

    #[test]
    fn no_store_is_no_panic() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last_panic(&Root::at(dir.path()), ""), None);
    }
}
