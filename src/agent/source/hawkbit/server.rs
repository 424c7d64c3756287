//! Where the server is, and which URLs are its own.

use std::fmt::Write;

use ureq::http::Uri;

/// A machine's place on a hawkBit server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Scheme, host and port.
    origin: String,
    /// The machine's resource.
    base: String,
}

impl Server {
    /// The place of the machine `id` of `tenant` on the server at `url`, which may have a path of its own.
    ///
    /// # Errors
    /// A sentence, if `url` is none that a server can have.
    pub fn new(url: &str, tenant: &str, id: &str) -> Result<Self, String> {
        let origin = origin(url)
            .ok_or_else(|| "must be http://HOST or https://HOST, without a name or a password".to_owned())?;
        let url = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        Ok(Self { origin, base: format!("{url}/{}/controller/v1/{}", encode(tenant), encode(id)) })
    }

    /// The machine's resource, which is polled.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether `url` is on this server. Only there a token is sent.
    #[must_use]
    pub fn is_own(&self, url: &str) -> bool {
        origin(url).is_some_and(|its| its == self.origin)
    }

    /// Where a link of an answer leads. A server behind a proxy may call itself by a name that nobody
    /// else knows, so that only path and query count: what is asked for with the machine's token is
    /// asked for at the server that was configured.
    #[must_use]
    pub fn link(&self, href: &str) -> Option<String> {
        if self.is_own(href) {
            return Some(href.to_owned());
        }
        let uri: Uri = href.parse().ok()?;
        Some(format!("{}{}", self.origin, uri.path_and_query()?))
    }

    /// `name` below the machine's resource.
    #[must_use]
    pub fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }
}

/// Scheme, host and port of a URL; none if it has none, or says who asks.
fn origin(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority = uri.authority()?;
    let host = authority.host().to_ascii_lowercase();
    if host.is_empty() || authority.as_str().contains('@') {
        return None;
    }
    Some(format!("{scheme}://{host}:{}", authority.port_u16().unwrap_or(port)))
}

/// As one part of a path (RFC 3986, 2.3).
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            // Writing to a String does not fail.
            _ => write!(encoded, "%{byte:02X}").unwrap_or(()),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_base_is_below_the_url_that_was_configured() {
        let base = |url| Server::new(url, "DEFAULT", "node 1/x").unwrap().base;
        assert_eq!(base("https://h"), "https://h/DEFAULT/controller/v1/node%201%2Fx");
        assert_eq!(base("https://h:8/hawk/bit/"), "https://h:8/hawk/bit/DEFAULT/controller/v1/node%201%2Fx");
        for wrong in ["https://u:p@h", "ftp://h", "h", "https://"] {
            assert!(Server::new(wrong, "D", "n").is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_server_itself_is_its_own() {
        let server = Server::new("https://Hawk.example", "D", "n").unwrap();
        assert!(server.is_own("https://hawk.example:443/x"));
        for other in [
            "http://hawk.example/x",
            "https://hawk.example:444/x",
            "https://hawk.example.evil/x",
            "https://evil/https://hawk.example/",
            "https://hawk.example@evil/x",
            "/x",
        ] {
            assert!(!server.is_own(other), "{other}");
        }
    }

    #[test]
    fn a_link_to_another_name_leads_to_the_server_that_was_configured() {
        let server = Server::new("https://h", "D", "n").unwrap();
        assert_eq!(server.link("https://h/a?c=1").as_deref(), Some("https://h/a?c=1"));
        assert_eq!(
            server.link("http://inside:8080/D/controller/v1/n/deploymentBase/8?c=2").as_deref(),
            Some("https://h:443/D/controller/v1/n/deploymentBase/8?c=2")
        );
        assert_eq!(server.link("not a link"), None);
    }
}
