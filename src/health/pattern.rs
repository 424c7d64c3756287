//! Shell patterns on plain names: `*`, `?`, and `[a-z]` sets.

/// Whether the whole of `text` matches `pattern`. An unclosed `[` stands for itself.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // On a mismatch the last star takes one character more; only the last one need be remembered.
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
        } else if let Some(length) = matches_one(pattern.get(p..).unwrap_or_default(), text.get(t)) {
            p += length;
            t += 1;
        } else if let Some((at, from)) = star {
            p = at + 1;
            t = from + 1;
            star = Some((at, t));
        } else {
            return false;
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == '*')
}

/// How many characters of `pattern` were used up to match `c`; `None` if it does not match.
fn matches_one(pattern: &[char], c: Option<&char>) -> Option<usize> {
    let c = c?;
    match pattern.first()? {
        '?' => Some(1),
        '[' => match set(pattern) {
            Some((members, length)) => in_set(members, *c).then_some(length),
            None => (*c == '[').then_some(1),
        },
        literal => (literal == c).then_some(1),
    }
}

/// The members of a set at the start of `pattern`, and the length of the whole.
fn set(pattern: &[char]) -> Option<(&[char], usize)> {
    // A `]` right after the opening (or its `!`) is a member.
    let skip = if matches!(pattern.get(1), Some('!' | '^')) { 3 } else { 2 };
    let end = pattern.iter().skip(skip).position(|c| *c == ']')? + skip;
    Some((pattern.get(1..end)?, end + 1))
}

fn in_set(members: &[char], c: char) -> bool {
    let (negated, mut rest) = match members {
        ['!' | '^', rest @ ..] => (true, rest),
        all => (false, all),
    };
    let mut found = false;
    loop {
        match rest {
            [from, '-', to, more @ ..] => {
                found |= (*from..=*to).contains(&c);
                rest = more;
            }
            [one, more @ ..] => {
                found |= *one == c;
                rest = more;
            }
            [] => return found != negated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_shell_does() {
        for (pattern, text) in [
            ("eth0", "eth0"),
            ("eth*", "eth0"),
            ("*", ""),
            ("*.service", "a.b.service"),
            ("e?h0", "eth0"),
            ("eth[0-3]", "eth2"),
            ("eth[!0]", "eth2"),
            ("a*b*c", "aXbYbZc"),
            ("[]]", "]"),
            ("[", "["),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn what_does_not_match_is_told() {
        for (pattern, text) in
            [("eth", "eth0"), ("eth?", "eth"), ("", "x"), ("eth[0-3]", "eth4"), ("[!a]", "a"), ("a*b", "abc")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
