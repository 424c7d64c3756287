//! Where messages go: stderr, with priorities if that is the journal, and in the initramfs also the
//! kernel's log.

use std::fs::OpenOptions;
use std::io::Write;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::error::Error;
use crate::root::Root;
use crate::text::printable;

#[derive(Debug)]
struct Logger {
    journal: bool,
    kmsg: bool,
}

/// Starts logging at the level that `-v` and `-q` ask for.
pub fn start(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::Error,
        (false, 0) => LevelFilter::Warn,
        (false, 1) => LevelFilter::Info,
        (false, _) => LevelFilter::Debug,
    };
    let logger = Logger {
        journal: std::env::var("JOURNAL_STREAM").is_ok_and(|stream| leads_to(&stream)),
        kmsg: Root::live().is_initramfs(),
    };
    let level = if logger.kmsg { level.max(LevelFilter::Info) } else { level };
    // A second logger is the only failure, and there is none.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
}

/// Whether stderr is the journal's stream `DEVICE:INODE`: the variable is inherited by programs whose
/// stderr leads elsewhere (systemd.exec(5), `$JOURNAL_STREAM`).
fn leads_to(stream: &str) -> bool {
    rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// The one line that a failed command ends with.
pub fn error(e: &Error) {
    log::error!("{e}");
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level() && metadata.target().starts_with("abide")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // syslog(3) priorities: err, warning, info, debug.
        let (priority, word) = match record.level() {
            Level::Error => (3, ""),
            Level::Warn => (4, "warning: "),
            Level::Info => (6, ""),
            Level::Debug | Level::Trace => (7, ""),
        };
        let text = printable(&record.args().to_string());
        if self.kmsg {
            // One write is one record.
            let line = format!("<{priority}>abide: {word}{text}\n");
            let written = OpenOptions::new()
                .write(true)
                .open("/dev/kmsg")
                .and_then(|mut k| k.write_all(line.as_bytes()));
            if written.is_ok() {
                return;
            }
        }
        let prefix = if self.journal { format!("<{priority}>") } else { String::new() };
        // Without stderr, an error cannot be reported.
        writeln!(std::io::stderr(), "{prefix}abide: {word}{text}").unwrap_or_default();
    }

    fn flush(&self) {}
}
