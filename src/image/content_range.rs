//! The header `Content-Range`: which part of a file a response holds.

/// The first byte and, if given, the whole length, of a `Content-Range` (RFC 9110, 14.4):
/// `bytes FIRST-LAST/LENGTH`.
#[must_use]
pub fn parse(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, len) = value.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, len.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_a_response_is_parsed() {
        assert_eq!(parse("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse("bytes 5-9/*"), Some((5, None)));
        assert_eq!(parse("bytes */10"), None);
        assert_eq!(parse("pages 5-9/10"), None);
    }
}
