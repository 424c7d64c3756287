//! `SHA256SUMS`, as sha256sum(1) writes it and systemd-sysupdate reads it.

use std::collections::{BTreeMap, BTreeSet};

use abide_core::text;
use jiff::civil::Date;

use crate::image::names::Name;

/// An entry with this prefix names the last day on which the list may be used (systemd 260).
pub const BEST_BEFORE: &str = "BEST-BEFORE-";

/// The most sentences about entries that cannot be used.
const MAX_PROBLEMS: usize = 10;

/// The digests of the files of one folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    digests: BTreeMap<String, String>,
    best_before: Option<Date>,
    /// Entries that cannot be used, with the reason: sentences for the log.
    problems: Vec<String>,
}

impl Sums {
    /// Reads the list: `DIGEST  NAME` or `DIGEST *NAME`, where a name is a relative path below the folder. Comments and
    /// blank lines are skipped, as sha256sum(1) does; so are entries whose names cannot be used.
    ///
    /// # Errors
    /// A sentence about the first line that is not an entry: systemd-sysupdate refuses the list, too.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "is not text".to_owned())?;
        let (mut sums, mut twice) = (Self::default(), BTreeSet::new());
        for (number, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: &str| format!("line {} {why}", number + 1);
            // sha256sum(1) marks a name with escapes by a backslash before the digest.
            let (line, is_escaped) = line.strip_prefix('\\').map_or((line, false), |rest| (rest, true));
            let (digest, rest) = line.split_once(' ').ok_or_else(|| wrong("is not a digest and a name"))?;
            let name = rest.strip_prefix([' ', '*']).ok_or_else(|| wrong("is not a digest and a name"))?;
            if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(wrong("has no SHA-256"));
            }
            if is_escaped || !text::is_printable(name) || name.contains('\\') {
                sums.note(format!("{}: its name has characters that cannot be used", text::line(name)));
                continue;
            }
            let name = name.strip_prefix("./").unwrap_or(name);
            if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
                return Err(wrong("does not name a file below this folder"));
            }
            if let Some(day) = name.strip_prefix(BEST_BEFORE) {
                let day: Date = day.parse().map_err(|_| wrong("has no date after BEST-BEFORE-"))?;
                // The earliest of several counts.
                sums.best_before = Some(sums.best_before.map_or(day, |other| other.min(day)));
            }
            let digest = digest.to_ascii_lowercase();
            match sums.digests.get(name) {
                Some(known) if *known != digest && Name::parse(name).is_none() => {
                    return Err(wrong("lists a file again with another digest"));
                }
                Some(known) if *known != digest => {
                    twice.insert(name.to_owned());
                }
                _ => {
                    sums.digests.insert(name.to_owned(), digest);
                }
            }
        }
        for name in twice {
            sums.digests.remove(&name);
            sums.note(format!("{name}: is listed again with another digest"));
        }
        Ok(sums)
    }

    fn note(&mut self, problem: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    /// Entries that cannot be used, with the reason; the first of them.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The digest of a file, in lower-case hexadecimal.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.digests.get(name).map(String::as_str)
    }

    /// The names of the files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.digests.keys().map(String::as_str)
    }

    /// The list's last day, if that was before `today`.
    #[must_use]
    pub fn expired(&self, today: Date) -> Option<Date> {
        self.best_before.filter(|day| *day < today)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ZERO: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn both_forms_of_a_line_are_read() {
        let sums =
            Sums::parse(format!("{ZERO}  a.raw\n{} *b c.efi\n", ZERO.to_uppercase()).as_bytes()).unwrap();
        assert_eq!((sums.get("a.raw"), sums.get("b c.efi")), (Some(ZERO), Some(ZERO)));
        assert_eq!((sums.get("c.efi"), sums.expired(Date::MAX)), (None, None));
    }

    #[test]
    fn what_sha256sum_and_systemd_skip_is_skipped() {
        let text = format!(
            "\u{feff}# by make\r\n\r\n  \n{ZERO} *a.raw\r\n{ZERO}  ./b.raw\r\n{ZERO}  v1/x/c.raw\r\n"
        );
        let sums = Sums::parse(text.as_bytes()).unwrap();
        assert_eq!(sums.names().collect::<Vec<_>>(), ["a.raw", "b.raw", "v1/x/c.raw"]);
        assert!(sums.problems().is_empty());
    }

    #[test]
    fn an_entry_that_cannot_be_used_is_skipped_alone() {
        let other = "0".repeat(64);
        for (line, named) in [
            (format!("\\{ZERO}  a\\nb"), "a\\nb: its name has"),
            (format!("{ZERO}  a\x1b[31mb"), "ab: its name has"),
            (format!("{ZERO}  edge_1.raw\n{other}  edge_1.raw"), "edge_1.raw: is listed again"),
        ] {
            let sums = Sums::parse(format!("{ZERO}  ok\n{line}\n").as_bytes()).unwrap();
            assert_eq!(sums.names().collect::<Vec<_>>(), ["ok"], "{line:?}");
            assert!(
                matches!(sums.problems(), [problem] if problem.starts_with(named)),
                "{:?}",
                sums.problems()
            );
        }
        let many: String = (0..100).map(|n| format!("{ZERO}  \\{n}\n")).collect();
        assert_eq!(Sums::parse(many.as_bytes()).unwrap().problems().len(), MAX_PROBLEMS);
    }

    #[test]
    fn a_list_with_a_line_that_is_not_an_entry_is_refused_as_a_whole() {
        for line in [
            "<html>".to_owned(),
            format!("{ZERO} a"),
            format!("{}  a", ZERO.split_at(63).0),
            format!("{ZERO}  ../a"),
            format!("{ZERO}  a/../../b"),
            format!("{ZERO}  a/./b"),
            format!("{ZERO}  a//b"),
            format!("{ZERO}  a/"),
            format!("{ZERO}  /etc/passwd"),
            format!("{ZERO}  .//etc/passwd"),
            format!("{ZERO}  .."),
            format!("{ZERO}  ."),
            format!("{ZERO}  "),
            format!("{ZERO}  BEST-BEFORE-tomorrow"),
            // Not an image: its rules for the images would be lost.
            format!("{ZERO}  feed.toml\n{}  feed.toml", "0".repeat(64)),
        ] {
            assert!(Sums::parse(format!("{ZERO}  ok\n{line}\n").as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn a_list_is_valid_on_its_last_day() {
        let sums = Sums::parse(
            format!("{ZERO}  BEST-BEFORE-2026-03-01\n{ZERO}  BEST-BEFORE-2027-01-01\n").as_bytes(),
        )
        .unwrap();
        let day: Date = "2026-03-01".parse().unwrap();
        assert_eq!(sums.expired(day), None);
        assert_eq!(sums.expired(day.tomorrow().unwrap()), Some(day));
    }
}
