//! What hawkBit 0.9 to 1.1 accept, written from their sources: `JpaControllerManagement.PATTERN`,
//! `ValidStringValidator`, `QuotaManagement`. It shares no code with what is tested.

/// A name or a value of an attribute: `[a-zA-Z0-9_\-!@#$%^&*()+=\[\]{}|;:'",.<>/\\?\s]*`, 128 characters.
pub fn is_attribute(text: &str) -> bool {
    let is_taken = |c: char| matches!(c, ' '..='}' if c != '`') || matches!(c, '\t' | '\n' | '\r');
    text.encode_utf16().count() <= 128 && text.chars().all(is_taken)
}

/// A message of a status: jsoup finds no tag, comment, declaration or processing instruction in it.
pub fn is_text(text: &str) -> bool {
    let begins_tag = |c: char| c.is_alphabetic() || matches!(c, '/' | '!' | '?');
    text.split('<').skip(1).all(|rest| !rest.starts_with(begins_tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_those_of_hawkbit() {
        assert!(is_attribute("a-Z_0 !@#$%^&*()+=[]{}|;:'\",.<>/\\?\t"));
        assert!(!is_attribute("2.0~rc1") && !is_attribute("`") && !is_attribute("K\u{fc}hlraum"));
        assert!(is_attribute(&"x".repeat(128)) && !is_attribute(&"x".repeat(129)));
        assert!(is_text("a < b, c <= d, <3") && is_text("->"));
        assert!(!is_text("<urlopen error [Errno 111]>") && !is_text("</a") && !is_text("<!--"));
    }
}
