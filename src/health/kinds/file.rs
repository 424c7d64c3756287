//! `kind = "file"`: a file exists (or not), is fresh, and contains a text.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

use crate::config::kinds::FileCheck;
use crate::files::read_named;
use crate::health::MonotonicClock;
use crate::health::probe::{Probe, ProbeResult};
use abide_core::root::Root;

/// How much of a file is read at most.
const MOST_BYTES: u64 = 16 << 20;

/// The check.
#[derive(Debug)]
pub struct FileProbe {
    config: FileCheck,
    root: Root,
}

impl FileProbe {
    /// A check of a file of `root`.
    #[must_use]
    pub fn new(config: &FileCheck, root: &Root) -> Self {
        Self { config: config.clone(), root: root.clone() }
    }

    fn look(&self) -> Result<(), String> {
        let path = self.root.resolve(&self.config.path).map_err(|e| e.to_string())?;
        let metadata = match fs::metadata(&path) {
            Ok(_) if !self.config.exists => return Err("exists".into()),
            Ok(metadata) => metadata,
            Err(e) if e.kind() == ErrorKind::NotFound && !self.config.exists => return Ok(()),
            Err(e) if e.kind() == ErrorKind::NotFound => return Err("does not exist".into()),
            Err(e) => return Err(format!("cannot be accessed: {e}")),
        };
        if self.config.newer_than_boot {
            let age = metadata
                .modified()
                .ok()
                .and_then(|written| SystemTime::now().duration_since(written).ok())
                // Written in the future: the clock has been set back since.
                .unwrap_or_default();
            if age > MonotonicClock::new(&self.root).now() {
                return Err("was not written since the boot".into());
            }
        }
        let Some(text) = &self.config.contains else { return Ok(()) };
        let bytes = read_named(&path, MOST_BYTES).map_err(|e| format!("cannot be read: {e}"))?;
        if !String::from_utf8_lossy(&bytes).contains(text.as_str()) {
            return Err(format!("does not contain '{text}'"));
        }
        Ok(())
    }
}

impl Probe for FileProbe {
    fn run(&mut self, _limit: Duration) -> ProbeResult {
        match self.look() {
            Ok(()) => ProbeResult::Pass,
            Err(problem) => ProbeResult::NotYet(format!("{} {problem}", self.config.path)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs::File;

    fn check(exists: bool, newer_than_boot: bool, contains: Option<&str>) -> FileCheck {
        FileCheck { path: "/f".into(), exists, newer_than_boot, contains: contains.map(Into::into) }
    }

    fn run(root: &Root, config: &FileCheck) -> ProbeResult {
        FileProbe::new(config, root).run(Duration::from_secs(1))
    }

    fn not_yet(reason: &str) -> ProbeResult {
        ProbeResult::NotYet(reason.into())
    }

    #[test]
    fn presence_and_absence_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        assert_eq!(run(&root, &check(true, false, None)), not_yet("/f does not exist"));
        assert_eq!(run(&root, &check(false, false, None)), ProbeResult::Pass);
        fs::write(dir.path().join("f"), "").unwrap();
        assert_eq!(run(&root, &check(true, false, None)), ProbeResult::Pass);
        assert_eq!(run(&root, &check(false, false, None)), not_yet("/f exists"));
    }

    #[test]
    fn a_file_from_before_the_boot_is_stale() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        fs::create_dir(dir.path().join("proc")).unwrap();
        fs::write(dir.path().join("proc/uptime"), "60.0 1\n").unwrap();
        let file = File::create(dir.path().join("f")).unwrap();
        assert_eq!(run(&root, &check(true, true, None)), ProbeResult::Pass);
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
        assert_eq!(run(&root, &check(true, true, None)), not_yet("/f was not written since the boot"));
    }

    #[test]
    fn the_content_is_searched() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        fs::write(dir.path().join("f"), "state=ready\n").unwrap();
        assert_eq!(run(&root, &check(true, false, Some("ready"))), ProbeResult::Pass);
        assert_eq!(run(&root, &check(true, false, Some("busy"))), not_yet("/f does not contain 'busy'"));
        // The file may belong to the service that is checked.
        fs::remove_file(dir.path().join("f")).unwrap();
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
        nix::unistd::mkfifo(&dir.path().join("f"), mode).unwrap();
        let expected = not_yet("/f cannot be read: is not a regular file");
        assert_eq!(run(&root, &check(true, false, Some("ready"))), expected);
        fs::remove_file(dir.path().join("f")).unwrap();
        File::create(dir.path().join("f")).unwrap().set_len(1 << 40).unwrap();
        let expected = not_yet("/f cannot be read: is larger than 16384 KiB");
        assert_eq!(run(&root, &check(true, false, Some("ready"))), expected);
    }
}
