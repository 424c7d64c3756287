//! A default that overrides the counters.

use crate::doctor::finding::{Finding, Severity};
use abide_core::boot::model::choice::{Because, Settings, choose};
use abide_core::boot::{Entry, Quirks};

const WHY: &str = "it overrides the boot counters, so the loader never boots an update, or never falls back from a failed one";

/// `trial`: whether an update waits for its next boot or is being tested.
pub(super) fn look(entries: &[Entry], settings: &Settings, quirks: &Quirks, trial: bool) -> Vec<Finding> {
    conf(entries, settings, quirks).into_iter().chain(variables(settings, quirks, trial)).collect()
}

/// Abide must not change the file.
fn conf(entries: &[Entry], settings: &Settings, quirks: &Quirks) -> Vec<Finding> {
    let conf = &settings.conf;
    let preferred = conf.preferred.as_ref().filter(|_| quirks.preferred);
    // `apply` clears the variables; the file may still decide.
    let alone =
        Settings { conf: conf.clone(), last_booted: settings.last_booted.clone(), ..Settings::default() };
    let decides =
        choose(entries, &alone, quirks).is_some_and(|choice| !matches!(choice.because, Because::First(..)));
    let severity = if decides { Severity::Error } else { Severity::Warning };
    [("default", conf.default.as_ref()), ("preferred", preferred)]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .map(|(key, value)| {
            let found = Finding::warning("default-in-loader-conf", format!("loader.conf has `{key} {value}`"));
            Finding { severity, ..found }
                .because(if decides { format!("{WHY}; `abide apply` refuses") } else { WHY.to_owned() })
                .remedy("remove that line from loader/loader.conf on the ESP; without it the order of the entries decides")
        })
        .collect()
}

fn variables(settings: &Settings, quirks: &Quirks, trial: bool) -> Vec<Finding> {
    let preferred = settings.preferred.as_ref().filter(|_| quirks.preferred);
    [("LoaderEntryDefault", settings.default.as_ref()), ("LoaderEntryPreferred", preferred)]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .map(|(name, value)| {
            let found = Finding::warning("default-in-variable", format!("the EFI variable {name} is `{value}`"));
            // `apply` clears it; during a trial nothing does.
            let severity = if trial { Severity::Error } else { Severity::Warning };
            Finding { severity, ..found }
                .because(WHY)
                .remedy("run `abide doctor --fix`, or clear it with `bootctl set-default ''`; `abide apply` also clears it")
                .fixable()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use abide_core::boot::LoaderConf;
    use abide_testing::entry::uki;

    #[test]
    fn a_default_is_an_error_where_it_decides_and_a_warning_where_it_does_not() {
        let entries = [uki("edge_1.0.efi", "1.0")];
        for (pattern, severity) in [("edge*", Severity::Error), ("other*", Severity::Warning)] {
            let conf = LoaderConf { default: Some(pattern.into()), preferred: None };
            let settings = Settings { conf, ..Settings::default() };
            let found = look(&entries, &settings, &Quirks::V257, false);
            assert_eq!(found.first().unwrap().severity, severity, "{pattern}");
        }
    }

    #[test]
    fn a_variable_is_an_error_only_in_the_middle_of_a_trial() {
        let settings = Settings { default: Some("x".into()), ..Settings::default() };
        for (trial, severity) in [(true, Severity::Error), (false, Severity::Warning)] {
            let found = look(&[], &settings, &Quirks::V257, trial);
            assert_eq!(found.first().unwrap().severity, severity);
            assert!(found.first().unwrap().fixable);
        }
    }

    #[test]
    fn preferred_means_nothing_to_a_loader_that_does_not_know_it() {
        let settings = Settings { preferred: Some("x".into()), ..Settings::default() };
        assert!(look(&[], &settings, &Quirks::V257, false).is_empty());
        assert_eq!(look(&[], &settings, &Quirks::NEWEST, false).len(), 1);
    }
}
