//! Runs a program for a limited time, and keeps the end of its output.

use std::io::{self, PipeReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use std::os::unix::process::CommandExt;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How long to wait for a killed process: one that hangs in the kernel does not end.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// How long to wait for the rest of the output. A program may leave a child behind that keeps the pipe
/// open forever.
const OUTPUT_WAIT: Duration = Duration::from_millis(200);

/// The stack of a thread that only waits.
const STACK: usize = 64 << 10;

/// A program that has ended or was killed.
#[derive(Debug)]
pub struct Ended {
    /// `None` if it was killed at the limit.
    pub status: Option<ExitStatus>,
    /// The end of its output.
    pub output: String,
}

/// Which output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// Standard output, for a parser; standard error is inherited.
    Stdout,
    /// Both, in the order in which they were written.
    All,
}

/// Runs `command` for at most `limit`, then kills it with its whole process group. Of the output
/// the last `bytes` bytes are kept.
///
/// # Errors
/// If it cannot be started.
pub fn run(mut command: Command, limit: Duration, capture: Capture, bytes: usize) -> io::Result<Ended> {
    let (reader, writer) = io::pipe()?;
    if capture == Capture::All {
        command.stderr(writer.try_clone()?);
    }
    command.stdin(Stdio::null()).stdout(writer).process_group(0);
    let child = command.spawn()?;
    // It holds the write end of the pipe, which must close with the child.
    drop(command);
    let tail = Tail::follow(reader, bytes)?;
    let status = wait(child, limit)?;
    Ok(Ended { status, output: tail.take() })
}

fn wait(mut child: Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let group = i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)?;
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().stack_size(STACK).spawn(move || {
        // The receiver is gone if the process outlived even its kill.
        sender.send(child.wait()).ok();
    })?;
    match receiver.recv_timeout(limit) {
        Ok(status) => status.map(Some),
        Err(RecvTimeoutError::Timeout) => {
            if let Err(e) = killpg(group, Signal::SIGKILL) {
                log::warn!("cannot kill process group {group}: {e}");
            }
            receiver.recv_timeout(KILL_WAIT).ok();
            Ok(None)
        }
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("cannot wait for the process")),
    }
}

/// The last bytes of a stream that is read in the background.
struct Tail {
    kept: Arc<Mutex<Vec<u8>>>,
    ended: mpsc::Receiver<()>,
}

impl Tail {
    fn follow(mut reader: PipeReader, limit: usize) -> io::Result<Self> {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (sender, ended) = mpsc::channel();
        let tail = Self { kept: Arc::clone(&kept), ended };
        thread::Builder::new().stack_size(STACK).spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
                let excess = kept.len().saturating_sub(limit);
                kept.drain(..excess);
            }
            sender.send(()).ok();
        })?;
        Ok(tail)
    }

    fn take(self) -> String {
        self.ended.recv_timeout(OUTPUT_WAIT).ok();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).into_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Instant;

    fn sh(script: &str, limit: Duration, bytes: usize) -> Ended {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        run(command, limit, Capture::All, bytes).unwrap()
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn status_and_output_are_kept() {
        let ended = sh("echo out; echo err >&2; exit 3", LONG, 100);
        assert_eq!(ended.status.and_then(|s| s.code()), Some(3));
        assert_eq!(ended.output, "out\nerr\n");
    }

    #[test]
    fn only_the_end_of_the_output_is_kept() {
        assert_eq!(sh("seq 1 1000", LONG, 9).output, "999\n1000\n");
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children() {
        let started = Instant::now();
        let ended = sh("sleep 600 & echo $!; wait", Duration::from_millis(300), 100);
        assert!(ended.status.is_none());
        assert!(started.elapsed() < LONG);
        let child = Pid::from_raw(ended.output.trim().parse().unwrap());
        // The orphan's death is reported to init, which may take its time to notice.
        while nix::sys::signal::kill(child, None).is_ok() && !is_zombie(child) {
            assert!(started.elapsed() < LONG);
            thread::yield_now();
        }
    }

    fn is_zombie(pid: Pid) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    }

    #[test]
    fn a_child_left_behind_does_not_delay_the_result() {
        let started = Instant::now();
        let ended = sh("sleep 20 & echo done", LONG, 100);
        assert_eq!(ended.output, "done\n");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_program_that_cannot_be_started_is_an_error() {
        assert!(run(Command::new("/no/such/program"), LONG, Capture::All, 1).is_err());
    }
}
