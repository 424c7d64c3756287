//! What a server that validates accepts. Pure.
//!
//! hawkBit 0.9 and later refuse a whole request for one character, and then nothing of it arrives. Everything that this
//! machine sends as text passes here. The rules are those of hawkBit's `JpaControllerManagement.PATTERN`, its
//! `ValidStringValidator` and its `QuotaManagement`.

use std::collections::BTreeMap;

/// What an attribute may have beside ASCII letters, digits and blanks.
const MARKS: &str = "_-!@#$%^&*()+=[]{}|;:'\",.<>/\\?";

/// The longest name and the longest value of an attribute.
const MAX_ATTRIBUTE: usize = 128;

/// The most attributes of a machine.
const MAX_ATTRIBUTES: usize = 100;

/// The longest line of feedback, in bytes: hawkBit keeps 512 characters of each.
const MAX_LINE: usize = 500;

/// The most lines of one feedback; hawkBit takes 50.
const MAX_LINES: usize = 20;

/// The attributes as the server takes them: `_` stands for each other character. The first ones, if there are too many.
pub fn attributes<'t>(of: impl IntoIterator<Item = (&'t str, &'t str)>) -> BTreeMap<String, String> {
    let mut taken = BTreeMap::new();
    for (name, value) in of.into_iter().filter(|(name, _)| !name.is_empty()) {
        let name = attribute(name);
        if taken.len() < MAX_ATTRIBUTES || taken.contains_key(&name) {
            taken.insert(name, attribute(value));
        }
    }
    taken
}

fn attribute(text: &str) -> String {
    let is_taken = |c: char| c.is_ascii_alphanumeric() || c == ' ' || MARKS.contains(c);
    text.chars().take(MAX_ATTRIBUTE).map(|c| if is_taken(c) { c } else { '_' }).collect()
}

/// The text of feedback as the server takes it: no tags, short lines.
pub fn details(of: &[String]) -> Vec<String> {
    let lines = of.iter().flat_map(|detail| detail.lines());
    lines.flat_map(|line| short(&without_tags(line))).take(MAX_LINES).collect()
}

/// A tag begins with a `<` right before a letter or a mark.
fn without_tags(line: &str) -> String {
    let mut text = String::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        text.push(c);
        if c == '<' && chars.peek().is_some_and(|next| !next.is_whitespace()) {
            text.push(' ');
        }
    }
    text
}

/// A line in parts that the server does not cut.
fn short(line: &str) -> Vec<String> {
    let (mut parts, mut rest) = (vec![], line);
    while !rest.is_empty() {
        let most = rest.len().min(MAX_LINE);
        let end = (1..=most).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        parts.push(part.to_owned());
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_attribute_has_only_what_the_server_takes() {
        let value = |text: &str| attributes([("site", text)]).remove("site").unwrap();
        assert_eq!(value("2.0~rc1"), "2.0_rc1");
        assert_eq!(value("K\u{fc}hlraum `3`\t#1"), "K_hlraum _3__#1");
        assert_eq!(value(MARKS), MARKS);
        assert_eq!(value(&"x".repeat(129)), "x".repeat(128));
        assert!(attributes([("", "x")]).is_empty());
        assert_eq!(attributes([("a~", "1"), ("a`", "2")]), BTreeMap::from([("a_".into(), "2".into())]));
        let names: Vec<String> = (0..200).map(|number| format!("k{number}")).collect();
        let many = attributes(names.iter().map(|name| (name.as_str(), "")));
        assert!(many.len() == MAX_ATTRIBUTES && many.contains_key("k99") && !many.contains_key("k100"));
    }

    #[test]
    fn long_lines_of_feedback_are_split() {
        let long = "\u{e4}".repeat(600);
        let sent = details(&[long.clone(), "two\nlines".into()]);
        assert_eq!(sent.len(), 5);
        assert!(sent.iter().all(|line| line.len() <= MAX_LINE));
        assert_eq!(sent.iter().take(3).cloned().collect::<String>(), long);
        assert_eq!(details(&vec!["x".into(); 100]).len(), MAX_LINES);
    }

    #[test]
    fn feedback_has_no_tags_and_stays_readable() {
        let sent = details(&["<urlopen error [Errno 111]> a < b <= c </x> <!-- <".into()]);
        assert_eq!(sent, ["< urlopen error [Errno 111]> a < b < = c < /x> < !-- <"]);
    }

    proptest! {
        #[test]
        fn whatever_a_check_prints_becomes_feedback_without_tags(text in "[<>/!?a-z\u{e4} \n]{0,1200}") {
            for line in details(&[text]) {
                prop_assert!(line.len() <= MAX_LINE);
                prop_assert!(line.split('<').skip(1).all(|rest| rest.is_empty() || rest.starts_with(' ')));
            }
        }
    }
}
