//! The address of the server, and which URLs belong to it.

use std::fmt::Write;

use ureq::http::Uri;

/// The address of a machine on a hawkBit server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Scheme, host and port.
    origin: String,
    /// The machine's resource.
    base: String,
}

impl Endpoint {
    /// The address of the machine `id` of `tenant` on the server at `url`, which may have a path.
    ///
    /// # Errors
    /// A sentence, if `url` is not the URL of a server.
    pub fn new(url: &str, tenant: &str, id: &str) -> Result<Self, String> {
        let origin = origin(url).ok_or_else(|| {
            "must be http://HOST or https://HOST, without user name and password".to_owned()
        })?;
        let url = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        Ok(Self { origin, base: format!("{url}/{}/controller/v1/{}", encode(tenant), encode(id)) })
    }

    /// The machine's resource, which is polled.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether `url` is on this server. The token is sent nowhere else.
    #[must_use]
    pub fn is_own(&self, url: &str) -> bool {
        origin(url).is_some_and(|its| its == self.origin)
    }

    /// The URL of a link in an answer. A server behind a proxy may use an internal host name in its links, so
    /// only path and query count: requests with the token go to the configured server.
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

/// Scheme, host and port of a URL; none if it lacks them, or has a user name.
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

/// Percent-encodes a segment of a path (RFC 3986, 2.3).
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
    fn the_base_is_below_the_configured_url() {
        let base = |url| Endpoint::new(url, "DEFAULT", "node 1/x").unwrap().base;
        assert_eq!(base("https://h"), "https://h/DEFAULT/controller/v1/node%201%2Fx");
        assert_eq!(base("https://h:8/hawk/bit/"), "https://h:8/hawk/bit/DEFAULT/controller/v1/node%201%2Fx");
        for wrong in ["https://u:p@h", "ftp://h", "h", "https://"] {
            assert!(Endpoint::new(wrong, "D", "n").is_err(), "{wrong}");
        }
    }

    #[test]
    fn another_scheme_host_or_port_is_another_server() {
        let endpoint = Endpoint::new("https://Hawk.example", "D", "n").unwrap();
        assert!(endpoint.is_own("https://hawk.example:443/x"));
        for other in [
            "http://hawk.example/x",
            "https://hawk.example:444/x",
            "https://hawk.example.evil/x",
            "https://evil/https://hawk.example/",
            "https://hawk.example@evil/x",
            "/x",
        ] {
            assert!(!endpoint.is_own(other), "{other}");
        }
    }

    #[test]
    fn a_link_to_another_host_leads_to_the_configured_server() {
        let endpoint = Endpoint::new("https://h", "D", "n").unwrap();
        assert_eq!(endpoint.link("https://h/a?c=1").as_deref(), Some("https://h/a?c=1"));
        assert_eq!(
            endpoint.link("http://inside:8080/D/controller/v1/n/deploymentBase/8?c=2").as_deref(),
            Some("https://h:443/D/controller/v1/n/deploymentBase/8?c=2")
        );
        assert_eq!(endpoint.link("not a link"), None);
    }
}
