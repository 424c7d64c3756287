//! A machine of a fleet.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use abide_testing::hawkbit::TOKEN;
use abide_testing::{Run, Tree};

/// A machine that runs 1.0 from slot a.
pub struct Node {
    pub name: String,
    pub tree: Tree,
}

impl Node {
    /// A machine of a hawkBit server; `more`: further settings, in its section and after it.
    pub fn of(url: &str, name: &str, more: &str) -> Self {
        let node = Self { name: name.to_owned(), tree: Tree::running("1.0") };
        node.write_token(TOKEN);
        node.configure(url, more);
        node
    }

    pub fn write_token(&self, token: &str) {
        let file = self.tree.path("etc/abide/token");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, token).unwrap();
        fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
    }

    pub fn configure(&self, url: &str, more: &str) {
        let own = format!("url = '{url}'\nid = '{}'\ngateway_token = '/etc/abide/token'\n", self.name);
        let update = format!("[update]\ndownload_spread = 0\n[update.hawkbit]\n{own}{more}\n");
        self.write(&format!("{update}[trust]\npolicy = '{}'\n", self.policy()));
    }

    /// hawkBit's digests are enough where no key is installed.
    fn policy(&self) -> &'static str {
        if self.tree.path("etc/abide/keys").exists() { "signature" } else { "digest" }
    }

    pub fn write(&self, config: &str) {
        fs::create_dir_all(self.tree.path("etc/abide")).unwrap();
        fs::write(self.tree.path("etc/abide/abide.toml"), config).unwrap();
    }

    /// Runs the commands of the units, in their order, with a poll.
    pub fn run(&self) -> [Run; 4] {
        self.let_time_pass(&["tried", "failed"]);
        self.run_units()
    }

    /// As [`Node::run`], before it is time for another download after one that failed.
    pub fn poll_only(&self) -> [Run; 4] {
        self.let_time_pass(&["tried"]);
        self.run_units()
    }

    fn run_units(&self) -> [Run; 4] {
        ["--survey", "--fetch", "--install", "--boot"].map(|part| self.tree.abide(&["-v", "update", part]))
    }

    /// Runs the units until the machine reboots or waits.
    pub fn settle(&self) -> bool {
        for _ in 0..4 {
            let runs = self.run();
            if self.reboots() {
                return true;
            }
            assert!(runs.iter().all(|run| run.code == 0), "{}", said(&runs));
        }
        false
    }

    /// Sets times far back: of the last poll, of the last failed download.
    fn let_time_pass(&self, since: &[&str]) {
        let path = self.tree.path("var/lib/abide/feed/feed.json");
        let Ok(bytes) = fs::read(&path) else { return };
        let mut state: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        if since.contains(&"tried") {
            state["tried"] = 0.into();
        }
        if since.contains(&"failed") && state["attempts"]["failed"].is_number() {
            state["attempts"]["failed"] = 0.into();
        }
        fs::write(path, state.to_string()).unwrap();
    }

    /// Whether a reboot was requested since the last call.
    pub fn reboots(&self) -> bool {
        fs::remove_file(self.tree.path("run/abide/reboot-requested")).is_ok()
    }

    pub fn has_fetched(&self, file: &str) -> bool {
        self.tree.path(&format!("var/lib/abide/feed/{file}")).exists()
    }
}

/// The output of the runs.
pub fn said(runs: &[Run]) -> String {
    runs.iter().map(|run| format!("{}{}", run.stdout, run.stderr)).collect()
}
