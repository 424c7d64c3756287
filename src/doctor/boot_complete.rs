//! Whether a trial can reach boot-complete.target at all.

use crate::doctor::finding::Finding;
use crate::systemd::unit_files::UnitFile;

/// The units of a trial, and the purpose of each.
pub(super) const OWN: [(&str, &str); 6] = [
    ("boot-complete.target", "a trial is committed after it"),
    ("abide-assess.service", "it runs the health checks"),
    ("abide-commit.service", "it commits"),
    ("abide-deadline.timer", "it ends a trial that hangs"),
    ("abide-deadline.service", "it ends a trial that hangs"),
    ("abide-rollback.service", "it ends a trial that has failed"),
];

/// `own`: the state of each of [`OWN`]; `required`: the other units that boot-complete.target requires;
/// `kept_out`: whether systemd-bless-boot.service has Abide's drop-in.
pub(super) fn look(own: &[UnitFile], required: &[(String, UnitFile)], kept_out: bool) -> Vec<Finding> {
    let mut found: Vec<Finding> = OWN
        .iter()
        .zip(own)
        .filter_map(|((unit, purpose), installed)| {
            let how = word(*installed)?;
            Some(
                Finding::error("boot-complete", format!("{unit} is {how}"))
                    .because(format!("{purpose}; without it no trial can be committed, or none can be ended"))
                    .remedy(if *installed == UnitFile::Masked {
                        format!("systemctl unmask {unit}")
                    } else {
                        "install Abide's units in the image (`make install`)".to_owned()
                    }),
            )
        })
        .collect();
    found.extend(required.iter().filter_map(|(unit, installed)| {
        let how = word(*installed)?;
        Some(
            Finding::error("boot-complete", format!("boot-complete.target requires {unit}, which is {how}"))
                .because("the target is never reached, so every update is rolled back")
                .remedy(format!(
                    "install {unit} in the image, or remove it from boot-complete.target.requires"
                )),
        )
    }));
    if !kept_out {
        found.push(
            Finding::warning("bless-boot", "systemd-bless-boot.service lacks Abide's drop-in")
                .because("it trusts LoaderBootCountPath, which may name the failed entry after a fallback")
                .remedy("install Abide's units in the image (`make install`)"),
        );
    }
    found
}

fn word(unit: UnitFile) -> Option<&'static str> {
    match unit {
        UnitFile::Installed => None,
        UnitFile::Masked => Some("masked"),
        UnitFile::Missing => Some("not installed"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_unit_that_is_masked_or_missing_keeps_every_trial_from_being_committed() {
        let whole = [UnitFile::Installed; OWN.len()];
        assert!(look(&whole, &[("x.service".into(), UnitFile::Installed)], true).is_empty());
        let mut masked = whole;
        *masked.first_mut().unwrap() = UnitFile::Masked;
        assert_eq!(look(&masked, &[], true).first().unwrap().remedy, "systemctl unmask boot-complete.target");
        let required = look(&whole, &[("gone.service".into(), UnitFile::Missing)], true);
        assert!(required.first().unwrap().what.contains("gone.service, which is not installed"));
        assert_eq!(look(&whole, &[], false).first().unwrap().id, "bless-boot");
    }
}
