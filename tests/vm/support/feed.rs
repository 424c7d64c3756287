//! A feed on the host: a folder of images with a signed list, as a publisher has it on a web server.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use abide_qemu::http::FileServer;
use abide_testing::program;

use super::edge::{Edge, image_path};

/// The folder. It goes when this is dropped.
pub struct Feed {
    dir: tempfile::TempDir,
}

impl Feed {
    /// An empty one, and a key to sign it with.
    pub fn new() -> Feed {
        let feed = Feed { dir: tempfile::tempdir_in(abide_qemu::paths::target()).unwrap() };
        fs::create_dir(feed.folder()).unwrap();
        feed.sh("minisign -G -W -f -p ../ours.pub -s ../ours.key");
        feed.sign();
        feed
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn sh(&self, command: &str) {
        let mut sh = program("sh");
        sh.args(["-euc", command]).current_dir(self.folder()).stdin(Stdio::null()).stdout(Stdio::null());
        assert!(sh.status().unwrap().success(), "{command}");
    }

    fn sign(&self) {
        self.sh("rm -f SHA256SUMS*; sha256sum $(ls) > ../sums; mv ../sums SHA256SUMS");
        self.sh("minisign -S -s ../ours.key -m SHA256SUMS");
    }

    /// Publishes a version. `variant` says what is wrong with it; `ok` is a healthy one.
    pub fn publish(&self, version: &str, variant: &str) {
        let image = image_path(version, variant, "zst");
        let name = self.folder().join(format!("edge_{version}.raw.zst"));
        fs::hard_link(&image, &name).or_else(|_| fs::copy(&image, &name).map(drop)).unwrap();
        self.sign();
    }

    /// Has the machine get its updates from here, trust this feed's key, and follow it by itself as
    /// `more` of the configuration says.
    pub fn followed_by(&self, edge: &mut Edge, more: &str) {
        self.known_to(edge, more);
        edge.ok("systemctl start abide-update.timer");
    }

    /// As [`Feed::followed_by`], but the machine does not follow it yet.
    pub fn known_to(&self, edge: &mut Edge, more: &str) {
        edge.server = self.serve();
        self.trusted_by(edge);
        self.configure(edge, more);
    }

    /// A server of its files.
    pub fn serve(&self) -> FileServer {
        FileServer::new(&self.folder()).unwrap()
    }

    /// Has the machine trust this feed's key.
    pub fn trusted_by(&self, edge: &mut Edge) {
        edge.ok("mkdir -p /var/lib/abide/keys /var/lib/abide/abide.d && touch /var/lib/abide/follow");
        edge.put("/var/lib/abide/keys/ours.pub", &fs::read(self.dir.path().join("ours.pub")).unwrap());
    }

    /// Changes how the feed is followed.
    pub fn configure(&self, edge: &mut Edge, more: &str) {
        let url = edge.server.url("");
        edge.configure(&format!(
            "[trust]\npolicy = 'signature'\n[report]\nmetrics = '/var/lib/abide/abide.prom'\n\
             [update]\nfeed = '{url}'\ninterval = '1min'\njitter = 0\ndownload_spread = 0\n{more}\n"
        ));
    }
}
