//! The full guest with Abide installed, as a user's machine: what it is told and what it says.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use abide_qemu::http::FileServer;
use abide_qemu::{Boot, Error, Event, Hardware, Machine, Network, Output, Running, Snapshot, paths};
use abide_testing::process::downloader;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;

/// The longest that one boot of the full guest may take, on a busy host.
pub const BOOT: Duration = Duration::from_secs(420);

/// The longest that a command in the guest, the checks of a trial or the deadline may take.
pub const PATIENCE: Duration = Duration::from_secs(420);

/// An edge machine that is switched on, and the server that it gets its updates from.
pub struct Edge {
    pub vm: Running,
    pub server: FileServer,
    /// Boots that are not counted (any more): see [`Edge::boots`].
    uncounted: isize,
}

impl Edge {
    /// A machine on which `version` was installed and has booted, all its units started.
    pub fn running(name: &str, version: &str) -> Edge {
        Edge::from(name, &installed(version))
    }

    /// A machine that continues from a saved state.
    pub fn from(name: &str, snapshot: &Snapshot) -> Edge {
        Edge::on(Machine::from_snapshot(name, snapshot).unwrap())
    }

    /// Switches on a machine that has an image folder on the host.
    pub fn on(machine: Machine) -> Edge {
        let images = paths::target().join("guest/images");
        let (vm, server) = (machine.start().unwrap(), FileServer::new(&images).unwrap());
        Edge { vm, server, uncounted: 0 }
    }

    /// Cuts the power, does something to the machine while it is off, and switches it on again.
    #[must_use]
    pub fn power_cycle(self, change: impl FnOnce(&Machine)) -> Edge {
        self.power_cycle_as(|machine| {
            change(&machine);
            machine
        })
    }

    /// As [`Edge::power_cycle`], and the machine may be another one after it.
    #[must_use]
    pub fn power_cycle_as(self, change: impl FnOnce(Machine) -> Machine) -> Edge {
        let boots = self.boots();
        let vm = change(self.vm.cut_power().unwrap()).start().unwrap();
        Edge { vm, server: self.server, uncounted: -isize::try_from(boots + 1).unwrap() }
    }

    /// Runs a command in the guest.
    pub fn run(&mut self, command: &str) -> Output {
        self.vm.run_within(command, PATIENCE).unwrap()
    }

    /// Runs a command in the guest that must succeed; returns its output.
    #[track_caller]
    pub fn ok(&mut self, command: &str) -> String {
        let output = self.run(command);
        assert!(output.success(), "`{command}`: {output}");
        output.text
    }

    /// Runs a command in the guest that must end with `status`; returns its output.
    #[track_caller]
    pub fn refused(&mut self, command: &str, status: i32) -> String {
        let output = self.run(command);
        assert_eq!(output.status, status, "`{command}`: {output}");
        output.text
    }

    /// Writes an image of `version` into the other slot, over HTTP.
    #[track_caller]
    pub fn write(&mut self, version: &str, variant: &str) {
        let command = self.write_command(version, variant);
        self.ok(&command);
    }

    /// The command that writes an image of `version`.
    #[track_caller]
    pub fn write_command(&mut self, version: &str, variant: &str) -> String {
        let url = self.url(&image(version, variant));
        format!("abide write {url}")
    }

    /// The URL of a file on the server, once the guest has a route there: the agent is up before it.
    #[track_caller]
    pub fn url(&mut self, name: &str) -> String {
        self.ok("until ip route | grep -q default; do sleep 0.2; done");
        self.server.url(name)
    }

    /// Restarts the guest without stopping its units one by one, and waits for the agent.
    #[track_caller]
    pub fn reboot(&mut self) -> Boot {
        self.vm.send("systemctl reboot -f").unwrap();
        self.next_boot()
    }

    /// Waits for the next boot to reach user space. Each that dies before that has its time, too.
    #[track_caller]
    pub fn next_boot(&mut self) -> Boot {
        let mut resets = self.resets();
        loop {
            match self.vm.wait_for_boot(BOOT) {
                Err(Error::Late { .. }) if self.resets() > resets => resets = self.resets(),
                boot => return boot.unwrap(),
            }
        }
    }

    /// What `abide status --json` says.
    #[track_caller]
    pub fn status(&mut self) -> Value {
        self.json("abide status --json")
    }

    /// What `abide list --json` says.
    #[track_caller]
    pub fn list(&mut self) -> Value {
        self.json("abide list --json")
    }

    /// The JSON that a command prints; what it says on standard error comes in lines of its own.
    #[track_caller]
    fn json(&mut self, command: &str) -> Value {
        let text = self.ok(command);
        let line = text.lines().find(|line| line.starts_with('{')).unwrap_or("");
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The files of the boot entries as `abide list` knows them, in the loader's order.
    #[track_caller]
    pub fn entries(&mut self) -> Vec<String> {
        let list = self.list();
        let entries = list["entries"].as_array().unwrap();
        let files = entries.iter().map(|entry| entry["file"].as_str().unwrap());
        files.map(|file| file.rsplit('/').next().unwrap_or(file).to_owned()).collect()
    }

    /// The failure record of `version`.
    #[track_caller]
    pub fn failure(&mut self, version: &str) -> Value {
        let status = self.status();
        let failures = status["failures"].as_array().unwrap();
        let found = failures.iter().find(|failure| failure["version"] == version);
        found.unwrap_or_else(|| panic!("no failure of {version} in {status}")).clone()
    }

    /// Asks for the status until it satisfies `done`; returns it.
    #[track_caller]
    pub fn wait_for_status(&mut self, what: &str, done: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if done(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "{what} did not happen: {status:#}");
        }
    }

    /// Waits until the trial that runs is committed.
    #[track_caller]
    pub fn wait_for_commit(&mut self) -> Value {
        self.wait_for_status("the commit", |status| status["update"]["userStatus"] == "UPDATED")
    }

    /// How often the machine was reset or switched on, since [`Edge::forget_boots`].
    pub fn boots(&self) -> usize {
        usize::try_from(self.counted() - self.uncounted).unwrap()
    }

    /// Counts boots from here on.
    pub fn forget_boots(&mut self) {
        self.uncounted = self.counted();
    }

    /// How often the machine was reset since it was switched on.
    pub fn resets(&self) -> usize {
        self.vm.history().iter().filter(|event| matches!(event, Event::Reset(_))).count()
    }

    fn counted(&self) -> isize {
        isize::try_from(self.resets()).unwrap()
    }

    /// Adds a fragment of configuration that all systems on this machine read.
    #[track_caller]
    pub fn configure(&mut self, toml: &str) {
        self.ok(&format!("cat >/var/lib/abide/abide.d/50-test.toml <<'TOML' && sync\n{toml}TOML"));
    }

    /// Waits for boots until one is of `version`.
    #[track_caller]
    pub fn next_boot_of(&mut self, version: &str) {
        self.next_boot_of_after(version, |_| {});
    }

    /// As [`Edge::next_boot_of`], and does something on each boot of another version.
    #[track_caller]
    pub fn next_boot_of_after(&mut self, version: &str, on_others: impl Fn(&mut Edge)) {
        for _ in 0..8 {
            if self.next_boot().version == version {
                return;
            }
            on_others(self);
        }
        panic!("{version} does not boot");
    }

    /// Writes a file in the guest.
    #[track_caller]
    pub fn put(&mut self, path: &str, content: &[u8]) {
        self.ok(&format!(": > {path}"));
        // A word of a command line has at most 128 KiB.
        for part in content.chunks(48 << 10) {
            let text = STANDARD.encode(part);
            self.ok(&format!("echo {text} | base64 -d >> {path}"));
        }
    }
}

/// The file name of an image of `version` in the folder of images, built where it is not there.
/// `variant` says what is wrong with it; `ok` is a healthy one.
pub fn image(version: &str, variant: &str) -> String {
    image_as(version, variant, "zst")
}

/// The same, packed as `compress`: `zst`, `gz` or `none`.
pub fn image_as(version: &str, variant: &str, compress: &str) -> String {
    image_path(version, variant, compress).file_name().unwrap().to_string_lossy().into_owned()
}

/// As [`image_as`], with its folder.
pub fn image_path(version: &str, variant: &str, compress: &str) -> PathBuf {
    build("make-image", &["--version", version, "--variant", variant, "--compress", compress])
}

/// A machine from the disk of an installed `version`, laid out as Edge Microvisor Toolkit does it;
/// it was never switched on.
pub fn emt_machine(name: &str, version: &str) -> Machine {
    let disk = build("make-disk", &["--version", version, "--layout", "emt"]);
    Machine::new(name).unwrap().hardware(hardware()).disk_copy(&disk).unwrap()
}

/// The state of a machine after its first boot from the disk of an installed `version`, saved
/// once and used by all tests.
pub fn installed(version: &str) -> Snapshot {
    let disk = disk(version);
    saved(version, &modified(&disk), || {
        let machine = Machine::new(&format!("installed-{version}")).unwrap();
        first_boot(machine.hardware(hardware()).disk_copy(&disk).unwrap(), version).vm
    })
}

/// The disk of an installed `version`.
pub fn disk(version: &str) -> PathBuf {
    build("make-disk", &["--version", version])
}

/// Boots a machine for the first time, until all units of `version` are started.
pub fn first_boot(machine: Machine, version: &str) -> Edge {
    let mut edge = Edge::on(machine);
    assert_eq!(edge.next_boot().version, version);
    assert_eq!(edge.run("systemctl is-system-running --wait").text.trim(), "running");
    edge
}

/// The state `name` of an edge machine, saved once and used by all tests: what `make` brings it
/// to. `key` stands for what that depends on.
pub fn saved(name: &str, key: &str, make: impl FnOnce() -> Running) -> Snapshot {
    let dir = paths::target().join("vm-snapshots").join(name);
    fs::create_dir_all(&dir).unwrap();
    // Two tests may want it at the same time: one makes it, the other one waits.
    let lock = fs::File::create(dir.join("lock")).unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    let key = format!("{hardware:?} {key}", hardware = hardware());
    let known = fs::read_to_string(dir.join("key")).is_ok_and(|known| known == key);
    if let Some(snapshot) = Snapshot::find(&dir, hardware()).filter(|_| known) {
        return snapshot;
    }
    let snapshot = make().save(&dir).unwrap();
    fs::write(dir.join("key"), key).unwrap();
    drop(lock);
    snapshot
}

/// When a file was made, as a part of a key.
pub fn modified(file: &Path) -> String {
    format!("{:?}", fs::metadata(file).unwrap().modified().unwrap())
}

/// The hardware of an edge machine.
pub fn hardware() -> Hardware {
    Hardware {
        // As many machines as the host has processors run side by side; a second one in each only waits for the first.
        processors: 1,
        memory: 512,
        translations: 512,
        network: Some(Network::default()),
        ..Hardware::default()
    }
}

/// Runs one of the guest's build scripts; the last line of its output is a path.
pub fn build(script: &str, arguments: &[&str]) -> PathBuf {
    let script = paths::workspace().join("qemu/guest").join(script);
    let output = paths::run(downloader(script).args(arguments)).unwrap();
    PathBuf::from(String::from_utf8(output).unwrap().lines().last().unwrap())
}
