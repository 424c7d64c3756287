//! Comparing versions as systemd does (UAPI version format specification;
//! `strverscmp_improved` in systemd 252 to 262).

use std::cmp::Ordering;

/// Compares two versions; the greater one is newer.
///
/// `~` sorts before everything, the end before any further part, `-` before `^` before `.`
/// before letters and digits; digits compare as numbers of any length. Other characters
/// only separate.
///
/// ```
/// use abide_core::boot::model::version::compare;
/// assert!(compare("2.0~rc1", "2.0").is_lt());
/// assert!(compare("2.10", "2.9").is_gt());
/// ```
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        a = skip_separators(a);
        b = skip_separators(b);
        if let Some(decided) = step_over(b'~', &mut a, &mut b) {
            return decided;
        }
        if a.is_empty() || b.is_empty() {
            return a.first().cmp(&b.first());
        }
        for mark in *b"-^." {
            if let Some(decided) = step_over(mark, &mut a, &mut b) {
                return decided;
            }
        }
        let digits = starts_with_digit(a) || starts_with_digit(b);
        let class = if digits { u8::is_ascii_digit } else { u8::is_ascii_alphabetic };
        let (part_a, rest_a) = split_while(a, class);
        let (part_b, rest_b) = split_while(b, class);
        let decided = if digits { compare_numbers(part_a, part_b) } else { part_a.cmp(part_b) };
        if decided.is_ne() {
            return decided;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// If one side begins with `mark`, it is the older one; if both do, both move on.
fn step_over(mark: u8, a: &mut &[u8], b: &mut &[u8]) -> Option<Ordering> {
    let (in_a, in_b) = (a.strip_prefix(&[mark]), b.strip_prefix(&[mark]));
    match (in_a, in_b) {
        (Some(rest_a), Some(rest_b)) => {
            (*a, *b) = (rest_a, rest_b);
            None
        }
        (None, None) => None,
        (Some(_), None) => Some(Ordering::Less),
        (None, Some(_)) => Some(Ordering::Greater),
    }
}

fn skip_separators(text: &[u8]) -> &[u8] {
    split_while(text, |c| !(c.is_ascii_alphanumeric() || b"~-^.".contains(c))).1
}

fn starts_with_digit(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_digit)
}

fn split_while(text: &[u8], class: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|c| !class(c)).unwrap_or(text.len());
    text.split_at(end)
}

/// Compares runs of digits as numbers; no digits at all are older than any.
fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    let value = |digits: &[u8]| split_while(digits, |c| *c == b'0').1.to_vec();
    let present = (!a.is_empty()).cmp(&!b.is_empty());
    let (a, b) = (value(a), value(b));
    present.then(a.len().cmp(&b.len())).then(a.cmp(&b))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_specifications_list_is_in_order() {
        let list = [
            "122.1",
            "123~rc1-1",
            "123",
            "123-a",
            "123-a.1",
            "123-1",
            "123-1.1",
            "123^post1",
            "123.a-1",
            "123.1-1",
            "123a-1",
            "124-1",
        ];
        for (i, a) in list.iter().enumerate() {
            for (j, b) in list.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn leading_zeros_and_separators_do_not_count() {
        assert!(compare("1.02", "1.2").is_eq());
        assert!(compare("123_a", "123a").is_eq());
        assert!(compare("_1_", "1").is_eq());
        assert!(compare("", "_").is_eq());
    }

    #[test]
    fn numbers_of_any_length_are_compared() {
        assert!(compare("99999999999999999999999999", "100000000000000000000000000").is_lt());
        assert!(compare("0", "a").is_gt());
        assert!(compare("0", "").is_gt());
        assert!(compare("~", "").is_lt());
    }

    #[test]
    fn an_underscore_suffix_is_newer_than_the_plain_id_and_a_dash_older() {
        assert!(compare("edge_2.0_2.efi", "edge_2.0.efi").is_gt());
        assert!(compare("edge_2.0_10.efi", "edge_2.0_9.efi").is_gt());
        assert!(compare("edge_2.0-2.efi", "edge_2.0.efi").is_lt());
        assert!(compare("edge_2.0_2+3-0.efi", "edge_2.0.efi").is_gt());
    }
}
