//! Lines of a key and a value, as systemd-boot splits them
//! (`line_get_key_value`: 252 `boot.c`, 262 `efi-string.c`).

/// The keys and values of `text`, up to the first NUL. `separators` are a blank and
/// a tab for the loader's own files, `=` for os-release. Since 257 `'` quotes, too.
pub fn lines<'a>(
    text: &'a str,
    separators: &'static [char],
    single_quotes: bool,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let text = text.split('\0').next().unwrap_or_default();
    text.split(['\n', '\r']).filter_map(move |line| split(line, separators, single_quotes))
}

fn split<'a>(line: &'a str, separators: &'static [char], single_quotes: bool) -> Option<(&'a str, &'a str)> {
    let line = line.trim_matches([' ', '\t']);
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (key, value) = line.split_once(separators)?;
    let value = value.trim_start_matches(separators);
    let quote = value.chars().next().filter(|c| *c == '"' || (single_quotes && *c == '\''));
    let inner = quote.and_then(|q| value.strip_prefix(q)).map(|rest| rest.strip_suffix(quotes(quote)));
    match inner {
        Some(Some(inner)) => Some((key, inner)),
        // A lone quote is its own end: nothing is left of it.
        Some(None) if value.chars().count() == 1 => Some((key, "")),
        _ => Some((key, value)),
    }
}

fn quotes(quote: Option<char>) -> char {
    quote.unwrap_or('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, separators: &'static [char]) -> Vec<(String, String)> {
        lines(text, separators, true).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn comments_and_lines_without_a_value_are_skipped() {
        let found = all("# a b\n\n  title \t The OS \r\nlone\nx  y z\n", &[' ', '\t']);
        assert_eq!(found, [("title".into(), "The OS".into()), ("x".into(), "y z".into())]);
    }

    #[test]
    fn quotes_around_the_whole_value_are_removed() {
        let found = all("A=\"b c\"\nB='d'\nC=\"e\nD=\"\nE=\nF==g", &['=']);
        let values: Vec<_> = found.iter().map(|(_, v)| v.as_str()).collect();
        assert_eq!(values, ["b c", "d", "\"e", "", "", "g"]);
    }

    #[test]
    fn nothing_after_a_nul_counts() {
        assert_eq!(all("a 1\0\nb 2", &[' ']), [("a".into(), "1".into())]);
    }
}
