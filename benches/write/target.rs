//! The device that is written to.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use abide::disk::direct::{Block, DirectFile};

use crate::case::Change;
use crate::image::Published;

const BLOCK: usize = 4 << 20;
const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;

/// A loop device with direct I/O over a file.
pub struct Target {
    pub device: PathBuf,
    file: PathBuf,
    len: u64,
}

/// The kernel's counters of a device.
#[derive(Debug, Clone, Copy)]
pub struct Counters {
    pub written: u64,
    pub flushes: u64,
}

impl Target {
    pub fn new(dir: &Path, len: u64) -> Self {
        let file = dir.join("target.raw");
        File::create(&file).unwrap().set_len(len).unwrap();
        let output = Command::new("losetup")
            .args(["--find", "--show", "--direct-io=on"])
            .arg(&file)
            .output()
            .expect("losetup; this must run as root");
        assert!(output.status.success(), "losetup: {}", String::from_utf8_lossy(&output.stderr));
        let device = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        Self { device, file, len }
    }

    /// Writes the former content, durably, and drops all caches.
    pub fn fill(&self, published: &Published, change: Change, offset: u64) {
        let device = DirectFile::open(&self.device).unwrap();
        let image = File::open(&published.raw).unwrap();
        let mut block = Block::new(BLOCK);
        let mut at = 0;
        while at < self.len {
            let count = (self.len - at).min(BLOCK as u64) as usize;
            let bytes = block.get_mut(count);
            if change == Change::Full {
                published.something_else(bytes, at);
            } else {
                let from = image.read_at(bytes, at + offset).unwrap();
                bytes[from..].fill(0);
            }
            if change == Change::Some {
                alter(bytes);
            }
            device.write_at(block.get(count), at).unwrap();
            at += count as u64;
        }
        device.flush().unwrap();
        drop(device);
        nix::unistd::sync();
        fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    }

    /// Waits until everything that was written has reached the medium.
    pub fn flush(&self) {
        File::open(&self.device).unwrap().sync_all().unwrap();
    }

    /// Of the whole device, since it was made (Documentation/block/stat.rst).
    pub fn counters(&self) -> Counters {
        let name = self.device.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(format!("/sys/block/{name}/stat")).unwrap();
        let fields: Vec<u64> = text.split_whitespace().map(|f| f.parse().unwrap()).collect();
        Counters { written: fields[6] * 512, flushes: fields[15] }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let done = Command::new("losetup").arg("--detach").arg(&self.device).status();
        assert!(done.unwrap().success());
        fs::remove_file(&self.file).unwrap();
    }
}

/// Changes 3 % of the bytes, in whole pages as in an updated file system; only in what is not empty, since
/// that is what an update changes.
fn alter(bytes: &mut [u8]) {
    for part in bytes.chunks_mut(MIB as usize) {
        let is_empty = |part: &[u8]| part.iter().all(|b| *b == 0);
        if is_empty(part) {
            continue;
        }
        // One run of pages in every MiB that is not empty.
        let pages = part.len() as u64 / PAGE;
        let changed = (pages * 3).div_ceil(100).min(pages) as usize * PAGE as usize;
        let start = (pages / 3 * PAGE) as usize;
        for byte in part[start..start + changed].iter_mut().step_by(64) {
            *byte ^= 0xff;
        }
    }
}
