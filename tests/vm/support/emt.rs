//! Nodes as Intel's Edge Microvisor Toolkit installs them, and what their update agents do.

use std::fs;

use abide_qemu::{Boot, Machine, paths};
use abide_testing::program;

use super::edge::{Edge, build, hardware, image_as};

/// What is below the root of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// dm-verity, with hashes that are made on the node.
    Verity,
    /// The same on LUKS.
    Encrypted,
    /// A linear mapping: a virtual node.
    Linear,
}

impl Kind {
    fn layout(self) -> &'static str {
        match self {
            Kind::Verity => "emt-verity",
            Kind::Encrypted => "emt-fde",
            Kind::Linear => "emt-linear",
        }
    }
}

/// An image on the node, with the digest that its publisher tells.
pub struct Published {
    /// What the agent gives as `-u`.
    pub place: String,
    /// What the agent gives as `-s`.
    pub sha256: String,
}

/// A node of this kind with `version` installed that was never switched on.
pub fn node(name: &str, kind: Kind, version: &str) -> Machine {
    let disk = build("make-disk", &["--version", version, "--layout", kind.layout()]);
    Machine::new(name).unwrap().hardware(hardware()).disk_copy(&disk).unwrap()
}

/// The digest of an image in the folder that the server shows.
fn digest(name: &str) -> String {
    let folder = paths::target().join("guest/images");
    let sum = folder.join(format!("{name}.sha256"));
    let image = folder.join(name);
    let when = |path| fs::metadata(path).and_then(|data| data.modified()).ok();
    if when(&sum) < when(&image) {
        fs::write(&sum, paths::run(program("sha256sum").arg(&image)).unwrap()).unwrap();
    }
    fs::read_to_string(sum).unwrap().split_whitespace().next().unwrap().to_owned()
}

/// An image on the server.
#[track_caller]
pub fn served(edge: &mut Edge, version: &str, variant: &str) -> Published {
    let name = image_as(version, variant, "gz");
    Published { place: edge.url(&name), sha256: digest(&name) }
}

/// An image that the agent has downloaded to where it keeps its files.
#[track_caller]
pub fn downloaded(edge: &mut Edge, version: &str, variant: &str) -> Published {
    let Published { place: url, sha256 } = served(edge, version, variant);
    let (host, name) = url.trim_start_matches("http://").split_once('/').unwrap();
    let (host, port) = host.split_once(':').unwrap();
    let place = "/opt/edge.raw.gz".to_owned();
    // The guest has no program for downloads. `read` takes the header byte by byte.
    edge.ok(&format!(
        "until mountpoint -q /opt; do sleep 0.2; done; bash -c \"exec 3<>/dev/tcp/{host}/{port} && \
         printf 'GET /{name} HTTP/1.0\\r\\n\\r\\n' >&3 && \
         while read -r line <&3 && [ \\${{#line}} -gt 1 ]; do :; done; cat <&3 >{place}\" && sync"
    ));
    Published { place, sha256 }
}

impl Published {
    /// The call that writes it.
    pub fn write(&self) -> String {
        format!("os-update-tool.sh -w -u {} -s {}", self.place, self.sha256)
    }
}

/// Adds a fragment of configuration that outlives a reboot.
#[track_caller]
pub fn configure(edge: &mut Edge, toml: &str) {
    edge.ok(&format!(
        "until mountpoint -q /opt; do sleep 0.2; done; cat >/opt/abide/abide.d/50-test.toml <<'TOML' && sync\n{toml}TOML"
    ));
}

/// What is mounted as the root, and the table of its mapping.
#[track_caller]
pub fn root(edge: &mut Edge) -> String {
    edge.ok("findmnt --noheadings --output SOURCE / && dmsetup table rootfs_verity").trim().to_owned()
}

/// Restarts the node and commits as its agent does, which does not wait for anything.
#[track_caller]
pub fn reboot_and_commit(edge: &mut Edge, version: &str) -> Boot {
    let boot = edge.reboot();
    assert_eq!(boot.version, version);
    edge.ok("os-update-tool.sh -c");
    let update = edge.status()["update"].clone();
    assert_eq!(update["userStatus"], "UPDATED", "{update:#}");
    boot
}
