//! One run of a script of the administrator that is not a check.

use std::time::Duration;

use crate::health::scripts::Script;
use crate::systemd::child;
use crate::systemd::child::Capture;
use abide_core::root::Root;

/// How much of the end of a script's output is kept.
const OUTPUT: usize = 400;

/// Runs a script in the root directory, with these environment variables, and returns the last line of its output.
///
/// # Errors
/// If it cannot be started, fails, or does not end within `limit`: why, and the last line of its output.
pub fn run(
    root: &Root,
    script: &Script,
    variables: Vec<(&'static str, String)>,
    limit: Duration,
) -> Result<String, String> {
    let mut command = script.command();
    command.current_dir(root.path("/")).envs(variables);
    let ended = child::run(command, limit, Capture::All, OUTPUT).map_err(|e| format!("cannot start: {e}"))?;
    let said = ended.output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
    let with = |why: String| if said.is_empty() { why } else { format!("{why}: {said}") };
    match ended.status {
        Some(status) if status.success() => Ok(said),
        Some(status) => Err(with(status.to_string())),
        None => Err(with("did not end in time".into())),
    }
}
