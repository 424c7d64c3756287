//! The HTTP client: one set-up for images, checks, events and servers of fleets, and one rule for redirects.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use ureq::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};

use crate::proxy::Proxies;
use crate::tls::root_certs;
use crate::url;
use crate::web_page::{self, is_page, is_page_type};
use abide_core::root::Root;
use abide_core::text;

/// The most redirects of one request.
const MAX_REDIRECTS: u32 = 10;

/// The longest answer that is kept while it is told from a web page.
const MAX_ANSWER: u64 = 1 << 20;

/// How long to wait for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// For one request with its redirects and its answer.
    Total(Duration),
    /// To connect, and then between two reads: for large files.
    Idle {
        /// To connect.
        connect: Duration,
        /// For the start of the answer, and between two reads.
        idle: Duration,
    },
}

/// Which redirects of a GET are followed. A redirect from https to http never is, nor one of a POST or PUT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// To any host: only for files whose digest or signature is checked.
    AnyHost,
    /// To the same host: what another host answers, such as the login page of a network, proves nothing.
    SameHost,
    /// None.
    Refuse,
}

/// Why there is no answer. The text has no secrets of URLs.
#[derive(Debug)]
pub enum HttpError {
    /// The request failed.
    Failed(ureq::Error),
    /// The request failed, and it went through a proxy.
    Proxied {
        /// How it failed.
        error: ureq::Error,
        /// What a message calls the proxy.
        proxy: String,
    },
    /// The server redirects, and that is not followed.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// The new URL, as it may be shown.
        to: String,
        /// Which rule forbids it.
        why: &'static str,
    },
    /// The environment names a proxy that cannot be used. One sentence.
    Proxy(String),
    /// What was sent was answered with a web page.
    Page,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Parts of a reply may be in it.
            Self::Failed(e) => f.write_str(&text::line(&plain(e))),
            Self::Proxied { error, proxy } => {
                write!(f, "{}; the request goes through {}", text::line(&plain(error)), text::line(proxy))
            }
            Self::Redirect { status, to, why } => {
                write!(f, "the server redirects to {to} (status {status}), which is not followed: {why}")
            }
            Self::Proxy(why) => f.write_str(&text::line(why)),
            Self::Page => f.write_str(&web_page::told("the server")),
        }
    }
}

impl<E: Into<ureq::Error>> From<E> for HttpError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl HttpError {
    /// Whether the server, the proxy or the network failed, so that the same request may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        use ureq::Error::{ConnectProxyFailed, ConnectionFailed, HostNotFound, Io, Timeout};
        match self {
            Self::Failed(error) | Self::Proxied { error, .. } => {
                matches!(error, Io(_) | Timeout(_) | HostNotFound | ConnectionFailed | ConnectProxyFailed(_))
            }
            Self::Redirect { .. } | Self::Proxy(_) | Self::Page => false,
        }
    }
}

/// What an error of the client means.
fn plain(error: &ureq::Error) -> String {
    use ureq::Error::{
        BadUri, BodyExceedsLimit, ConnectProxyFailed, HostNotFound, Io, RequireHttpsOnly, Rustls, Timeout,
    };
    match error {
        // They quote the URL.
        BadUri(_) | RequireHttpsOnly(_) => "invalid URL".into(),
        Io(e) => plain_io(e),
        Timeout(_) => "the server does not answer in time".into(),
        HostNotFound => "the name of the host cannot be resolved; check it and the DNS servers".into(),
        ConnectProxyFailed(why) => format!("the proxy does not connect: {why}"),
        BodyExceedsLimit(limit) => format!("the answer is longer than {limit} bytes"),
        Rustls(e) => format!("no secure connection (TLS): {e}"),
        e => e.to_string(),
    }
}

/// What an error of a connection means, without the number that the system has for it.
#[must_use]
pub fn plain_io(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".into(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted if error.raw_os_error().is_some() => {
            "the connection was reset".into()
        }
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "the network is unreachable".into(),
        _ => {
            let text = error.to_string();
            text.rsplit_once(" (os error ").map_or(text.clone(), |(text, _)| text.to_lowercase())
        }
    }
}

/// The proxy that the environment names for `url` and that cannot be used, as a sentence.
#[must_use]
pub fn proxy_problem(url: &str) -> Option<String> {
    let server = parts(url)?;
    Proxies::of_environment().of(&server.scheme, &server.host).err()
}

/// A header of a request.
pub type Header<'a> = (HeaderName, &'a str);

/// The type of what programs send.
pub const JSON: &str = "application/json";

/// A client with its rules.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    proxies: Proxies,
    total: Option<Duration>,
    redirects: Redirects,
}

impl Client {
    /// A client that trusts the certificates in `ca`, else those of `root`. A status of 400 and above is not an
    /// error.
    ///
    /// # Errors
    /// A sentence, if `ca` cannot be read or has no certificate.
    pub fn new(
        root: &Root,
        ca: Option<&Path>,
        timeout: Timeout,
        redirects: Redirects,
    ) -> Result<Self, String> {
        let mut config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(root_certs(root, ca)?).build())
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("abide/", env!("CARGO_PKG_VERSION")));
        let total = match timeout {
            Timeout::Total(limit) => Some(limit),
            Timeout::Idle { .. } => None,
        };
        if let Timeout::Idle { connect, idle } = timeout {
            config = config
                .timeout_connect(Some(connect))
                .timeout_recv_response(Some(idle))
                .timeout_per_read(Some(idle));
        }
        // The servers of unit tests are on this machine; the caller's environment may name a proxy.
        let proxies = if cfg!(test) { Proxies::default() } else { Proxies::of_environment() };
        // Each request has its own.
        let agent = config.proxy(None).build().new_agent();
        Ok(Self { agent, proxies, total, redirects })
    }

    /// Whether the proxy that the environment names for `url`, if any, can be used.
    ///
    /// # Errors
    /// A sentence, if not.
    pub fn check_proxy(&self, url: &str) -> Result<(), String> {
        parts(url).map_or(Ok(()), |server| self.proxies.of(&server.scheme, &server.host).map(drop))
    }

    /// Requests `url`. `Authorization` is not sent on to where the server redirects.
    ///
    /// # Errors
    /// [`HttpError`] if there is no answer, or it is a redirect that is not followed.
    pub fn get(&self, url: &str, headers: &[Header<'_>]) -> Result<Response<Body>, HttpError> {
        let started = Instant::now();
        let (mut url, mut headers) = (url.to_owned(), headers.to_vec());
        for _ in 0..=MAX_REDIRECTS {
            let request = request(Method::GET, &url, &headers)?.body(())?;
            let response = self.run(request, started)?;
            let Some(location) = location(&response) else { return Ok(response) };
            url = self.follow(&url, response.status(), location)?;
            headers.retain(|(name, _)| name != header::AUTHORIZATION);
        }
        Err(HttpError::Failed(ureq::Error::TooManyRedirects))
    }

    /// Sends `body` to `url` with this method. A program answers to what is sent as JSON, so that a web page is an error.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[Header<'_>],
        body: &[u8],
    ) -> Result<Response<Body>, HttpError> {
        let request = request(method, url, headers)?.body(body)?;
        let response = self.run(request, Instant::now())?;
        match location(&response) {
            Some(location) => Err(refused(response.status(), location, "it may lose what is sent")),
            None if headers.iter().any(|(_, value)| *value == JSON) => not_a_page(response),
            None => Ok(response),
        }
    }

    fn run(
        &self,
        request: Request<impl ureq::AsSendBody>,
        started: Instant,
    ) -> Result<Response<Body>, HttpError> {
        let left = self.total.map(|total| total.saturating_sub(started.elapsed()));
        let uri = request.uri();
        let proxy = self.proxies.of(uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default());
        let (proxy, name) = proxy.map_err(HttpError::Proxy)?.map(|it| (it.proxy, it.name)).unzip();
        let request = self.agent.configure_request(request).timeout_global(left).proxy(proxy).build();
        self.agent.run(request).map_err(|error| match name {
            Some(proxy) => HttpError::Proxied { error, proxy },
            None => HttpError::Failed(error),
        })
    }

    /// The URL to which a redirect leads, if it is followed.
    fn follow(&self, from: &str, status: StatusCode, location: &str) -> Result<String, HttpError> {
        let refused = |why| Err(refused(status, location, why));
        let to = url::join(from, location);
        let Some((from, (to, url))) = parts(from).zip(to.and_then(|url| Some((parts(&url)?, url)))) else {
            return refused("it is not an http or https URL");
        };
        match self.redirects {
            Redirects::Refuse => refused("it may be another server"),
            _ if from.scheme == "https" && to.scheme != "https" => refused("it leads from https to http"),
            Redirects::SameHost if from.host != to.host => refused("it is another host"),
            _ => Ok(url),
        }
    }
}

fn request(
    method: Method,
    url: &str,
    headers: &[Header<'_>],
) -> Result<ureq::http::request::Builder, HttpError> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).map_err(ureq::http::Error::from)?;
        request = request.header(name, value);
    }
    Ok(request)
}

/// Where a redirect leads, as the server says it.
fn location(response: &Response<Body>) -> Option<&str> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    response.headers().get(header::LOCATION).filter(|_| is_redirect)?.to_str().ok()
}

/// The answer, unless a success of it is a web page, as a captive portal answers.
fn not_a_page(response: Response<Body>) -> Result<Response<Body>, HttpError> {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !response.status().is_success() || !kind.is_none_or(is_page_type) {
        return Ok(response);
    }
    let (head, mut body) = response.into_parts();
    let mut bytes = vec![];
    body.as_reader().take(MAX_ANSWER).read_to_end(&mut bytes)?;
    if is_page(&bytes) {
        return Err(HttpError::Page);
    }
    Ok(Response::from_parts(head, Body::builder().data(bytes)))
}

fn refused(status: StatusCode, location: &str, why: &'static str) -> HttpError {
    HttpError::Redirect { status: status.as_u16(), to: url::shown(location), why }
}

#[derive(PartialEq, Eq)]
struct Server {
    scheme: String,
    host: String,
}

/// Scheme and host, as the client reads them.
fn parts(url: &str) -> Option<Server> {
    let uri = Uri::from_str(url).ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let host = uri.host()?.to_ascii_lowercase();
    matches!(scheme.as_str(), "http" | "https").then_some(Server { scheme, host })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn followed(redirects: Redirects, from: &str, location: &str) -> Result<String, String> {
        let timeout = Timeout::Total(Duration::from_secs(1));
        let client = Client::new(&Root::live(), None, timeout, redirects).unwrap();
        client.follow(from, StatusCode::FOUND, location).map_err(|e| e.to_string())
    }

    #[test]
    fn no_redirect_leads_from_https_to_http() {
        for redirects in [Redirects::AnyHost, Redirects::SameHost, Redirects::Refuse] {
            for to in ["http://h/a", "HTTP://h/a", "http://other/a", "ftp://h/a", "https:///a"] {
                let error = followed(redirects, "https://h/x", to).unwrap_err();
                assert!(error.contains("not followed"), "{error}");
            }
        }
        let error = followed(Redirects::AnyHost, "https://h/x", "http://u:pw@h/a?key=1").unwrap_err();
        assert_eq!(
            error,
            "the server redirects to http://h/a (status 302), which is not followed: it leads from https to http"
        );
    }

    #[test]
    fn only_a_file_whose_bytes_are_checked_may_be_on_another_host() {
        let other = "https://u@login.example/?from=h";
        assert_eq!(followed(Redirects::AnyHost, "https://h/x", other).unwrap(), other);
        for from in ["https://h/x", "http://h/x"] {
            let error = followed(Redirects::SameHost, from, other).unwrap_err();
            assert!(error.contains("https://login.example/") && error.contains("another host"), "{error}");
            assert!(followed(Redirects::Refuse, from, other).is_err());
        }
        for (from, to) in [("http://h/x", "https://H:8443/y"), ("http://h:1/x", "http://h:2/y")] {
            assert_eq!(followed(Redirects::SameHost, from, to).unwrap(), to);
        }
        assert_eq!(followed(Redirects::SameHost, "http://u:p@h:1/a/b?c", "d?e").unwrap(), "http://h:1/a/d?e");
        assert!(followed(Redirects::SameHost, "http://h/x", "//other/y").is_err());
    }
}
