//! Abide and the other tools, each as it is used by hand.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use abide_testing::Tree;

use crate::case::{Case, Change};
use crate::image::{Published, hashes, machine, own_tree_machine};
use crate::target::Target;
use crate::updaters;

pub struct Tool {
    pub name: &'static str,
    /// For `sh -c`.
    pub command: String,
    /// How often it is run at most.
    pub runs: usize,
    scratch: Option<Scratch>,
    /// Abide's machine; it writes only the root.
    tree: Option<Rc<Tree>>,
}

/// A file that a tool leaves behind.
struct Scratch(PathBuf);

impl Scratch {
    fn remove(&self) {
        std::fs::remove_file(&self.0).unwrap_or_default();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Every tool, and how often it is run at most.
const TOOLS: [(&str, usize); 17] = [
    ("dd", usize::MAX),
    ("dd direct", usize::MAX),
    ("zstd | dd", usize::MAX),
    ("zstd | dd direct", usize::MAX),
    ("gzip | dd", 1),
    ("igzip | dd", usize::MAX),
    ("igzip | dd direct", usize::MAX),
    ("EMT's sequence", 3),
    ("EMT's sequence, verity", 3),
    ("bmaptool zst", 1),
    ("rauc", 1),
    ("swupdate zst", 1),
    ("Abide plain", usize::MAX),
    ("Abide gz", usize::MAX),
    ("Abide zst", usize::MAX),
    ("Abide gz, verity", usize::MAX),
    ("Abide zst, verity", usize::MAX),
];

impl Tool {
    /// The tools that are installed and selected for this case. The others prepare nothing.
    pub fn all(dir: &Path, image: &Published, target: &Target, case: &Case) -> Vec<Self> {
        let wanted = std::env::var("ABIDE_BENCH_TOOLS").unwrap_or_default();
        let is_wanted = |name: &str| {
            wanted.is_empty() || wanted.split(',').any(|w| name.to_lowercase().contains(&w.to_lowercase()))
        };
        let tree = Rc::new(machine(&target.device, image.disk_len));
        let own_tree = Rc::new(own_tree_machine(&target.device, image.disk_len, dir));
        let maker = Maker { dir, image, target, tree, own_tree };
        TOOLS
            .into_iter()
            .filter(|(name, _)| is_wanted(name) && takes_part(name, case))
            .filter_map(|(name, runs)| Some(Self { runs, ..maker.make(name)? }))
            .filter(Self::is_installed)
            .collect()
    }

    fn is_installed(&self) -> bool {
        let first = self.command.split_whitespace().next().unwrap_or_default();
        let found = Command::new("sh").args(["-c", &format!("command -v {first} >/dev/null")]).status();
        found.is_ok_and(|status| status.success())
    }

    pub fn before(&self) {
        if let Some(scratch) = &self.scratch {
            scratch.remove();
        }
    }

    /// Where in the image the device's first byte comes from.
    pub fn offset(&self, image: &Published) -> u64 {
        if self.tree.is_some() { image.root_start } else { 0 }
    }
}

/// A tool that writes everything each time takes as long as for a full write; a few show how the cost grows
/// with the size.
fn takes_part(name: &str, case: &Case) -> bool {
    let among = |names: &[&str]| names.contains(&name);
    let has_limit = TOOLS.iter().any(|(tool, runs)| *tool == name && *runs > 1);
    match (case.change, case.size_name().as_str()) {
        (Change::Full, "1G") => has_limit || !case.dense,
        (Change::Full, "8G") => among(&["dd direct", "zstd | dd", "Abide plain", "Abide zst"]),
        (Change::Full, _) => has_limit,
        _ => among(&["dd direct", "Abide plain", "Abide zst"]),
    }
}

struct Maker<'a> {
    dir: &'a Path,
    image: &'a Published,
    target: &'a Target,
    tree: Rc<Tree>,
    /// The machine that makes the hash tree itself.
    own_tree: Rc<Tree>,
}

impl Maker<'_> {
    fn make(&self, name: &'static str) -> Option<Tool> {
        let peer = |command| Tool { name, command, runs: 1, scratch: None, tree: None };
        let (image, device) = (self.image, self.target.device.display());
        let raw = image.raw.display();
        let from_raw = |flag| format!("dd if={raw} of={device} bs=4M status=none {flag}");
        let piped = |decoder, packed: &Path, flag| {
            let to = format!("dd of={device} bs=4M iflag=fullblock status=none {flag}");
            format!("{decoder} {} | {to}", packed.display())
        };
        Some(match name {
            "dd" => peer(from_raw("conv=fsync")),
            "dd direct" => peer(from_raw("oflag=direct")),
            "zstd | dd" => peer(piped("zstd -dcq", &image.zst(), "conv=fsync")),
            "zstd | dd direct" => peer(piped("zstd -dcq", &image.zst(), "oflag=direct")),
            "gzip | dd" => peer(piped("gzip -dc", &image.gz(), "conv=fsync")),
            "igzip | dd" => peer(piped("igzip -dc", &image.gz(), "conv=fsync")),
            "igzip | dd direct" => peer(piped("igzip -dc", &image.gz(), "oflag=direct")),
            "EMT's sequence" | "EMT's sequence, verity" => {
                let (gz, unpacked) = (image.gz(), self.dir.join("unpacked.raw"));
                let mut command = format!(
                    "echo {} {gz} | sha256sum -c && gunzip -c {gz} >{to} && dd if={to} of={device} bs=4M \
                     status=none && sync",
                    image.digest(&gz),
                    gz = gz.display(),
                    to = unpacked.display(),
                );
                if name.ends_with("verity") {
                    let hashes = hashes(self.dir);
                    command += &format!(" && veritysetup format {device} {} && sync", hashes.display());
                }
                Tool { scratch: Some(Scratch(unpacked)), ..peer(command) }
            }
            "bmaptool zst" => {
                let (bmap, zst) = (image.bmap(), image.zst());
                peer(format!("bmaptool -q copy --bmap {} {} {device}", bmap.display(), zst.display()))
            }
            "rauc" => peer(updaters::rauc(self.dir, image, self.target)?),
            "swupdate zst" => peer(updaters::swupdate(self.dir, image, self.target)?),
            "Abide plain" => self.abide(name, &self.tree, &image.raw),
            "Abide gz" => self.abide(name, &self.tree, &image.gz()),
            "Abide zst" => self.abide(name, &self.tree, &image.zst()),
            "Abide gz, verity" => self.abide(name, &self.own_tree, &image.mapped().gz()),
            "Abide zst, verity" => self.abide(name, &self.own_tree, &image.mapped().zst()),
            _ => return None,
        })
    }

    /// The executable as `make` built it, or `ABIDE`.
    fn abide(&self, name: &'static str, machine: &Rc<Tree>, path: &Path) -> Tool {
        let abide = std::env::var("ABIDE")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/target/out/abide").to_owned());
        let (tree, sum) = (machine.dir.path().display(), self.image.digest(path));
        let command = format!("{abide} --root {tree} write {} --sha256 {sum}", path.display());
        Tool { name, command, runs: 1, scratch: None, tree: Some(Rc::clone(machine)) }
    }
}
