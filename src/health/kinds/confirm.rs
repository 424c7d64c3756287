//! `kind = "confirm"`: an application, an operator or a controller confirms the system by `abide confirm`,
//! or denies it by `abide deny`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::kinds::ConfirmCheck;
use crate::files;
use crate::health::MonotonicClock;
use crate::health::probe::{Probe, ProbeResult};
use abide_core::config::duration::format;
use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::state::boot_note::{TRIAL, boot_id};
use abide_core::state::{BootKind, BootNote};
use abide_core::text;

const PATH: &str = "/run/abide/confirm.json";

/// The answer of `abide confirm` or `abide deny` about a boot. The last one counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The kernel's id of the boot that it is about.
    pub boot_id: String,
    /// Whether the system was confirmed.
    pub confirmed: bool,
    /// The reason of a denial; may be empty.
    pub reason: String,
}

impl Confirmation {
    /// A confirmation or a denial of the boot that runs `root`.
    #[must_use]
    pub fn new(root: &Root, confirmed: bool, reason: &str) -> Self {
        Self { boot_id: boot_id(root), confirmed, reason: text::line(reason) }
    }

    /// Writes it for the check.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if `/run/abide` cannot be written.
    pub fn write(&self, root: &Root) -> Result<()> {
        files::write_json(&root.path(PATH), self)
    }

    fn read(root: &Root) -> Option<Self> {
        let answer: Self = files::read_json(&root.path(PATH))
            .inspect_err(|e| log::warn!("{e}; ignoring it"))
            .ok()
            .flatten()?;
        (answer.boot_id == boot_id(root)).then_some(answer)
    }
}

/// The check.
#[derive(Debug)]
pub struct ConfirmProbe {
    config: ConfirmCheck,
    root: Root,
    clock: MonotonicClock,
    /// The first run of the check.
    since: Option<Duration>,
}

impl ConfirmProbe {
    /// A check that has not run yet.
    #[must_use]
    pub fn new(config: &ConfirmCheck, root: &Root) -> Self {
        Self { config: config.clone(), root: root.clone(), clock: MonotonicClock::new(root), since: None }
    }
}

impl Probe for ConfirmProbe {
    fn run(&mut self, _limit: Duration) -> ProbeResult {
        let answer = Confirmation::read(&self.root);
        if answer.is_none() && !is_on_trial(&self.root) {
            return ProbeResult::Skipped("asked on a trial only".into());
        }
        let now = self.clock.now();
        let since = *self.since.get_or_insert(now);
        evaluate(&self.config, answer.as_ref(), now.saturating_sub(since))
    }
}

/// Whether an answer is awaited: a committed system needs none.
fn is_on_trial(root: &Root) -> bool {
    BootNote::read(root).is_some_and(|note| note.kind == BootKind::Trial) && root.path(TRIAL).exists()
}

fn evaluate(config: &ConfirmCheck, answer: Option<&Confirmation>, waited: Duration) -> ProbeResult {
    match (answer, config.wait) {
        (Some(Confirmation { confirmed: true, .. }), _) => ProbeResult::Pass,
        (Some(Confirmation { reason, .. }), _) if reason.is_empty() => ProbeResult::Failed("denied".into()),
        (Some(Confirmation { reason, .. }), _) => ProbeResult::Failed(format!("denied: {reason}")),
        (None, Some(wait)) if waited >= wait && config.silence_confirms => ProbeResult::Pass,
        (None, Some(wait)) if waited >= wait => {
            ProbeResult::Failed(format!("not confirmed within {}", format(wait)))
        }
        (None, _) => ProbeResult::NotYet("waiting for `abide confirm`".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn check(wait: Option<Duration>, silence_confirms: bool) -> ConfirmCheck {
        ConfirmCheck { wait, silence_confirms }
    }

    fn answer(confirmed: bool, reason: &str) -> Confirmation {
        Confirmation { boot_id: String::new(), confirmed, reason: reason.into() }
    }

    #[test]
    fn a_denial_fails_for_good_with_the_reason_given() {
        let told = evaluate(&check(None, false), Some(&answer(false, "no payments")), MINUTE);
        assert_eq!(told, ProbeResult::Failed("denied: no payments".into()));
    }

    #[test]
    fn a_confirmation_passes() {
        assert_eq!(evaluate(&check(None, false), Some(&answer(true, "")), MINUTE), ProbeResult::Pass);
    }

    #[test]
    fn silence_means_what_was_configured() {
        let silence = |config: ConfirmCheck| evaluate(&config, None, MINUTE);
        assert!(matches!(silence(check(None, false)), ProbeResult::NotYet(_)));
        assert!(matches!(silence(check(Some(MINUTE * 2), true)), ProbeResult::NotYet(_)));
        assert_eq!(silence(check(Some(MINUTE), true)), ProbeResult::Pass);
        assert_eq!(
            silence(check(Some(MINUTE), false)),
            ProbeResult::Failed("not confirmed within 1min".into())
        );
    }

    #[test]
    fn an_answer_about_another_boot_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        fs::create_dir_all(dir.path().join("proc/sys/kernel/random")).unwrap();
        let id = dir.path().join("proc/sys/kernel/random/boot_id");
        fs::write(&id, "one\n").unwrap();
        Confirmation::new(&root, true, "").write(&root).unwrap();
        assert!(Confirmation::read(&root).is_some());
        fs::write(&id, "two\n").unwrap();
        assert!(Confirmation::read(&root).is_none());
    }
}
