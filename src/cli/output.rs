//! Standard output. A reader that closes the pipe, as `head` does, ends the output and fails nothing.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use log::warn;
use serde_json::json;

use abide_core::error::{OrError, Result};

/// Whether a result was shown.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// Shows the result that the command is for.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it cannot be written.
pub fn show(text: impl Display) -> Result<()> {
    SHOWN.store(true, Ordering::Relaxed);
    print(text).or_failed(|| "cannot write to standard output")
}

/// Shows an error as JSON, for a command with `--json` that has shown no result: each run prints one object.
pub fn show_error(code: u8, message: &str) {
    if !SHOWN.load(Ordering::Relaxed) {
        say(json!({"schema": 1, "error": {"code": code, "message": message}}));
    }
}

/// Says in one line what was done. That stays done if the line cannot be written.
pub fn say(text: impl Display) {
    if let Err(e) = print(format_args!("{text}\n")) {
        warn!("cannot write to standard output: {e}");
    }
}

fn print(text: impl Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
