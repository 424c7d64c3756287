//! `kind = "confirm"`: an application, an operator or a controller says that all is well, by
//! `abide confirm`, or that it is not, by `abide deny`.

use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::kinds::ConfirmCheck;
use crate::health::Finding;
use crate::health::clock::Clock;
use abide_core::config::duration::format;
use abide_core::error::{OrError, Result};
use abide_core::files;
use abide_core::root::Root;
use abide_core::state::boot_note::boot_id;

const PATH: &str = "/run/abide/confirm.json";

/// What was said about this boot. The last word counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The kernel's id of the boot that this speaks of.
    pub boot_id: String,
    /// Whether all is well.
    pub confirmed: bool,
    /// Why not; may be empty.
    pub reason: String,
}

impl Answer {
    /// An answer about the boot that runs `root`.
    #[must_use]
    pub fn new(root: &Root, confirmed: bool, reason: &str) -> Self {
        Self { boot_id: boot_id(root), confirmed, reason: reason.into() }
    }

    /// Leaves it for the check.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if `/run/abide` cannot be written.
    pub fn write(&self, root: &Root) -> Result<()> {
        let path = root.path(PATH);
        let bytes = serde_json::to_vec(self).or_failed(|| format!("{}: cannot encode", path.display()))?;
        files::replace(&path, &bytes)
    }

    fn read(root: &Root) -> Option<Self> {
        let text = fs::read_to_string(root.path(PATH)).ok()?;
        let answer: Self =
            serde_json::from_str(&text).inspect_err(|e| log::warn!("{PATH}: not understood: {e}")).ok()?;
        (answer.boot_id == boot_id(root)).then_some(answer)
    }
}

/// The check.
#[derive(Debug)]
pub struct ConfirmProbe {
    config: ConfirmCheck,
    root: Root,
    clock: Clock,
    /// When an answer began to be waited for.
    since: Option<Duration>,
}

impl ConfirmProbe {
    /// A check that has not waited yet.
    #[must_use]
    pub fn new(config: &ConfirmCheck, root: &Root) -> Self {
        Self { config: config.clone(), root: root.clone(), clock: Clock::new(root), since: None }
    }

    /// Looks once.
    pub fn run(&mut self, _limit: Duration) -> Finding {
        let now = self.clock.now();
        let since = *self.since.get_or_insert(now);
        judge(&self.config, Answer::read(&self.root).as_ref(), now.saturating_sub(since))
    }
}

fn judge(config: &ConfirmCheck, answer: Option<&Answer>, waited: Duration) -> Finding {
    match (answer, config.wait) {
        (Some(Answer { confirmed: true, .. }), _) => Finding::Pass,
        (Some(Answer { reason, .. }), _) if reason.is_empty() => Finding::Failed("denied".into()),
        (Some(Answer { reason, .. }), _) => Finding::Failed(format!("denied: {reason}")),
        (None, Some(wait)) if waited >= wait && config.silence_confirms => Finding::Pass,
        (None, Some(wait)) if waited >= wait => {
            Finding::Failed(format!("not confirmed within {}", format(wait)))
        }
        (None, _) => Finding::NotYet("waiting for `abide confirm`".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn check(wait: Option<Duration>, silence_confirms: bool) -> ConfirmCheck {
        ConfirmCheck { wait, silence_confirms }
    }

    fn answer(confirmed: bool, reason: &str) -> Answer {
        Answer { boot_id: String::new(), confirmed, reason: reason.into() }
    }

    #[test]
    fn a_denial_fails_for_good_with_the_reason_given() {
        let told = judge(&check(None, false), Some(&answer(false, "no payments")), MINUTE);
        assert_eq!(told, Finding::Failed("denied: no payments".into()));
    }

    #[test]
    fn a_confirmation_passes() {
        assert_eq!(judge(&check(None, false), Some(&answer(true, "")), MINUTE), Finding::Pass);
    }

    #[test]
    fn silence_means_what_was_configured() {
        let silence = |config: ConfirmCheck| judge(&config, None, MINUTE);
        assert!(matches!(silence(check(None, false)), Finding::NotYet(_)));
        assert!(matches!(silence(check(Some(MINUTE * 2), true)), Finding::NotYet(_)));
        assert_eq!(silence(check(Some(MINUTE), true)), Finding::Pass);
        assert_eq!(silence(check(Some(MINUTE), false)), Finding::Failed("not confirmed within 1min".into()));
    }

    #[test]
    fn an_answer_about_another_boot_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        fs::create_dir_all(dir.path().join("proc/sys/kernel/random")).unwrap();
        let id = dir.path().join("proc/sys/kernel/random/boot_id");
        fs::write(&id, "one\n").unwrap();
        Answer::new(&root, true, "").write(&root).unwrap();
        assert!(Answer::read(&root).is_some());
        fs::write(&id, "two\n").unwrap();
        assert!(Answer::read(&root).is_none());
    }
}
