//! How old an image may be that is installed. Pure.

use abide_core::boot::model::version::compare;
use abide_core::error::{Error, Result};

/// What limits the age of images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Floor<'a> {
    /// `[update] min_version`: no image is older.
    pub min_version: Option<&'a str>,
    /// `[update] floor`: no downgrade goes below it.
    pub configured: Option<&'a str>,
    /// The highest security epoch of the images that were committed; no downgrade goes below it.
    pub learned: Option<&'a str>,
    /// The running version; empty where it is not known, and then every image counts as a downgrade.
    pub running: &'a str,
    /// Whether the user asks for an old image.
    pub allow: bool,
}

impl Floor<'_> {
    /// Refuses a version that is too old.
    ///
    /// # Errors
    /// [`Error::Refused`]
    pub fn refuse_older(&self, version: &str) -> Result<()> {
        let is_older = |limit: &&str| compare(version, limit).is_lt();
        let limit = if let Some(min) = self.min_version.filter(is_older) {
            format!("min_version, {min}")
        } else if (self.running.is_empty() || !compare(version, self.running).is_gt())
            && let Some(floor) = highest(self.configured, self.learned).filter(is_older)
        {
            format!("the floor, {floor}")
        } else {
            return Ok(());
        };
        if self.allow {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "{version} is older than {limit}; `abide write --allow-downgrade` writes it in spite of that"
        )))
    }
}

/// The higher of two limits.
#[must_use]
pub fn highest<'a>(a: Option<&'a str>, b: Option<&'a str>) -> Option<&'a str> {
    [a, b].into_iter().flatten().max_by(|a, b| compare(a, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_higher_floor_counts_for_downgrades_and_min_version_for_all() {
        let floor =
            Floor { configured: Some("1.5"), learned: Some("2.0"), running: "3.0", ..Floor::default() };
        assert!(floor.refuse_older("2.0").is_ok() && floor.refuse_older("2.0~rc1").is_err());
        assert!(Floor { allow: true, ..floor }.refuse_older("1.0").is_ok());
        let old = Floor { running: "1.0", ..floor };
        assert!(old.refuse_older("1.1").is_ok(), "newer than what runs");
        assert!(Floor { min_version: Some("1.2"), ..old }.refuse_older("1.1").is_err());
        assert!(Floor { running: "", ..floor }.refuse_older("1.1").is_err());
        assert!(Floor::default().refuse_older("0").is_ok());
    }
}
