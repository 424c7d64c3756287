//! The full guest with Abide installed, as a user's machine: what it is told and what it says.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use abide_qemu::http::FileServer;
use abide_qemu::{Boot, Event, Hardware, Machine, Network, Output, Running, Snapshot, paths};
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
}

impl Edge {
    /// A machine on which `version` was installed and has booted, all its units started.
    pub fn running(name: &str, version: &str) -> Edge {
        let machine = Machine::from_snapshot(name, &installed(version)).unwrap();
        Edge::on(machine)
    }

    /// Switches on a machine that has an image folder on the host.
    pub fn on(machine: Machine) -> Edge {
        let images = paths::target().join("guest/images");
        Edge { vm: machine.start().unwrap(), server: FileServer::new(&images).unwrap() }
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
    pub fn write_command(&self, version: &str, variant: &str) -> String {
        let url = self.server.url(&image(version, variant));
        format!("abide write {url}")
    }

    /// Restarts the guest without stopping its units one by one, and waits for the agent.
    #[track_caller]
    pub fn reboot(&mut self) -> Boot {
        self.vm.send("systemctl reboot -f").unwrap();
        self.next_boot()
    }

    /// Waits for the next boot to reach user space.
    #[track_caller]
    pub fn next_boot(&mut self) -> Boot {
        self.vm.wait_for_boot(BOOT).unwrap()
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

    /// How often the guest has reset the machine so far.
    pub fn resets(&self) -> usize {
        self.vm.history().iter().filter(|event| **event == Event::Reset(true)).count()
    }
}

/// The file name of an image of `version` in the folder of images, built where it is not there.
/// `variant` says what is wrong with it; `ok` is a healthy one.
pub fn image(version: &str, variant: &str) -> String {
    image_as(version, variant, "zst")
}

/// The same, packed as `compress`: `zst`, `gz` or `none`.
pub fn image_as(version: &str, variant: &str, compress: &str) -> String {
    let path = build("make-image", &["--version", version, "--variant", variant, "--compress", compress]);
    path.file_name().unwrap().to_string_lossy().into_owned()
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
    let disk = build("make-disk", &["--version", version]);
    let dir = paths::target().join("vm-snapshots").join(version);
    fs::create_dir_all(&dir).unwrap();
    // Two tests may want it at the same time: one makes it, the other one waits.
    let lock = fs::File::create(dir.join("lock")).unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    let age = fs::metadata(&disk).unwrap().modified().unwrap();
    let key = format!("{hardware:?} {age:?}", hardware = hardware());
    let known = fs::read_to_string(dir.join("key")).is_ok_and(|known| known == key);
    if let Some(snapshot) = Snapshot::find(&dir, hardware()).filter(|_| known) {
        return snapshot;
    }
    let machine = Machine::new(&format!("installed-{version}")).unwrap();
    let machine = machine.hardware(hardware()).disk_copy(&disk).unwrap();
    let mut vm = machine.start().unwrap();
    let boot = vm.wait_for_boot(BOOT).unwrap();
    assert_eq!(boot.version, version);
    let state = vm.run_within("systemctl is-system-running --wait", BOOT).unwrap();
    assert_eq!(state.text.trim(), "running");
    let snapshot = vm.save(&dir).unwrap();
    fs::write(dir.join("key"), key).unwrap();
    drop(lock);
    snapshot
}

/// The hardware of an edge machine.
pub fn hardware() -> Hardware {
    Hardware {
        processors: 2,
        memory: 512,
        translations: 512,
        network: Some(Network::default()),
        ..Hardware::default()
    }
}

/// Runs one of the guest's build scripts; the last line of its output is a path.
fn build(script: &str, arguments: &[&str]) -> PathBuf {
    let script = paths::workspace().join("qemu/guest").join(script);
    let output = paths::run(Command::new(script).args(arguments)).unwrap();
    PathBuf::from(String::from_utf8(output).unwrap().lines().last().unwrap())
}
