//! Whether a trial can reach boot-complete.target at all.

use crate::doctor::finding::Finding;
use crate::systemd::unit_files;
use crate::systemd::unit_files::UnitFile;
use abide_core::root::Root;

/// The units of a trial, and the purpose of each.
const OWN: [(&str, &str); 6] = [
    ("boot-complete.target", "a trial is committed after it"),
    ("abide-assess.service", "it runs the health checks"),
    ("abide-commit.service", "it commits"),
    ("abide-deadline.timer", "it ends a trial that hangs"),
    ("abide-deadline.service", "it ends a trial that hangs"),
    ("abide-rollback.service", "it ends a trial that has failed"),
];

const BLESSER: &str = "systemd-bless-boot.service";
const BLESSER_DROP_IN: &str = "systemd-bless-boot.service.d/10-abide.conf";

/// The units around boot-complete.target, as they are installed.
#[derive(Debug)]
pub(super) struct Units {
    /// Those of [`OWN`], in its order.
    own: Vec<UnitFile>,
    /// What boot-complete.target requires beside them.
    required: Vec<(String, UnitFile)>,
    /// Whether systemd-bless-boot.service has Abide's drop-in, or is not there.
    blesser_kept_out: bool,
}

impl Units {
    pub(super) fn read(root: &Root) -> Self {
        let is_own = |name: &str| OWN.iter().any(|(own, _)| *own == name);
        let required = unit_files::required_by(root, "boot-complete.target").into_iter();
        let found = |name: String| (name.clone(), unit_files::find(root, &name));
        Self {
            own: OWN.iter().map(|(unit, _)| unit_files::find(root, unit)).collect(),
            required: required.filter(|name| !is_own(name)).map(found).collect(),
            blesser_kept_out: !unit_files::exists(root, BLESSER) || unit_files::exists(root, BLESSER_DROP_IN),
        }
    }
}

pub(super) fn look(units: &Units) -> Vec<Finding> {
    let Units { own, required, blesser_kept_out } = units;
    let mut found: Vec<Finding> = OWN
        .iter()
        .zip(own)
        .filter_map(|((unit, purpose), installed)| {
            let how = word(*installed)?;
            Some(
                Finding::error("boot-complete", format!("{unit} is {how}"))
                    .because(format!("{purpose}; without it trials cannot be committed, or cannot be ended"))
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
    if !blesser_kept_out {
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
        let units = |own: &[UnitFile], required: &[(&str, UnitFile)], blesser_kept_out| Units {
            own: own.to_vec(),
            required: required.iter().map(|(name, unit)| ((*name).to_owned(), *unit)).collect(),
            blesser_kept_out,
        };
        let whole = [UnitFile::Installed; OWN.len()];
        assert!(look(&units(&whole, &[("x.service", UnitFile::Installed)], true)).is_empty());
        let mut masked = whole;
        *masked.first_mut().unwrap() = UnitFile::Masked;
        let masked = look(&units(&masked, &[], true));
        assert_eq!(masked.first().unwrap().remedy, "systemctl unmask boot-complete.target");
        let required = look(&units(&whole, &[("gone.service", UnitFile::Missing)], true));
        assert!(required.first().unwrap().what.contains("gone.service, which is not installed"));
        assert_eq!(look(&units(&whole, &[], false)).first().unwrap().id, "bless-boot");
    }
}
