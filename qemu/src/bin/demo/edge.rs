//! The machine of the story.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use abide_qemu::http::FileServer;
use abide_qemu::{Event, Hardware, Machine, Network, Running, paths};
use serde_json::Value;

use crate::ledger;
use crate::teller::Teller;

/// The longest that one boot, the checks of a trial or a command may take, on a busy host.
const PATIENCE: Duration = Duration::from_secs(420);

/// Waits in the guest until the trial is kept. A trial that fails ends this with a reboot.
const COMMITTED: &str = "until systemctl --quiet is-active abide-commit.service; do sleep 1; done";

/// What can end the story early.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// An edge machine, and the server it gets its images from.
pub struct Edge {
    vm: Running,
    server: FileServer,
    disk: PathBuf,
    boots: u32,
    /// The names on the ESP before the loader's next turn.
    before: Vec<String>,
}

/// How far a boot got.
pub enum End {
    /// User space of this version.
    Up(String),
    /// The kernel gave up with this line.
    Panicked(String),
}

/// Builds what is not there yet, and switches the machine on.
pub fn prepare(teller: &Teller) -> Result<Edge> {
    teller.say("the guest: Debian with systemd, dracut and Abide, installed by `make install`");
    teller.detail("(building its images takes some minutes, the first time)");
    let disk = build("make-disk", &["--version", "1.0"])?;
    for (version, variant) in [("2.0", "ok"), ("3.0", "panic-early")] {
        build("make-image", &["--version", version, "--variant", variant])?;
    }
    let images = paths::target().join("guest/images");
    let server = FileServer::new(&images)?;
    let hardware = Hardware {
        processors: 2,
        memory: 512,
        translations: 512,
        network: Some(Network::default()),
        watchdog: true,
        ..Hardware::default()
    };
    let machine = Machine::new("demo")?.hardware(hardware).disk_copy(&disk)?;
    let disk = machine.disk(0).ok_or("the machine has no disk")?.to_path_buf();
    teller.say("QEMU with UEFI firmware, 2 processors, no KVM; slot a holds 1.0, slot b nothing");
    teller.detail(&format!("console: {}", relative(&machine.log())));
    let mut edge = Edge { vm: machine.start()?, server, disk, boots: 0, before: vec![] };
    edge.before = edge.entries()?;
    Ok(edge)
}

impl Edge {
    /// How often it has booted.
    pub fn boots(&self) -> u32 {
        self.boots
    }

    /// The URL of an image for this machine.
    pub fn image(&self, version: &str, variant: &str) -> Result<String> {
        let path = build("make-image", &["--version", version, "--variant", variant])?;
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("an image without a name")?;
        Ok(self.server.url(name))
    }

    /// The boot entries on the ESP, as they are on the disk: read from outside the machine.
    pub fn entries(&self) -> Result<Vec<String>> {
        // The partition begins at 1 MiB.
        let image = format!("{}@@1M", self.disk.display());
        let listed = paths::run(Command::new("mdir").args(["-b", "-i", &image, "::/EFI/Linux"]))?;
        let listed = String::from_utf8(listed)?;
        let names = listed.lines().filter_map(|path| path.rsplit('/').next());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".efi")).map(Into::into).collect();
        names.sort();
        Ok(names)
    }

    /// Waits for the end of the next boot and tells which entry the loader took.
    pub fn next_boot(&mut self, teller: &Teller) -> Result<End> {
        let up = self.vm.wait_for("a boot or a kernel panic", PATIENCE, |event| match event {
            Event::Ready(boot) => Some(End::Up(boot.version.clone())),
            Event::Line(line) if !line.contains("end Kernel panic") => {
                line.find("Kernel panic").and_then(|at| line.get(at..)).map(|line| End::Panicked(line.into()))
            }
            _ => None,
        })?;
        self.boots += 1;
        if matches!(up, End::Up(_)) {
            self.vm.wait_for_boot(PATIENCE)?;
        }
        let after = self.entries()?;
        match (ledger::counted(&self.before, &after), &up) {
            (Some((old, counter)), _) => {
                let tries = ledger::tries(counter).unwrap_or_default();
                teller.say(&format!("BOOT {}  entry {old}, counted to +{counter}: {tries}", self.boots));
            }
            (None, End::Up(_)) => {
                let selected = self.status()?.text("/loader/entry");
                teller.say(&format!("BOOT {}  entry {selected}, no counter: good", self.boots));
            }
            (None, End::Panicked(line)) => {
                return Err(format!("no entry on the ESP was counted down, and: {line}").into());
            }
        }
        self.before = after;
        Ok(up)
    }

    /// Runs a command in the machine and shows it with its output.
    pub fn shown(&mut self, teller: &Teller, command: &str, status: i32) -> Result<()> {
        teller.say(&format!("# {command}"));
        let output = self.vm.run_within(command, PATIENCE)?;
        teller.detail(&output.text);
        if output.status != 0 {
            teller.detail(&format!("(exit code {})", output.status));
        }
        if output.status != status {
            return Err(format!("`{command}`: exit code {}, expected {status}", output.status).into());
        }
        self.before = self.entries()?;
        Ok(())
    }

    /// Runs a command in the machine that must succeed.
    pub fn quietly(&mut self, command: &str) -> Result<String> {
        let output = self.vm.run_within(command, PATIENCE)?;
        if output.success() { Ok(output.text) } else { Err(format!("`{command}`: {output}").into()) }
    }

    /// What `abide status --json` says.
    pub fn status(&mut self) -> Result<Status> {
        Ok(Status(serde_json::from_str(&self.quietly("abide status --json")?)?))
    }

    /// Reboots the machine in an orderly way.
    pub fn reboot(&mut self, teller: &Teller) -> Result<()> {
        self.before = self.entries()?;
        teller.say("# systemctl reboot");
        Ok(self.vm.send("systemctl reboot")?)
    }

    /// Waits until the machine can reach the server; the agent answers long before.
    pub fn wait_for_network(&mut self) -> Result<()> {
        self.quietly("systemctl start edge-network.service").map(drop)
    }

    /// Waits until the trial that runs is committed.
    pub fn wait_for_commit(&mut self) -> Result<()> {
        self.quietly(COMMITTED)?;
        self.before = self.entries()?;
        Ok(())
    }
}

/// An answer in JSON.
pub struct Status(Value);

impl Status {
    /// The value at a JSON pointer, as people write it.
    pub fn text(&self, pointer: &str) -> String {
        match self.0.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        }
    }

    /// The names in the list at a JSON pointer.
    pub fn names(&self, pointer: &str) -> String {
        let list = self.0.pointer(pointer).and_then(Value::as_array);
        let names = list.into_iter().flatten().filter_map(|item| item.get("name")?.as_str());
        names.collect::<Vec<_>>().join(", ")
    }
}

/// Runs one of the guest's build scripts, of which the last line is a path.
fn build(script: &str, arguments: &[&str]) -> Result<PathBuf> {
    let script = paths::workspace().join("qemu/guest").join(script);
    let output = String::from_utf8(paths::run(Command::new(script).args(arguments))?)?;
    Ok(PathBuf::from(output.lines().last().ok_or("the build script named no file")?))
}

/// A path below the workspace, as one types it there.
fn relative(path: &std::path::Path) -> String {
    path.strip_prefix(paths::workspace()).unwrap_or(path).display().to_string()
}
