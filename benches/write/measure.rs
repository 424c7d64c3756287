//! Runs a command and measures it.

use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};

use crate::results::Run;
use crate::target::Target;

/// Seconds after which a command counts as hung.
const LIMIT: &str = "300";

/// Runs `command` in a shell and prints what all its processes used. In a process of its own, since the
/// kernel adds up the usage of all children.
pub fn inside(command: &str) {
    let status =
        Command::new("timeout").args([LIMIT, "sh", "-c", command]).stdout(Stdio::null()).status().unwrap();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    let cpu = seconds(usage.user_time()) + seconds(usage.system_time());
    println!("{cpu} {} {}", usage.max_rss(), usage.block_writes());
    std::process::exit(status.code().unwrap_or(1));
}

/// Runs `command` and flushes what it wrote to `target`.
pub fn outside(command: &str, target: &Target) -> Result<Run, String> {
    let before = target.counters();
    let start = Instant::now();
    let output =
        Command::new(std::env::current_exe().unwrap()).args(["--measure", command]).output().unwrap();
    let ended = target.counters();
    target.flush();
    let seconds = start.elapsed().as_secs_f64();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace();
    Ok(Run {
        seconds,
        written: target.counters().written - before.written,
        flushes: ended.flushes - before.flushes,
        cpu: words.next().unwrap().parse().unwrap(),
        memory: words.next().unwrap().parse::<u64>().unwrap() * 1024,
        sent: words.next().unwrap().parse::<u64>().unwrap() * 512,
    })
}
