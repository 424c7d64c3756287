//! Names of new boot entries.

use abide_core::boot::model::counter;
use abide_core::boot::model::counter::Counter;
use abide_core::boot::model::name::{EntryName, Suffix};

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
}
