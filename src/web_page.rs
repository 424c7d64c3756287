//! Tells a web page from what was requested. Captive portals and login pages answer 200 to every request.

/// How many bytes of an answer show whether it is a page.
pub const HEAD: usize = 256;

/// How many of them are needed at least, after blanks.
pub const LEAST: usize = 5;

/// Whether a body that begins with `head` is a web page: its first character opens a tag. No format of images, lists and
/// JSON begins so.
#[must_use]
pub fn is_page(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    matches!(head, [b'<', b'!' | b'?' | b'a'..=b'z' | b'A'..=b'Z', ..])
}

/// Whether a header `Content-Type` names a web page.
#[must_use]
pub fn is_page_type(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    ["text/html", "application/xhtml+xml"].iter().any(|page| kind.eq_ignore_ascii_case(page))
}

/// What to say of it; `who`: what answered.
#[must_use]
pub fn told(who: &str) -> String {
    format!("{who} answered with a web page: a captive portal or a login page? check the URL and the network")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_told_by_its_first_tag() {
        for page in ["<!DOCTYPE html>", "\u{feff}\r\n <html>", "<?xml version='1.0'?>", "<script>", "<HTML"] {
            assert!(is_page(page.as_bytes()), "{page}");
        }
        for other in ["", "<", "< 3", "{\"kind\":1}", "3f  edge.raw", "MZ", "(\u{b5}/\u{fd}", "obtained <b>"]
        {
            assert!(!is_page(other.as_bytes()), "{other}");
        }
        assert!(is_page_type("Text/HTML; charset=utf-8") && !is_page_type("text/plain"));
    }
}
