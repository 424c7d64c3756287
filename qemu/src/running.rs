//! A machine that is switched on.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::{Value, json};

use crate::agent::{self, Output};
use crate::channel::Channel;
use crate::command_line::{Attachments, NETWORK_CARD};
use crate::machine::Machine;
use crate::qmp::Monitor;
use crate::spawn::spawn;
use crate::timeline::{Boot, Event, Missed, Timeline};
use crate::{Error, Result, console};

/// How long QEMU may take to connect its sockets.
const START: Duration = Duration::from_secs(120);

/// How long loading a saved state may take.
const LOAD: Duration = Duration::from_secs(300);

/// How long a command in the guest may take if nothing else is said.
const COMMAND: Duration = Duration::from_secs(300);

/// A machine that is switched on. Dropping it kills QEMU.
///
/// Every wait has a deadline and ends at once when QEMU ends. Console lines, boots and other
/// events are each waited for from where the last wait for their kind stopped, so nothing is
/// missed between two waits; [`Running::skip_to_now`] forgets what was not waited for.
pub struct Running {
    machine: Option<Machine>,
    name: String,
    log: PathBuf,
    child: Child,
    monitor: Monitor,
    agent: UnixStream,
    timeline: Arc<Timeline>,
    seen: Seen,
}

/// Up to where the timeline was looked at, for each kind of event.
#[derive(Default)]
struct Seen {
    lines: usize,
    boots: usize,
    events: usize,
    last_boot: Option<Boot>,
}

impl Running {
    pub(crate) fn start(mut machine: Machine) -> Result<Running> {
        let (monitor, agent) = (Channel::new("monitor")?, Channel::new("agent")?);
        let incoming = machine.incoming.take();
        let write_log = machine.records.then(|| machine.write_log());
        if let Some(log) = &write_log {
            fs::write(log, b"").map_err(Error::at("create", log))?;
        }
        let mut command = machine.hardware.command(&Attachments {
            disks: &machine.disks,
            variables: &machine.variables(),
            monitor: monitor.chardev("monitor"),
            agent: agent.chardev("agent"),
            write_log: write_log.as_deref(),
            incoming: incoming.as_deref(),
        });
        let log = machine.log();
        let append = |path: &PathBuf| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.map_err(Error::at("open", path))
        };
        let serial = append(&log)?;
        let complaints = append(&machine.dir.join("qemu.log"))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(complaints);
        let mut child = spawn(command).map_err(Error::doing("start qemu-system-x86_64 through setpriv"))?;

        let timeline = Arc::new(Timeline::default());
        if let Some(stdout) = child.stdout.take() {
            let timeline = Arc::clone(&timeline);
            thread::spawn(move || console::follow(stdout, serial, &timeline));
        }
        let connected = connect(&machine, monitor, agent, &timeline).and_then(|(mut monitor, agent)| {
            if incoming.is_some() {
                resume(&mut monitor, &machine.name)?;
            }
            Ok((monitor, agent))
        });
        match connected {
            Ok((monitor, agent)) => Ok(Running {
                name: machine.name.clone(),
                machine: Some(machine),
                log,
                child,
                monitor,
                agent,
                timeline,
                seen: Seen::default(),
            }),
            Err(error) => {
                child.kill().ok();
                child.wait().ok();
                let said = fs::read_to_string(machine.dir.join("qemu.log")).unwrap_or_default();
                Err(Error::Monitor {
                    machine: machine.name,
                    command: "its command line".into(),
                    reply: format!("{error}: {}", said.trim()),
                })
            }
        }
    }

    /// The number of QEMU's process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The file that records the serial console.
    pub fn log(&self) -> &PathBuf {
        &self.log
    }

    /// Everything that happened since the start.
    pub fn history(&self) -> Vec<Event> {
        self.timeline.since(0)
    }

    /// The lines of the serial console since the start.
    pub fn console(&self) -> Vec<String> {
        let lines = |event| match event {
            Event::Line(text) => Some(text),
            _ => None,
        };
        self.history().into_iter().filter_map(lines).collect()
    }

    /// Forgets the lines, boots and events that were not waited for.
    pub fn skip_to_now(&mut self) {
        let now = self.timeline.len();
        self.seen.lines = now;
        self.seen.boots = now;
        self.seen.events = now;
    }

    /// Waits for a console line that contains `part`, and returns it.
    ///
    /// # Errors
    /// [`Error::Late`] at the deadline, [`Error::Ended`] when QEMU ends before.
    pub fn wait_for_line(&mut self, part: &str, limit: Duration) -> Result<String> {
        let found = self.timeline.wait(self.seen.lines, limit, |event| match event {
            Event::Line(text) if text.contains(part) => Some(text.clone()),
            _ => None,
        });
        let (text, next) =
            found.map_err(|missed| self.missed(missed, format!("the line `{part}`"), limit))?;
        self.seen.lines = next;
        Ok(text)
    }

    /// Waits until `pick` finds something in an event; `what` names it in the error.
    ///
    /// # Errors
    /// [`Error::Late`] at the deadline, [`Error::Ended`] when QEMU ends before.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        limit: Duration,
        pick: impl FnMut(&Event) -> Option<T>,
    ) -> Result<T> {
        let found = self.timeline.wait(self.seen.events, limit, pick);
        let (found, next) = found.map_err(|missed| self.missed(missed, what.into(), limit))?;
        self.seen.events = next;
        Ok(found)
    }

    /// Waits for the guest's agent to announce a boot other than the last one waited for.
    ///
    /// # Errors
    /// [`Error::Late`] at the deadline, [`Error::Ended`] when QEMU ends before.
    pub fn wait_for_boot(&mut self, limit: Duration) -> Result<Boot> {
        let last = self.seen.last_boot.clone();
        let found = self.timeline.wait(self.seen.boots, limit, |event| match event {
            Event::Ready(boot) if Some(boot) != last.as_ref() => Some(boot.clone()),
            _ => None,
        });
        let (boot, next) =
            found.map_err(|missed| self.missed(missed, "the guest's next boot".into(), limit))?;
        self.seen.boots = next;
        self.seen.last_boot = Some(boot.clone());
        Ok(boot)
    }

    /// Runs a shell command in the guest and waits up to five minutes for its end.
    ///
    /// # Errors
    /// [`Error::Rebooted`] when the guest starts again meanwhile, else as [`Running::wait_for`].
    /// A command that fails in the guest is no error: look at [`Output::status`].
    pub fn run(&mut self, command: &str) -> Result<Output> {
        self.run_within(command, COMMAND)
    }

    /// As [`Running::run`], with a deadline of its own.
    ///
    /// # Errors
    /// As [`Running::run`].
    pub fn run_within(&mut self, command: &str, limit: Duration) -> Result<Output> {
        let from = self.timeline.len();
        self.send(command)?;
        let last = self.seen.last_boot.clone();
        let found = self.timeline.wait(from, limit, |event| match event {
            Event::Answer(line) => Some(Some(line.clone())),
            Event::Ready(boot) if Some(boot) != last.as_ref() => Some(None),
            _ => None,
        });
        let what = || format!("the end of `{command}` in the guest");
        match found.map_err(|missed| self.missed(missed, what(), limit))? {
            (Some(line), _) => {
                agent::answer(&line).ok_or_else(|| Error::Agent { machine: self.name.clone(), line })
            }
            (None, _) => Err(Error::Rebooted {
                machine: self.name.clone(),
                command: command.to_owned(),
                log: self.log.display().to_string(),
            }),
        }
    }

    /// Sends a shell command to the guest without waiting for its end: for commands that
    /// reboot.
    ///
    /// # Errors
    /// When the port is closed, because QEMU ended.
    pub fn send(&mut self, command: &str) -> Result<()> {
        self.agent
            .write_all(agent::request(command).as_bytes())
            .map_err(Error::doing(format!("send a command to {}", self.name)))
    }

    /// Types text on the serial console.
    ///
    /// # Errors
    /// When the console is closed, because QEMU ended.
    pub fn type_text(&mut self, text: &str) -> Result<()> {
        let Some(stdin) = &mut self.child.stdin else {
            return Ok(());
        };
        let typed = stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush());
        typed.map_err(Error::doing(format!("type on the console of {}", self.name)))
    }

    /// Presses the reset button.
    ///
    /// # Errors
    /// When QEMU's monitor does not answer.
    pub fn reset(&mut self) -> Result<()> {
        self.monitor("system_reset", json!({})).map(drop)
    }

    /// Presses the power button; the guest decides what to do.
    ///
    /// # Errors
    /// When QEMU's monitor does not answer.
    pub fn press_power_button(&mut self) -> Result<()> {
        self.monitor("system_powerdown", json!({})).map(drop)
    }

    /// Pulls the network cable out, or puts it back.
    ///
    /// # Errors
    /// When QEMU's monitor refuses: the machine has no network card.
    pub fn set_link(&mut self, up: bool) -> Result<()> {
        let arguments = json!({"name": NETWORK_CARD, "up": up});
        self.monitor("set_link", arguments).map(drop)
    }

    /// Runs a command of QEMU's monitor (QMP).
    ///
    /// # Errors
    /// [`Error::Monitor`] when QEMU refuses it.
    pub fn monitor(&mut self, command: &str, arguments: Value) -> Result<Value> {
        self.monitor.execute(command, arguments)
    }

    /// Cuts the power: QEMU is killed at once. What the guest had handed to the disk is there,
    /// flushed or not.
    ///
    /// # Errors
    /// When QEMU cannot be killed.
    pub fn cut_power(mut self) -> Result<Machine> {
        self.kill().map_err(Error::doing(format!("kill the QEMU of {}", self.name)))?;
        self.into_machine()
    }

    /// Waits until the guest has switched the machine off.
    ///
    /// # Errors
    /// [`Error::Late`] at the deadline.
    pub fn wait_for_power_off(mut self, limit: Duration) -> Result<Machine> {
        let ended =
            self.timeline.wait(self.seen.events, limit, |event| (*event == Event::Exited).then_some(()));
        ended.map_err(|missed| self.missed(missed, "power-off".into(), limit))?;
        self.child.wait().map_err(Error::doing(format!("wait for the QEMU of {}", self.name)))?;
        self.into_machine()
    }

    fn into_machine(mut self) -> Result<Machine> {
        self.machine.take().ok_or_else(|| Error::Disk {
            disk: self.name.clone(),
            cause: "the machine was given away already".into(),
        })
    }

    fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    fn missed(&self, missed: Missed, waited_for: String, limit: Duration) -> Error {
        let (machine, log) = (self.name.clone(), self.log.display().to_string());
        let lines = self.console();
        let tail = lines.get(lines.len().saturating_sub(12)..).unwrap_or_default();
        let tail = tail.join("\n");
        match missed {
            Missed::Late => Error::Late { machine, waited_for, limit, log, tail },
            Missed::Ended => Error::Ended { machine, waited_for, log, tail },
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        self.kill().ok();
        if thread::panicking() {
            eprintln!("{}: serial log: {}", self.name, self.log.display());
        }
    }
}

/// Lets a guest go on that was stopped when it was saved, once all of it has been loaded.
fn resume(monitor: &mut Monitor, machine: &str) -> Result<()> {
    let end = Instant::now() + LOAD;
    loop {
        let status = monitor.execute("query-status", json!({}))?;
        if status.get("status").and_then(Value::as_str) != Some("inmigrate") {
            return monitor.execute("cont", json!({})).map(drop);
        }
        if Instant::now() > end {
            return Err(Error::Monitor {
                machine: machine.to_owned(),
                command: "the saved state".into(),
                reply: format!("not loaded within {LOAD:?}"),
            });
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for QEMU on both sockets.
fn connect(
    machine: &Machine,
    monitor: Channel,
    agent: Channel,
    timeline: &Arc<Timeline>,
) -> Result<(Monitor, UnixStream)> {
    let monitor = monitor.accept(START, timeline)?;
    let monitor = Monitor::new(&machine.name, monitor, Arc::clone(timeline))?;
    let agent = agent.accept(START, timeline)?;
    let reader = agent.try_clone().map_err(Error::doing("share the agent's socket"))?;
    let timeline = Arc::clone(timeline);
    thread::spawn(move || agent::follow(reader, &timeline));
    Ok((monitor, agent))
}
