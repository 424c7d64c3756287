//! How far a write has come, for people and for programs.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::update::write::{Progress, Written};
use abide_core::error::Error;

const MIB: u64 = 1 << 20;

/// How to show progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// One line that changes on a terminal, a line now and then elsewhere
    Auto,
    /// One JSON object per line on standard output
    Json,
    /// Nothing
    None,
}

/// Where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Terminal,
    Lines,
    Json,
    None,
}

impl Kind {
    fn of(style: Style) -> Self {
        match style {
            Style::Json => Self::Json,
            Style::Auto if !log::log_enabled!(log::Level::Warn) => Self::None,
            Style::Auto if std::io::stderr().is_terminal() => Self::Terminal,
            Style::Auto => Self::Lines,
            Style::None => Self::None,
        }
    }

    /// At most so often. What lands in a log is read later, if ever.
    fn interval(self) -> Duration {
        match self {
            Self::Terminal => Duration::from_millis(250),
            Self::Json => Duration::from_secs(1),
            Self::Lines | Self::None => Duration::from_secs(15),
        }
    }
}

/// What was shown.
pub struct Shown {
    kind: Kind,
    start: Instant,
    last: Option<Instant>,
    /// When the root's first byte came, and which one that was; the rate counts from there.
    first: Option<(Instant, u64)>,
}

impl Shown {
    pub fn new(style: Style) -> Self {
        Self { kind: Kind::of(style), start: Instant::now(), last: None, first: None }
    }

    /// Since the beginning.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// To be told of every step; shows some.
    pub fn show(&mut self, progress: Progress) {
        let now = Instant::now();
        let (first, from) = *self.first.get_or_insert((now, progress.done));
        let since = match self.kind {
            // The first line is for those who wait, not for a write that is over in a moment.
            Kind::Lines => self.last.unwrap_or(self.start),
            _ => self.last.unwrap_or(first),
        };
        let is_due = now.duration_since(since) >= self.kind.interval()
            || (self.kind == Kind::Json && (self.last.is_none() || progress.done == progress.total));
        if is_due && self.kind != Kind::None {
            self.last = Some(now);
            self.put(
                progress,
                Pace::of(progress, progress.done.saturating_sub(from), now.duration_since(first)),
            );
        }
    }

    fn put(&self, Progress { done, total }: Progress, pace: Pace) {
        let percent = done.saturating_mul(100) / total.max(1);
        let text = || {
            format!(
                "{percent:3} %  {} of {} MiB  {} MiB/s  {} left",
                done / MIB,
                total / MIB,
                pace.rate / MIB,
                left(pace.seconds_left)
            )
        };
        match self.kind {
            Kind::Terminal => print_error(&format!("\r\x1b[K{}", text())),
            Kind::Lines => print_error(&format!("abide: written: {}\n", text().trim_start())),
            Kind::Json => print_event(&json!({
                "schema": 1, "event": "progress", "done": done, "total": total, "percent": percent,
                "rate": pace.rate, "seconds_left": pace.seconds_left,
            })),
            Kind::None => {}
        }
    }

    /// To be told of every part of a file that was fetched; shows some.
    pub fn fetching(&mut self, name: &str, done: u64, total: Option<u64>) {
        let now = Instant::now();
        let is_end = total == Some(done);
        let is_due = self.last.is_none_or(|last| now.duration_since(last) >= self.kind.interval());
        let is_shown = is_due || is_end && self.kind != Kind::Lines;
        if self.kind == Kind::None || !is_shown {
            return;
        }
        self.last = Some(now);
        let percent = total.map(|total| done.saturating_mul(100) / total.max(1));
        let text = || match (percent, total) {
            (Some(percent), Some(total)) => format!("{name}: {percent} % of {} MiB", total.div_ceil(MIB)),
            _ => format!("{name}: {} MiB", done / MIB),
        };
        match self.kind {
            Kind::Terminal => print_error(&format!("\r\x1b[K{}", text())),
            Kind::Lines => print_error(&format!("abide: fetched: {}\n", text())),
            Kind::Json => print_event(&json!({
                "schema": 1, "event": "fetching", "file": name, "done": done, "total": total, "percent": percent,
            })),
            Kind::None => {}
        }
    }

    /// Nothing more will come.
    pub fn end(&self, result: Result<&Written, &Error>) {
        match (self.kind, result) {
            (Kind::Terminal, _) if self.last.is_some() => print_error("\r\x1b[K"),
            (Kind::Json, Ok(written)) => print_event(&json!({
                "schema": 1, "event": "staged", "version": written.version, "slot": written.slot.to_string(),
                "digest": written.digest, "bytes": written.report.bytes, "written": written.report.written,
                "zeroed": written.report.zeroed, "seconds": self.seconds(),
            })),
            (Kind::Json, Err(e)) => print_event(&json!({
                "schema": 1, "event": "failed", "error": e.to_string(), "exit_code": e.exit_code(),
            })),
            _ => {}
        }
    }

    /// Whether the result is shown already.
    pub fn is_json(&self) -> bool {
        self.kind == Kind::Json
    }
}

/// How fast, and how long still.
#[derive(Debug, PartialEq, Eq)]
struct Pace {
    /// Bytes per second.
    rate: u64,
    seconds_left: Option<u64>,
}

impl Pace {
    /// `done` bytes came in `time`.
    fn of(progress: Progress, done: u64, time: Duration) -> Self {
        let rate = (done as f64 / time.as_secs_f64().max(0.001)) as u64;
        let left = progress.total.saturating_sub(progress.done);
        let seconds_left = if left == 0 { Some(0) } else { (rate > 0).then(|| left.div_ceil(rate)) };
        Self { rate, seconds_left }
    }
}

fn left(seconds: Option<u64>) -> String {
    match seconds {
        None => "unknown time".into(),
        Some(s) if s >= 120 => format!("{} min", s.div_ceil(60)),
        Some(s) => format!("{s} s"),
    }
}

/// Makes room for another message where progress may be on the terminal.
pub fn clear_line() {
    if std::io::stderr().is_terminal() {
        print_error("\r\x1b[K");
    }
}

fn print_error(text: &str) {
    let mut stderr = std::io::stderr();
    // Progress that nobody can see is no reason to stop.
    stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()).unwrap_or_default();
}

fn print_event(event: &serde_json::Value) {
    let mut stdout = std::io::stdout();
    // As above: who does not listen any more has no reason to have the write fail.
    writeln!(stdout, "{event}").and_then(|()| stdout.flush()).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_tells_how_long_it_still_takes() {
        let progress = Progress { done: 300, total: 1000 };
        let pace = Pace::of(progress, 200, Duration::from_secs(2));
        assert_eq!(pace, Pace { rate: 100, seconds_left: Some(7) });
        assert_eq!(Pace::of(progress, 0, Duration::ZERO).seconds_left, None);
        let whole = Progress { done: 1000, total: 1000 };
        assert_eq!(Pace::of(whole, 0, Duration::ZERO).seconds_left, Some(0));
        assert_eq!(
            (left(Some(119)), left(Some(121)), left(None)),
            ("119 s".into(), "3 min".into(), "unknown time".into())
        );
    }
}
