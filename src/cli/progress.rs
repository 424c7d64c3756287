//! Shows the progress of a write, as text or JSON.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cli::output;
use crate::update::write::{Progress, Written};
use abide_core::error::Error;

const MIB: u64 = 1 << 20;

/// How to show progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// A line that is updated on a terminal, a new line every 15 seconds elsewhere
    Auto,
    /// One JSON object per line on standard output
    Json,
    /// Nothing
    None,
}

/// How and where progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Display {
    Terminal,
    Lines,
    Json,
    None,
}

impl Display {
    fn of(style: Style) -> Self {
        match style {
            Style::Json => Self::Json,
            Style::Auto if !log::log_enabled!(log::Level::Warn) => Self::None,
            Style::Auto if std::io::stderr().is_terminal() => Self::Terminal,
            Style::Auto => Self::Lines,
            Style::None => Self::None,
        }
    }

    /// The shortest time between two updates; a log needs few.
    fn interval(self) -> Duration {
        match self {
            Self::Terminal => Duration::from_millis(250),
            Self::Json => Duration::from_secs(1),
            Self::Lines | Self::None => Duration::from_secs(15),
        }
    }
}

/// The progress of a command.
pub struct ProgressDisplay {
    kind: Display,
    start: Instant,
    last: Option<Instant>,
    /// When the first byte arrived, and its number; the rate counts from there.
    first: Option<(Instant, u64)>,
}

impl ProgressDisplay {
    pub fn new(style: Style) -> Self {
        Self { kind: Display::of(style), start: Instant::now(), last: None, first: None }
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// To be called for every step of a write; shows some of them.
    pub fn show(&mut self, progress: Progress) {
        let now = Instant::now();
        let (first, from) = *self.first.get_or_insert((now, progress.done));
        let since = match self.kind {
            // No line at all for a write that takes less than the interval.
            Display::Lines => self.last.unwrap_or(self.start),
            _ => self.last.unwrap_or(first),
        };
        let is_due = now.duration_since(since) >= self.kind.interval()
            || (self.kind == Display::Json && (self.last.is_none() || progress.done == progress.total));
        if is_due && self.kind != Display::None {
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
            Display::Terminal => print_error(&format!("\r\x1b[K{}", text())),
            Display::Lines => print_error(&format!("abide: written: {}\n", text().trim_start())),
            Display::Json => print_event(&json!({
                "schema": 1, "event": "progress", "done": done, "total": total, "percent": percent,
                "rate": pace.rate, "seconds_left": pace.seconds_left,
            })),
            Display::None => {}
        }
    }

    /// To be called for every fetched part of a file; shows some of them.
    pub fn fetching(&mut self, name: &str, done: u64, total: Option<u64>) {
        let now = Instant::now();
        let is_end = total == Some(done);
        let is_due = self.last.is_none_or(|last| now.duration_since(last) >= self.kind.interval());
        let is_shown = is_due || is_end && self.kind != Display::Lines;
        if self.kind == Display::None || !is_shown {
            return;
        }
        self.last = Some(now);
        let percent = total.map(|total| done.saturating_mul(100) / total.max(1));
        let text = || match (percent, total) {
            (Some(percent), Some(total)) => format!("{name}: {percent} % of {} MiB", total.div_ceil(MIB)),
            _ => format!("{name}: {} MiB", done / MIB),
        };
        match self.kind {
            Display::Terminal => print_error(&format!("\r\x1b[K{}", text())),
            Display::Lines => print_error(&format!("abide: fetched: {}\n", text())),
            Display::Json => print_event(&json!({
                "schema": 1, "event": "fetching", "file": name, "done": done, "total": total, "percent": percent,
            })),
            Display::None => {}
        }
    }

    /// Ends the display.
    pub fn end(&self, result: Result<&Written, &Error>) {
        match (self.kind, result) {
            (Display::Terminal, _) if self.last.is_some() => print_error("\r\x1b[K"),
            (Display::Json, Ok(written)) => print_event(&json!({
                "schema": 1, "event": "staged", "version": written.version, "slot": written.slot.to_string(),
                "digest": written.digest, "bytes": written.totals.bytes, "written": written.totals.written,
                "zeroed": written.totals.zeroed, "seconds": self.seconds(),
            })),
            (Display::Json, Err(e)) => print_event(&json!({
                "schema": 1, "event": "failed", "error": e.to_string(), "exit_code": e.exit_code(),
            })),
            _ => {}
        }
    }

    /// Whether the result was shown as JSON.
    pub fn is_json(&self) -> bool {
        self.kind == Display::Json
    }
}

/// Rate and remaining time.
#[derive(Debug, PartialEq, Eq)]
struct Pace {
    /// Bytes per second.
    rate: u64,
    seconds_left: Option<u64>,
}

impl Pace {
    /// `done` bytes arrived within `time`.
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

/// Clears the progress line on a terminal, for another message.
pub fn clear_line() {
    if std::io::stderr().is_terminal() {
        print_error("\r\x1b[K");
    }
}

fn print_error(text: &str) {
    let mut stderr = std::io::stderr();
    // A closed terminal must not stop the write.
    stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()).unwrap_or_default();
}

fn print_event(event: &serde_json::Value) {
    output::say(event);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remaining_time_follows_from_the_rate() {
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
