//! Images from a web server.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::Source;
use crate::error::{Error, Result};

/// Where distributions keep the certificates they trust; the first one found counts.
const TRUST_STORES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a server may stay silent in the middle of an image.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Opens `url` for reading from its beginning.
pub fn open(url: &str) -> Result<Source> {
    let cannot = |why: String| Error::Image(format!("{url}: cannot download: {why}"));
    let response = agent().get(url).call().map_err(|e| match e {
        ureq::Error::StatusCode(404) => cannot("the server has no such image (404)".into()),
        ureq::Error::StatusCode(code) => cannot(format!("the server answered {code}")),
        e => cannot(e.to_string()),
    })?;
    let len = response.body().content_length();
    let reader = response.into_body().into_with_config().limit(u64::MAX).reader();
    Ok(Source { name: url.to_owned(), len, repeatable: false, reader: Box::new(Whole { reader, left: len }) })
}

fn agent() -> Agent {
    Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(root_certs()).build())
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(READ_TIMEOUT))
        .timeout_per_read(Some(READ_TIMEOUT))
        .user_agent(concat!("abide/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

/// The system's own trust store; where it has none, Mozilla's list as it was when this was built.
fn root_certs() -> RootCerts {
    let named = std::env::var("SSL_CERT_FILE").ok();
    let pem = named.iter().map(String::as_str).chain(TRUST_STORES).find_map(|path| std::fs::read(path).ok());
    let Some(pem) = pem else { return RootCerts::WebPki };
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    RootCerts::Specific(Arc::new(certificates))
}

/// Makes an end that comes before the announced length an error.
struct Whole<R> {
    reader: R,
    left: Option<u64>,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(to)?;
        if let Some(left) = &mut self.left {
            if count == 0 && *left > 0 && !to.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("the server ended the connection with {left} bytes to go"),
                ));
            }
            *left = left.saturating_sub(count as u64);
        }
        Ok(count)
    }
}
