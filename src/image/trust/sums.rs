//! `SHA256SUMS`, as sha256sum(1) writes it and systemd-sysupdate reads it.

use std::collections::BTreeMap;

use jiff::civil::Date;

/// An entry with this prefix names the last day on which the list may be used (systemd 260).
const BEST_BEFORE: &str = "BEST-BEFORE-";

/// The digests of the files of one folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    digests: BTreeMap<String, String>,
    best_before: Option<Date>,
}

impl Sums {
    /// Reads the list: `DIGEST  NAME` or `DIGEST *NAME`, where names are of files in the folder itself.
    ///
    /// # Errors
    /// A sentence about the first invalid line: a partly valid list is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "is not text".to_owned())?;
        let mut sums = Self::default();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() {
                continue;
            }
            let wrong = |why: &str| format!("line {} {why}", number + 1);
            let (digest, rest) = line.split_once(' ').ok_or_else(|| wrong("is not a digest and a name"))?;
            let name = rest.strip_prefix([' ', '*']).ok_or_else(|| wrong("is not a digest and a name"))?;
            if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(wrong("has no SHA-256"));
            }
            if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0', '\\']) {
                return Err(wrong("does not name a file of this folder"));
            }
            if let Some(day) = name.strip_prefix(BEST_BEFORE) {
                let day: Date = day.parse().map_err(|_| wrong("has no date after BEST-BEFORE-"))?;
                // The earliest of several counts.
                sums.best_before = Some(sums.best_before.map_or(day, |other| other.min(day)));
            }
            let digest = digest.to_ascii_lowercase();
            let known = sums.digests.insert(name.to_owned(), digest.clone());
            if known.is_some_and(|known| known != digest) {
                return Err(wrong("lists a file again with another digest"));
            }
        }
        Ok(sums)
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
    fn a_list_with_an_invalid_line_is_refused_as_a_whole() {
        for line in [
            "<html>".to_owned(),
            format!("{ZERO} a"),
            format!("{}  a", ZERO.split_at(63).0),
            format!("{ZERO}  ../a"),
            format!("{ZERO}  /etc/passwd"),
            format!("{ZERO}  .."),
            format!("{ZERO}  "),
            format!("\\{ZERO}  a"),
            format!("{ZERO}  BEST-BEFORE-tomorrow"),
            format!("{ZERO}  x\n{}  x", "0".repeat(64)),
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
