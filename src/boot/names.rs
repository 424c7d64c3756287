//! Names of new boot entries.

use std::borrow::Cow;

use abide_core::boot::model::counter;
use abide_core::boot::model::counter::Counter;
use abide_core::boot::model::name::{EntryName, Suffix};
use abide_core::text;

/// The file name of a new entry; `None` if the loader would not read it back as that stem and counter.
#[must_use]
pub fn entry_name(stem: &str, counter: Option<Counter>, suffix: Suffix) -> Option<EntryName> {
    let counter = counter.map(|c| c.to_string()).unwrap_or_default();
    let name = EntryName::parse(&format!("{stem}{counter}{}", suffix.as_str()))?;
    (name.stem() == stem).then_some(name)
}

/// The counter of an entry that was not tried yet: `+TRIES-0`.
#[must_use]
pub fn untried(tries: u32) -> Counter {
    Counter { left: tries.min(counter::MAX), done: 0 }
}

/// What FAT allows in no name (Linux, `vfat_bad_char`; beside control characters), and the `+` of counters: the stub finds
/// the addons of an entry by the first one.
const FORBIDDEN: &[char] = &['"', '*', ':', '<', '>', '?', '|', '/', '\\', '+'];
/// UTF-16 units of a name on FAT.
const MOST_UNITS: usize = 255;
/// The longest that is added to `<image>_<version>`: the suffix of a reinstall, a counter, and the type.
const LONGEST_END: &str = "_99+2147483647-2147483647.efi";

/// The name of an image's boot entry without endings: `<image>_<version>`. A text with blanks, such as the `ID` of EMT, is
/// written as one word: scripts split at blanks.
#[must_use]
pub fn stem(image_id: &str, version: &str) -> String {
    format!("{}_{}", one_word(image_id), one_word(version))
}

/// A text with blanks in lower case, with hyphens for the blanks; any other text as it is. In lower case, since loaders
/// fold the case of an id only where it has no counter, so that one with a counter could sort behind one without.
fn one_word(text: &str) -> Cow<'_, str> {
    if text.contains(' ') { Cow::Owned(hyphenated(text).to_ascii_lowercase()) } else { Cow::Borrowed(text) }
}

fn hyphenated(text: &str) -> String {
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// Whether two names are those of one image: a published file may have hyphens for the blanks in `ID`.
#[must_use]
pub fn is_same_image(one: &str, other: &str) -> bool {
    let has_blanks = one.contains(' ') || other.contains(' ');
    one == other || has_blanks && hyphenated(one).eq_ignore_ascii_case(&hyphenated(other))
}

/// The problem with the name of the boot entry of an image, in one sentence; `None` if it can have one. An entry must be
/// renamable in every way, or its update fails when its slot is gone already.
#[must_use]
pub fn unnameable(image_id: &str, version: &str) -> Option<String> {
    if image_id.trim().is_empty() || version.trim().is_empty() {
        return Some(
            "the image's os-release has an empty name or version; set IMAGE_ID and IMAGE_VERSION".into(),
        );
    }
    let stem = stem(image_id, version);
    let cannot = |why: String| {
        let stem = stem.escape_debug();
        format!(
            "'{stem}' cannot be the name of a boot entry: {why}; build the image with another IMAGE_VERSION"
        )
    };
    if let Some(c) = stem.chars().find(|c| *c < ' ' || FORBIDDEN.contains(c)) {
        let who = if c == '+' { "boot counters begin with" } else { "FAT does not allow names with" };
        return Some(cannot(format!("{who} {c:?}")));
    }
    if !text::is_printable(&stem) {
        return Some(cannot("it has characters that cannot be shown".into()));
    }
    let units = stem.encode_utf16().count();
    let most = MOST_UNITS - LONGEST_END.len();
    if units > most {
        return Some(cannot(format!("it has {units} characters, and with a counter FAT allows {most}")));
    }
    let is_shown = entry_name(&stem, None, Suffix::Efi).is_some();
    (!is_shown).then(|| cannot("the boot loader would not show it".into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_stem_that_would_be_read_as_a_counter_is_refused() {
        assert_eq!(entry_name("a+1", None, Suffix::Efi), None);
        assert_eq!(entry_name("a", Some(untried(3)), Suffix::Efi).unwrap().file(), "a+3-0.efi");
        assert_eq!(untried(u32::MAX).left, counter::MAX);
    }

    #[test]
    fn a_name_that_fat_or_the_loader_cannot_have_is_told_with_its_character() {
        for (version, told) in [
            ("2026-06-01T10:30:00", "':'"),
            ("1:2.0", "':'"),
            ("1.0\"", "'\"'"),
            ("1*", "'*'"),
            ("<1", "'<'"),
            ("1>", "'>'"),
            ("1?", "'?'"),
            ("1|2", "'|'"),
            ("1\\2", "'\\\\'"),
            ("1/2", "'/'"),
            ("1\n", "'\\n'"),
            ("2.0+git", "'+'"),
        ] {
            let why = unnameable("edge", version).unwrap();
            assert!(why.contains(told) && why.contains("IMAGE_VERSION"), "{version}: {why}");
        }
        assert_eq!(unnameable("edge", "2026-06-01T10.30.00~rc1 [x]'é"), None);
        assert!(unnameable(".edge", "1").is_some() && unnameable("auto-x", "1").is_some());
    }

    #[test]
    fn blanks_become_hyphens() {
        assert_eq!(stem("Edge Microvisor  Toolkit", "3.0"), "edge-microvisor-toolkit_3.0");
        assert_eq!(stem("edge", "12 (Bookworm)"), "edge_12-(bookworm)");
        assert_eq!(stem("Edge", "1.0-RC"), "Edge_1.0-RC");
        assert_eq!(unnameable("Edge Microvisor Toolkit", "3.0"), None);
        assert!(is_same_image("Edge Microvisor Toolkit", "Edge-Microvisor-Toolkit"));
        assert!(!is_same_image("edge", "edges") && !is_same_image("edge", "Edge"));
        assert!(unnameable(" ", "3.0").is_some() && unnameable("edge", "").is_some());
    }

    #[test]
    fn a_name_fits_with_the_longest_counter_and_the_suffix_of_a_reinstall() {
        let longest = Counter { left: counter::MAX, done: counter::MAX };
        assert_eq!(LONGEST_END, format!("_99{longest}.efi"));
        let version = "é".repeat(255 - 29 - "e_".len());
        assert_eq!(unnameable("e", &version), None);
        let why = unnameable("e", &format!("{version}1")).unwrap();
        assert!(why.contains("227 characters"), "{why}");
    }
}
