//! What the boot loader did, told by the names on the ESP before and after.

/// One boot entry's file name, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Name<'a> {
    stem: &'a str,
    counter: Option<&'a str>,
}

/// Takes a name of this demo's images apart: `edge_2.0+3-0.efi`.
fn parse(file: &str) -> Name<'_> {
    let stem = file.strip_suffix(".efi").unwrap_or(file);
    match stem.split_once('+') {
        Some((stem, counter)) => Name { stem, counter: Some(counter) },
        None => Name { stem, counter: None },
    }
}

/// The entry that the loader counted down between the two listings: its old name, and what became
/// of the counter. `None` when it touched none, so that it took one without a counter.
pub fn counted<'a>(before: &'a [String], after: &'a [String]) -> Option<(&'a str, &'a str)> {
    before.iter().filter(|name| !after.contains(name)).find_map(|old| {
        let stem = parse(old).stem;
        let new = after.iter().map(|name| parse(name)).find(|name| name.stem == stem)?;
        Some((old.as_str(), new.counter?))
    })
}

/// `2-1` as words: the first of three tries.
pub fn tries(counter: &str) -> Option<String> {
    let (left, done) = counter.split_once('-')?;
    let (left, done): (u32, u32) = (left.parse().ok()?, done.parse().ok()?);
    Some(format!("try {done} of {}", left + done))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_entry_whose_counter_changed_is_the_one_that_was_taken() {
        let before = names(&["edge_1.0.efi", "edge_2.0+3-0.efi"]);
        let after = names(&["edge_1.0.efi", "edge_2.0+2-1.efi"]);
        assert_eq!(counted(&before, &after), Some(("edge_2.0+3-0.efi", "2-1")));
        assert_eq!(counted(&after, &after), None);
    }

    #[test]
    fn a_counter_is_read_as_a_try() {
        assert_eq!(tries("0-3").as_deref(), Some("try 3 of 3"));
        assert_eq!(tries("x"), None);
    }
}
