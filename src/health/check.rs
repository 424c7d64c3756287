//! A check ready to run: its configuration and its probe.

use crate::config::{CheckConfig, CheckKind, Config};
use crate::health::assessment::CheckRule;
use crate::health::kinds::new_probe;
use crate::health::probe::Probe;
use crate::health::scripts;
use abide_core::root::Root;
use abide_core::state::Baseline;

/// A check ready to run.
#[derive(Debug)]
pub struct Check {
    pub(super) config: CheckConfig,
    /// [`CheckConfig::required`], with `only_if_passed_before` taken into account.
    pub(super) required: bool,
    pub(super) probe: Box<dyn Probe>,
}

impl Check {
    fn new(config: CheckConfig, baseline: &Baseline, root: &Root) -> Self {
        let has_passed_before = baseline.passed_checks.contains(&config.name);
        Self {
            required: config.required && (!config.only_if_passed_before || has_passed_before),
            probe: new_probe(&config, baseline, root),
            config,
        }
    }

    /// What the assessment must know about it.
    #[must_use]
    pub fn rule(&self) -> CheckRule {
        CheckRule {
            name: self.config.name.clone(),
            required: self.required,
            failures_allowed: self.config.failures_allowed,
            is_confirmation: self.is_confirmation(),
        }
    }

    fn is_confirmation(&self) -> bool {
        matches!(self.config.kind, CheckKind::Confirm(_))
    }
}

/// The checks of `config`, then the scripts in the folders of checks. If none of them is required, or only a
/// confirmation, the default check is added: a commit needs evidence.
#[must_use]
pub fn prepare(config: &Config, baseline: &Baseline, root: &Root) -> Vec<Check> {
    let mut configs = config.checks.clone();
    for script in scripts::checks(root, &config.scripts) {
        if !configs.iter().any(|config| config.name == script.name) {
            configs.push(script);
        }
    }
    let mut checks: Vec<Check> =
        configs.into_iter().map(|config| Check::new(config, baseline, root)).collect();
    if !checks.iter().any(|check| check.required && !check.is_confirmation()) {
        checks.push(Check::new(CheckConfig::default(), baseline, root));
    }
    checks
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn prepared(text: &str, baseline: &Baseline) -> Vec<(String, bool)> {
        let config = Config::parse("f", text).unwrap();
        let checks = prepare(&config, baseline, &Root::live());
        checks.into_iter().map(|check| (check.config.name, check.required)).collect()
    }

    fn check(name: &str, keys: &str) -> String {
        format!("[[check]]\nname = '{name}'\nkind = 'command'\n{keys}\ncommand = 'true'\n")
    }

    #[test]
    fn a_check_that_did_not_pass_before_is_not_required_now() {
        let text = check("old", "only_if_passed_before = true") + &check("new", "");
        let expected = |old: bool| [("old".to_owned(), old), ("new".to_owned(), true)];
        assert_eq!(prepared(&text, &Baseline::default()), expected(false));
        let passed = Baseline { passed_checks: vec!["old".into()], failed_units: vec![] };
        assert_eq!(prepared(&text, &passed), expected(true));
    }

    #[test]
    fn without_a_required_check_the_default_check_is_added() {
        let checks = prepared(&check("a", "required = false"), &Baseline::default());
        assert_eq!(checks, [("a".to_owned(), false), ("system".to_owned(), true)]);
    }
}
