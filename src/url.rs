//! URLs: their parts, and how they are shown.

/// The parts of an `http://` or `https://` URL, without its fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Everything up to the last `/` of the path.
    pub base: String,
    /// What follows it; may be empty.
    pub name: String,
    /// What follows the `?`.
    pub query: Option<String>,
}

/// Takes an `http://` or `https://` URL apart; `None` for anything else.
#[must_use]
pub fn split(url: &str) -> Option<Parts> {
    let (scheme, rest) = url.split_once("://").filter(|_| is_http(url))?;
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, query) =
        rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query.to_owned())));
    let (folder, name) = path.rsplit_once('/').unwrap_or((path, ""));
    Some(Parts { base: format!("{scheme}://{folder}/"), name: name.to_owned(), query })
}

/// Whether this is an `http://` or `https://` URL.
#[must_use]
pub fn is_http(place: &str) -> bool {
    matches!(scheme(place).as_deref(), Some("http" | "https"))
}

/// What stands before the `://`, in lower case.
#[must_use]
pub fn scheme(place: &str) -> Option<String> {
    place.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase())
}

/// A URL without user name, password, query and fragment, for messages and logs.
#[must_use]
pub fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
    let host = host.rsplit('@').next().unwrap_or_default();
    match path {
        Some(path) => format!("{scheme}://{host}/{path}"),
        None => format!("{scheme}://{host}"),
    }
}

/// The URL that a reference such as the header `Location` means on the page `base` (RFC 3986, 5.2, without removing
/// dots). User name and password of `base` are not taken over.
#[must_use]
pub fn join(base: &str, reference: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or_default();
    if scheme(reference).is_some_and(|scheme| scheme.chars().all(|c| c.is_ascii_alphanumeric())) {
        return is_http(reference).then(|| reference.to_owned());
    }
    let page = shown(base);
    let (scheme, rest) = page.split_once("://")?;
    let host = rest.split('/').next()?;
    let folder = page.rsplit_once('/').map_or(page.as_str(), |(folder, _)| folder);
    let folder = if rest.contains('/') { folder } else { page.as_str() };
    Some(if reference.starts_with("//") {
        format!("{scheme}:{reference}")
    } else if reference.starts_with('/') {
        format!("{scheme}://{host}{reference}")
    } else if reference.is_empty() || reference.starts_with('?') {
        format!("{page}{reference}")
    } else {
        format!("{folder}/{reference}")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn secrets_in_a_url_are_not_shown() {
        assert_eq!(shown("https://u:p@h:8/a/b?token=1#x"), "https://h:8/a/b");
        assert_eq!(shown("http://h"), "http://h");
        assert_eq!(shown("/a?b"), "/a?b");
    }

    #[test]
    fn the_name_of_a_file_is_told_from_the_query_behind_it() {
        let parts = |url| split(url).map(|p| (p.base, p.name, p.query));
        let owned = |base: &str, name: &str, query: Option<&str>| {
            Some((base.to_owned(), name.to_owned(), query.map(str::to_owned)))
        };
        assert_eq!(parts("HTTPS://h/x/b.raw?key=/1#f"), owned("HTTPS://h/x/", "b.raw", Some("key=/1")));
        assert_eq!(parts("https://h"), owned("https://h/", "", None));
        assert_eq!(parts("ftp://h/x"), None);
        assert_eq!(parts("/a/b"), None);
    }

    #[test]
    fn a_reference_is_joined_to_its_page() {
        let at = |base, reference| join(base, reference).unwrap();
        assert_eq!(at("http://u:p@h:8/a/b?c#d", "e"), "http://h:8/a/e");
        assert_eq!(at("http://h/a/b?c", "/e?f=://x"), "http://h/e?f=://x");
        assert_eq!(at("https://h/a/b?c", "//g/e"), "https://g/e");
        assert_eq!(at("https://h/a/b?c", "?x"), "https://h/a/b?x");
        assert_eq!(at("https://h", "e#f"), "https://h/e");
        assert_eq!(at("https://h/a", "HTTP://g/"), "HTTP://g/");
        assert_eq!(join("https://h/a", "ftp://g/"), None);
    }
}
