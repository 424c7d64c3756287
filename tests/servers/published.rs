//! A folder on a web server with images and their signed list.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use abide_testing::{Folder, Image, program};

use crate::Node;

/// The folder, and the key that signs its list.
pub struct Published {
    dir: tempfile::TempDir,
    pub server: Folder,
}

impl Published {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Folder::serve(dir.path());
        let it = Self { dir, server };
        it.sh("minisign -G -W -f -p ours.pub -s ours.key");
        it
    }

    /// Adds an image, with its signature in the list; returns its URL.
    pub fn add(&self, version: &str) -> String {
        let name = self.add_unsigned(version);
        self.sh("sha256sum edge_* > SHA256SUMS; minisign -S -s ours.key -m SHA256SUMS");
        name
    }

    /// Adds an image that no list names; returns its URL.
    pub fn add_unsigned(&self, version: &str) -> String {
        let name = format!("edge_{version}.raw.zst");
        fs::write(self.dir.path().join(&name), Image::new(version, "b").zst()).unwrap();
        format!("{}{name}", self.server.url)
    }

    /// Gives a machine the key.
    pub fn trust(&self, node: &Node, url: &str, more: &str) {
        fs::create_dir_all(node.tree.path("etc/abide/keys")).unwrap();
        fs::copy(self.path("ours.pub"), node.tree.path("etc/abide/keys/ours.pub")).unwrap();
        node.configure(url, more);
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.dir.path()).join(name)
    }

    fn sh(&self, command: &str) {
        let mut sh = program("sh");
        sh.args(["-euc", command]).current_dir(self.dir.path()).stdout(Stdio::null());
        assert!(sh.status().unwrap().success(), "{command}");
    }
}
