//! The loader's patterns: `*`, `?`, `[…]` and `\`.

/// Whether `text` as a whole matches `pattern`, as systemd-boot's `efi_fnmatch`
/// (252 to 262, `efi-string.c`) decides it.
///
/// Sets know ranges and escapes, but no negation and no classes: `[!a]` is `!` or `a`.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where to continue if a part after the last `*` does not match: one character further.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let here = text.get(t).copied();
        let fits = match pattern.get(p) {
            None if here.is_none() => return true,
            None => None,
            Some('*') => {
                p += 1;
                retry = Some((p, t));
                continue;
            }
            Some(_) => here.and_then(|c| one(&pattern, p, c)),
        };
        if let Some(next) = fits {
            (p, t) = (next, t + 1);
        } else if let Some((from, start)) = retry.filter(|(_, start)| *start < text.len()) {
            retry = Some((from, start + 1));
            (p, t) = (from, start + 1);
        } else {
            return false;
        }
    }
}

/// Matches one character against the pattern at `p`; returns the next position in the pattern.
fn one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match pattern.get(p)? {
        '\\' => (*pattern.get(p + 1)? == c).then_some(p + 2),
        '?' => Some(p + 1),
        '[' => set(pattern, p + 1, c),
        other => (*other == c).then_some(p + 1),
    }
}

/// Matches one character against the set that begins at `start`, after its `[`.
fn set(pattern: &[char], start: usize, c: char) -> Option<usize> {
    let mut p = start;
    let mut found = false;
    let mut can_range = true;
    loop {
        let here = *pattern.get(p)?;
        if here == '\\' {
            p += 1;
            found |= *pattern.get(p)? == c;
            can_range = true;
        } else if here == ']' && p != start {
            return found.then_some(p + 1);
        } else if here == '-' && can_range && p != start && pattern.get(p + 1) != Some(&']') {
            let low = *pattern.get(p - 1)?;
            p += 1;
            if pattern.get(p) == Some(&'\\') {
                p += 1;
            }
            let high = *pattern.get(p)?;
            found |= low <= c && c <= high;
            // `[a-c-f]` is `[-abcf]`.
            can_range = false;
        } else {
            found |= here == c;
            can_range = true;
        }
        p += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_as_in_a_shell() {
        assert!(matches("edge_*.efi", "edge_2.0.efi"));
        assert!(matches("*", ""));
        assert!(matches("**a**", "bab"));
        assert!(matches("*ab*ab", "abxabab"));
        assert!(matches("a?c", "abc"));
        assert!(!matches("a?c", "ac"));
        assert!(!matches("edge_*.efi", "edge_2.0.efi2"));
        assert!(!matches("", "a"));
        assert!(matches("", ""));
    }

    #[test]
    fn sets_know_ranges_and_escapes_but_no_negation() {
        assert!(matches("[a-c]x", "bx"));
        assert!(matches("[]]", "]"));
        assert!(matches("[a-]", "-"));
        assert!(matches("[-a]", "-"));
        assert!(matches("[!a]", "!"));
        assert!(!matches("[!a]", "b"));
        assert!(matches("[a-c-f]", "-"));
        assert!(matches("[a-c-f]", "f"));
        assert!(!matches("[a-c-f]", "e"));
        assert!(matches("[\\]]", "]"));
        assert!(matches("[a-\\c]", "b"));
        assert!(!matches("[a", "a"));
        assert!(!matches("[]", "]"));
    }

    #[test]
    fn an_escaped_character_stands_for_itself() {
        assert!(matches("\\*", "*"));
        assert!(!matches("\\*", "a"));
        assert!(!matches("a\\", "a"));
    }
}
