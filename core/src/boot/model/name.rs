//! File names of boot entries.

use std::fmt;

use crate::boot::model::counter::Counter;

/// The type of an entry, from the suffix of its file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suffix {
    /// `.efi`: a unified kernel image.
    Efi,
    /// `.conf`: a Type #1 entry.
    Conf,
}

impl Suffix {
    /// The suffix, in lower case and with its dot.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Efi => ".efi",
            Self::Conf => ".conf",
        }
    }
}

/// The parsed file name of a boot entry: `STEM[+LEFT[-DONE]].efi` or `.conf`.
///
/// Names are compared as they are written; compare [`EntryName::id`] where the
/// counter and the case should not matter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EntryName {
    file: String,
    stem_len: usize,
    counter: Option<Counter>,
    suffix: Suffix,
}

impl EntryName {
    /// Parses `file`, a name without folders.
    ///
    /// `None` if the loader would not show it: another suffix than `.efi` or
    /// `.conf` (in any case), a leading dot, a leading `auto-`
    /// (systemd 252 to 262, `boot.c`, where the folders are read), or a `/` or `\`.
    #[must_use]
    pub fn parse(file: &str) -> Option<Self> {
        if file.starts_with('.') || file.starts_with("auto-") || file.contains(['/', '\\', '\0']) {
            return None;
        }
        let suffix = [Suffix::Efi, Suffix::Conf].into_iter().find(|s| ends_with_no_case(file, s.as_str()))?;
        let whole = file.get(..file.len() - suffix.as_str().len())?;
        // The last `+` begins the counter, and the suffix follows it at once
        // (systemd 262, boot.c, boot_entry_parse_tries; 252 and 257 alike).
        let parsed = whole.rsplit_once('+').and_then(|(stem, c)| Some((stem.len(), Counter::parse(c)?)));
        let (stem_len, counter) = match parsed {
            Some((len, counter)) => (len, Some(counter)),
            None => (whole.len(), None),
        };
        Some(Self { file: file.to_owned(), stem_len, counter, suffix })
    }

    /// The file name, as it is on the disk.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The name without counter and suffix, in its own case.
    #[must_use]
    pub fn stem(&self) -> &str {
        self.file.get(..self.stem_len).unwrap_or_default()
    }

    /// The boot counter, if the name has one.
    #[must_use]
    pub fn counter(&self) -> Option<Counter> {
        self.counter
    }

    /// What kind of file it is.
    #[must_use]
    pub fn suffix(&self) -> Suffix {
        self.suffix
    }

    /// The loader's name for the entry: lower case, without the counter, with the suffix.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}{}", self.stem(), self.suffix.as_str()).to_ascii_lowercase()
    }

    /// The same name without a counter.
    #[must_use]
    pub fn plain(&self) -> Self {
        self.with_counter(None)
    }

    /// The same entry with another counter, or with none. The suffix keeps its case.
    #[must_use]
    pub fn with_counter(&self, counter: Option<Counter>) -> Self {
        let suffix = self.file.get(self.file.len() - self.suffix.as_str().len()..).unwrap_or_default();
        let text = counter.map(|c| c.to_string()).unwrap_or_default();
        let file = format!("{}{text}{suffix}", self.stem());
        // Without a counter of its own, a stem such as `a+1` would be read as one.
        Self::parse(&file).unwrap_or_else(|| self.clone())
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)
    }
}

/// The form in which ids are compared: counter stripped, lower case.
///
/// Before 257.10, 258.1 and 259 the loader's variables name an entry with the
/// counter that it had, so both sides of a comparison go through this. A profile
/// (`@…`) at the end is kept.
#[must_use]
pub fn fold_id(id: &str) -> String {
    let (file, profile) = match id.rfind('@') {
        Some(at) => id.split_at(at),
        None => (id, ""),
    };
    let Some(name) = EntryName::parse(file).filter(|_| !profile.is_empty()).or_else(|| EntryName::parse(id))
    else {
        return id.to_ascii_lowercase();
    };
    if name.file() == id { name.id() } else { format!("{}{}", name.id(), profile.to_ascii_lowercase()) }
}

/// Whether `text` ends in `end`, letters in any case (ASCII, as the loader folds them).
#[must_use]
pub fn ends_with_no_case(text: &str, end: &str) -> bool {
    let (text, end) = (text.as_bytes(), end.as_bytes());
    text.len() >= end.len() && text.iter().rev().zip(end.iter().rev()).all(|(a, b)| a.eq_ignore_ascii_case(b))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn counter(file: &str) -> Option<(u32, u32)> {
        EntryName::parse(file).unwrap().counter().map(|c| (c.left, c.done))
    }

    #[test]
    fn the_last_plus_begins_the_counter() {
        let name = EntryName::parse("a+1+2-1.efi").unwrap();
        assert_eq!((name.stem(), name.counter()), ("a+1", Some(Counter { left: 2, done: 1 })));
        assert_eq!(name.id(), "a+1.efi");
    }

    #[test]
    fn what_is_not_a_counter_is_part_of_the_stem() {
        for file in ["foo+.conf", "foo-1.conf", "abc+0x4.conf", "def+1-0x3.conf", "x+1-2y.efi", "x+1.efi.efi"]
        {
            let name = EntryName::parse(file).unwrap();
            assert_eq!(name.counter(), None, "{file}");
            assert_eq!(name.id(), file);
        }
    }

    #[test]
    fn the_suffix_may_be_in_any_case() {
        assert_eq!(counter("Edge_2.0+3.EFI"), Some((3, 0)));
        assert_eq!(EntryName::parse("Edge_2.0+3.EFI").unwrap().id(), "edge_2.0.efi");
    }

    #[test]
    fn a_name_above_the_loaders_int_has_no_counter() {
        assert_eq!(counter("x+2147483648.efi"), None);
        assert_eq!(counter("x+2147483647.efi"), Some((2147483647, 0)));
    }

    #[test]
    fn names_that_the_loader_skips_are_no_entries() {
        for file in ["", ".efi", ".hidden.efi", "auto-x.efi", "x.efi.tmp", "x", "a/b.efi", "x.efi~"] {
            assert_eq!(EntryName::parse(file), None, "{file}");
        }
    }

    #[test]
    fn the_counter_is_exchanged_and_the_rest_kept() {
        let name = EntryName::parse("Edge_2.0+003-0.EFI").unwrap();
        assert_eq!(name.to_string(), "Edge_2.0+003-0.EFI");
        assert_eq!(name.with_counter(None).file(), "Edge_2.0.EFI");
        assert_eq!(name.with_counter(Some(Counter { left: 0, done: 1 })).file(), "Edge_2.0+0-1.EFI");
    }

    #[test]
    fn ids_of_old_and_new_loaders_fold_to_the_same() {
        assert_eq!(fold_id("Edge_2.0+2-1.efi"), "edge_2.0.efi");
        assert_eq!(fold_id("edge_2.0.efi"), "edge_2.0.efi");
        assert_eq!(fold_id("edge_2.0+2-1.efi@Factory"), "edge_2.0.efi@factory");
        assert_eq!(fold_id("auto-reboot"), "auto-reboot");
        assert_eq!(fold_id("a@b.efi"), "a@b.efi");
    }
}
