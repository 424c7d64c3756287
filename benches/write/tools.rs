//! Abide and its peers, each as it is used by hand.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::case::Case;
use crate::image::{Published, machine};
use crate::support::Tree;
use crate::target::Target;

pub struct Tool {
    pub name: &'static str,
    /// For `sh -c`.
    pub command: String,
    /// Writes only the root.
    root_only: bool,
    /// Is part of a ratio that is promised.
    counts: bool,
    /// Removed before each run.
    scratch: Option<PathBuf>,
    _tree: Option<std::rc::Rc<Tree>>,
}

impl Tool {
    /// Those that are installed.
    pub fn all(dir: &Path, image: &Published, target: &Target, case: &Case) -> Vec<Self> {
        let (raw, gz, zst) = (image.raw.display(), image.gz.display(), image.zst.display());
        let (device, bmap) = (target.device.display(), image.bmap.display());
        let unpacked = dir.join("unpacked.raw");
        let to = format!("dd of={device} bs=4M iflag=fullblock status=none");
        let from_raw = format!("dd if={raw} of={device} bs=4M status=none");
        let sum = image.digest(&image.gz);
        let emt = format!(
            "echo {sum} {gz} | sha256sum -c && gunzip -c {gz} >{0} && dd if={0} of={device} bs=4M status=none && sync",
            unpacked.display()
        );
        let mut tools = vec![
            peer("dd", true, format!("{from_raw} conv=fsync")),
            peer("dd direct", true, format!("{from_raw} oflag=direct")),
            peer("zstd | dd", true, format!("zstd -dcq {zst} | {to} conv=fsync")),
            peer("zstd | dd direct", true, format!("zstd -dcq {zst} | {to} oflag=direct")),
            peer("gzip | dd", false, format!("gzip -dc {gz} | {to} conv=fsync")),
            peer("igzip | dd", true, format!("igzip -dc {gz} | {to} conv=fsync")),
            peer("igzip | dd direct", true, format!("igzip -dc {gz} | {to} oflag=direct")),
            peer("EMT's sequence", true, emt).with_scratch(unpacked),
            peer("bmaptool zst", false, format!("bmaptool -q copy --bmap {bmap} {zst} {device}")),
        ];
        tools.extend(crate::updaters::rauc(dir, image, target).map(|command| peer("rauc", false, command)));
        tools.extend(
            crate::updaters::swupdate(dir, image, target).map(|command| peer("swupdate zst", false, command)),
        );
        tools.retain(|tool| tool.is_installed());
        let tree = std::rc::Rc::new(machine(&target.device, image.disk_len));
        for (name, path) in [("Abide plain", &image.raw), ("Abide gz", &image.gz), ("Abide zst", &image.zst)]
        {
            let sum = image.digest(path);
            let command = format!(
                "{} --root {} write {} --sha256 {sum}",
                abide(),
                tree.dir.path().display(),
                path.display()
            );
            tools.push(peer(name, true, command).with_tree(tree.clone()));
        }
        let wanted = std::env::var("ABIDE_BENCH_TOOLS").unwrap_or_default();
        tools.retain(|tool| {
            wanted.is_empty()
                || wanted.split(',').any(|w| tool.name.to_lowercase().contains(&w.to_lowercase()))
        });
        // What writes everything each time takes as long as for a full write.
        if case.change != crate::case::Change::Full {
            tools.retain(|tool| tool.root_only || ["dd direct", "zstd | dd"].contains(&tool.name));
        }
        tools
    }

    fn with_scratch(mut self, path: PathBuf) -> Self {
        self.scratch = Some(path);
        self
    }

    fn with_tree(mut self, tree: std::rc::Rc<Tree>) -> Self {
        (self.root_only, self._tree) = (true, Some(tree));
        self
    }

    fn is_installed(&self) -> bool {
        let first = self.command.split_whitespace().next().unwrap_or_default();
        let found = Command::new("sh").args(["-c", &format!("command -v {first} >/dev/null")]).status();
        found.is_ok_and(|status| status.success())
    }

    pub fn max_runs(&self) -> usize {
        if self.counts { usize::MAX } else { 3 }
    }

    pub fn before(&self) {
        if let Some(path) = &self.scratch {
            std::fs::remove_file(path).unwrap_or_default();
        }
    }

    /// Where in the image the device's first byte comes from.
    pub fn offset(&self, image: &Published) -> u64 {
        if self.root_only { image.root_start } else { 0 }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        self.before();
    }
}

fn peer(name: &'static str, counts: bool, command: String) -> Tool {
    Tool { name, command, root_only: false, counts, scratch: None, _tree: None }
}

/// The executable: as `make` built it.
fn abide() -> String {
    std::env::var("ABIDE")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/target/out/abide").to_owned())
}
