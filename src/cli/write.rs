//! `abide write`

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::announce::{Event, Kind, announce};
use crate::error::Result;
use crate::state::Lock;
use crate::update::write::{Progress, Wanted, write};

use super::Context;

/// How often progress is shown on a terminal.
const INTERVAL: Duration = Duration::from_millis(250);

const MIB: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image: a file, an http:// or https:// URL, - for standard input, or a folder or URL/ with SHA256SUMS
    image: String,
    /// The SHA-256 that the published file must have
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// The version to take; without it the newest one of a folder
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
}

impl Args {
    /// An image and the digest that it must have.
    pub(super) fn of(image: &str, sha256: Option<&str>) -> Self {
        Self { image: image.to_owned(), sha256: sha256.map(str::to_owned), version: None }
    }
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let lock = Lock::take(&context.root)?;
    let config = context.load_config()?;
    let mut machine = context.change(&config)?;
    let mut shown = Shown::new();
    let wanted =
        Wanted { image: &args.image, sha256: args.sha256.as_deref(), version: args.version.as_deref() };
    let written = write(&mut machine, &wanted, &config, |p| shown.show(p));
    shown.clear();
    let written = written?;
    println!(
        "{} is staged in slot {}: {} MiB, {} of them written, verified in {:.1} s; `abide apply` makes it boot next",
        written.version,
        written.slot,
        written.report.bytes.div_ceil(MIB),
        written.report.written.div_ceil(MIB),
        shown.start.elapsed().as_secs_f64()
    );
    let update = machine.state().update;
    drop((machine, lock));
    if let Some(update) = &update {
        announce(&context.root, &config, &Event::of_update(&context.root, Kind::Staged, update));
    }
    Ok(())
}

/// Progress: one line that changes on a terminal, else nothing.
struct Shown {
    start: Instant,
    last: Option<Instant>,
    terminal: bool,
}

impl Shown {
    fn new() -> Self {
        let terminal = std::io::stderr().is_terminal() && log::log_enabled!(log::Level::Warn);
        Self { start: Instant::now(), last: None, terminal }
    }

    fn show(&mut self, progress: Progress) {
        let due = self.last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if !self.terminal || !due {
            return;
        }
        self.last = Some(Instant::now());
        let Progress { done, total } = progress;
        let seconds = self.start.elapsed().as_secs_f64().max(0.001);
        let rate = done as f64 / seconds;
        let left = total.saturating_sub(done) as f64 / rate.max(1.0);
        self.print(&format!(
            "\r\x1b[K{:3} %  {} of {} MiB  {:.0} MiB/s  {left:.0} s left",
            done.saturating_mul(100) / total.max(1),
            done / MIB,
            total / MIB,
            rate / MIB as f64,
        ));
    }

    fn clear(&self) {
        if self.last.is_some() {
            self.print("\r\x1b[K");
        }
    }

    fn print(&self, text: &str) {
        let mut stderr = std::io::stderr();
        // Progress that nobody can see is no reason to stop.
        stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()).unwrap_or_default();
    }
}
