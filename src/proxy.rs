//! Which proxy a request uses, from the environment, as curl reads it (curl 7.88: `detect_proxy` and `parse_proxy` of
//! lib/url.c, and lib/noproxy.c). What cannot be used is an error, never a direct connection.

use std::env;
use std::net::{IpAddr, Ipv6Addr};

use ureq::Proxy;

/// The port of a proxy that names none, as in curl.
const DEFAULT_PORT: u16 = 1080;
const DEFAULT_HTTPS_PORT: u16 = 443;

/// The kinds of proxies: as curl names them, and as the client does.
const SCHEMES: [(&str, &str); 7] = [
    ("http", "http"),
    ("https", "https"),
    ("socks", "socks4"),
    ("socks4", "socks4"),
    ("socks4a", "socks4a"),
    ("socks5", "socks5"),
    ("socks5h", "socks5h"),
];

/// The proxies of the environment.
#[derive(Debug, Default)]
pub struct Proxies {
    http: Option<Variable>,
    https: Option<Variable>,
    except: String,
}

/// A proxy, and what a message calls it.
#[derive(Debug)]
pub struct NamedProxy {
    /// The proxy.
    pub proxy: Proxy,
    /// Where it is configured, and its URL without a password.
    pub name: String,
}

#[derive(Debug)]
struct Variable {
    name: &'static str,
    value: String,
}

impl Proxies {
    /// Those of this process.
    #[must_use]
    pub fn of_environment() -> Self {
        Self::read(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Those of the variables. A variable in lower case precedes one in upper case, and an empty one counts as none.
    /// `HTTP_PROXY`, which curl ignores, counts where there is no other.
    fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| {
                get(name).filter(|value| !value.is_empty()).map(|value| Variable { name, value })
            })
        };
        Self {
            http: first(&["http_proxy", "all_proxy", "ALL_PROXY", "HTTP_PROXY"]),
            https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            except: first(&["no_proxy", "NO_PROXY"]).map(|found| found.value).unwrap_or_default(),
        }
    }

    /// The proxy for requests to `host`; none: a direct connection.
    ///
    /// # Errors
    /// A sentence, if a variable names a proxy that cannot be used.
    pub fn of(&self, scheme: &str, host: &str) -> Result<Option<NamedProxy>, String> {
        let variable = if scheme.eq_ignore_ascii_case("https") { &self.https } else { &self.http };
        let Some(variable) = variable.as_ref().filter(|_| !is_excepted(&self.except, host)) else {
            return Ok(None);
        };
        let (name, value) = (variable.name, without_password(&variable.value));
        match parse(&variable.value) {
            Ok(proxy) => Ok(Some(NamedProxy { proxy, name: format!("the proxy in {name} ('{value}')") })),
            Err(why) => Err(format!(
                "cannot use the proxy in {name} ('{value}'): {why}; set {name} to http://HOST:PORT, or unset it"
            )),
        }
    }
}

/// A proxy's URL; without a scheme it is an HTTP proxy.
fn parse(value: &str) -> Result<Proxy, String> {
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    let scheme = scheme.to_ascii_lowercase();
    let (_, kind) = SCHEMES.iter().find(|(name, _)| *name == scheme).ok_or_else(|| {
        let known: Vec<&str> = SCHEMES.iter().map(|(name, _)| *name).collect();
        format!("'{scheme}' is not one of {}", known.join(", "))
    })?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (user, place) =
        authority.rsplit_once('@').map_or((None, authority), |(user, place)| (Some(user), place));
    let (host, port) = host_and_port(place).ok_or("it has no valid host and port")?;
    let port = port.unwrap_or(if *kind == "https" { DEFAULT_HTTPS_PORT } else { DEFAULT_PORT });
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    Proxy::new(&format!("{kind}://{user}{host}:{port}")).map_err(|_| "it is not a valid URL".to_owned())
}

fn host_and_port(place: &str) -> Option<(&str, Option<u16>)> {
    let end =
        if place.starts_with('[') { place.find(']')? + 1 } else { place.find(':').unwrap_or(place.len()) };
    let (host, rest) = place.split_at_checked(end)?;
    let is_valid = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
    };
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        None => return None,
        Some(port) => Some(port.parse::<u16>().ok().filter(|port| *port > 0)?),
    };
    is_valid.then_some((host, port))
}

fn without_password(value: &str) -> String {
    let (scheme, rest) = value.split_once("://").map_or(("", value), |(scheme, rest)| (scheme, rest));
    let rest = rest.rsplit('@').next().unwrap_or_default();
    if scheme.is_empty() { rest.to_owned() } else { format!("{scheme}://{rest}") }
}

/// Whether the list `no_proxy` has the host. Its entries are separated by commas and blanks: domains, with or without a
/// leading dot, which hold their subdomains, too; addresses and CIDR networks; `*` for every host. Unlike curl, `*` may
/// stand among others and before a domain, and a network may have brackets or the length 0.
fn is_excepted(list: &str, host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let address = bare.parse::<IpAddr>().ok();
    let mut entries = list.split([',', ' ', '\t', '\n', '\r']).filter(|entry| !entry.is_empty());
    entries.any(|entry| match address {
        _ if entry == "*" => true,
        Some(address) => is_in_network(address, entry),
        None => is_in_domain(bare, entry),
    })
}

fn is_in_domain(host: &str, entry: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let domain = entry.strip_suffix('.').unwrap_or(entry).to_ascii_lowercase();
    let domain = domain.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(&domain);
    let domain = domain.strip_prefix('.').unwrap_or(domain);
    let before = host.strip_suffix(domain).filter(|_| !domain.is_empty());
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn is_in_network(address: IpAddr, entry: &str) -> bool {
    let (network, bits) =
        entry.split_once('/').map_or((entry, None), |(network, bits)| (network, Some(bits)));
    let network = network.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(a), Ok(IpAddr::V4(n))) => (u128::from(a.to_bits()), u128::from(n.to_bits()), 32),
        (IpAddr::V6(a), Ok(IpAddr::V6(n))) => (a.to_bits(), n.to_bits(), 128),
        _ => return false,
    };
    let bits = bits.map_or(Some(width), |bits| bits.trim_end_matches(']').parse::<u32>().ok());
    match bits.and_then(|bits| width.checked_sub(bits)) {
        Some(rest) => (address ^ network).checked_shr(rest).unwrap_or(0) == 0,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(variables: &[(&str, &str)], scheme: &str, host: &str) -> Result<Option<String>, String> {
        let get = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let proxy = Proxies::read(get).of(scheme, host)?;
        Ok(proxy.map(|NamedProxy { proxy, .. }| {
            format!("{} {}:{}", proxy.protocol(), proxy.host(), proxy.port())
        }))
    }

    #[test]
    fn the_variables_have_the_precedence_of_curl() {
        let named = |names: &[&'static str], scheme| {
            let hosts: Vec<String> = names.iter().map(|name| name.to_lowercase().replace('_', "-")).collect();
            let mut variables = vec![];
            for (name, host) in names.iter().zip(&hosts) {
                variables.push((*name, host.as_str()));
            }
            of(&variables, scheme, "h").unwrap()
        };
        let at = |host: &str| Some(format!("HTTP {host}:1080"));
        assert_eq!(named(&["all_proxy", "http_proxy"], "http"), at("http-proxy"));
        assert_eq!(named(&["all_proxy", "HTTP_PROXY"], "http"), at("all-proxy"));
        assert_eq!(named(&["HTTP_PROXY"], "http"), at("http-proxy"));
        assert_eq!(named(&["https_proxy", "HTTP_PROXY"], "http"), at("http-proxy"));
        assert_eq!(named(&["http_proxy"], "https"), None);
        assert_eq!(named(&["HTTPS_PROXY", "ALL_PROXY", "http_proxy"], "https"), at("https-proxy"));
        assert_eq!(of(&[("https_proxy", ""), ("HTTPS_PROXY", "b")], "https", "h").unwrap(), at("b"));
        assert_eq!(of(&[("https_proxy", "a"), ("HTTPS_PROXY", "b")], "HTTPS", "h").unwrap(), at("a"));
        assert_eq!(of(&[("all_proxy", ""), ("ALL_PROXY", "b")], "http", "h").unwrap(), at("b"));
        assert_eq!(of(&[], "https", "h").unwrap(), None);
        let except = [("all_proxy", "a"), ("no_proxy", ""), ("NO_PROXY", "h")];
        assert_eq!(of(&except, "https", "h").unwrap(), None);
    }

    #[test]
    fn a_proxy_is_of_any_kind_that_curl_knows() {
        let kind = |value| of(&[("all_proxy", value)], "http", "h").unwrap().unwrap();
        assert_eq!(kind("HTTP://p"), "HTTP p:1080");
        assert_eq!(kind("https://p"), "HTTPS p:443");
        assert_eq!(kind("socks://p:1"), "SOCKS4 p:1");
        assert_eq!(kind("socks4a://p"), "SOCKS4a p:1080");
        assert_eq!(kind("socks5://u:p%40@p:9/path"), "SOCKS5 p:9");
        assert_eq!(kind("socks5h://[::1]:9"), "SOCKS5h [::1]:9");
        assert_eq!(kind("u:p@10.0.0.1:8080"), "HTTP 10.0.0.1:8080");
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_and_not_a_direct_connection() {
        for value in [
            "ftp://p:1",
            "p:99999",
            "p:0",
            "http://",
            "http://[::1",
            "://",
            "a b",
            "p:x",
            "[p]:1",
            "p\u{fffd}",
        ] {
            let error = of(&[("http_proxy", value)], "http", "h").unwrap_err();
            assert!(error.contains("http_proxy") && error.contains("unset it"), "{error}");
            assert_eq!(of(&[("http_proxy", value), ("no_proxy", "h")], "http", "h"), Ok(None));
        }
        for value in ["u:secret@p:x", "ftp://u:secret@p"] {
            let error = of(&[("ALL_PROXY", value)], "https", "h").unwrap_err();
            assert!(error.contains("ALL_PROXY") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_list_of_exceptions_has_domains_addresses_and_networks() {
        for (list, host, wanted) in [
            ("a.example, b.example", "b.example", true),
            ("a.example\tb.example", "www.b.example", true),
            (".example", "example", true),
            ("example.", "A.Example.", true),
            ("example", "nonexample", false),
            ("a.example:80", "a.example", false),
            ("*", "anything", true),
            ("x, *", "10.0.0.1", true),
            ("*.example", "a.example", true),
            (".", "a", false),
            ("", "a", false),
            ("10.0.0.0/8 ,x", "10.200.1.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/33,10.0.0.0/x", "10.0.0.0", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            (".0.0.1", "10.0.0.1", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "[::1]", false),
            ("fd00::/8", "[fd12::1]", true),
            ("fd00::/9", "[fd92::1]", false),
            ("[::1]", "[::1]", true),
            ("::/0", "[2001:db8::1]", true),
        ] {
            assert_eq!(is_excepted(list, host), wanted, "'{list}' {host}");
        }
    }
}
