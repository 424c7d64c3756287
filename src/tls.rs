//! The certificates that servers are verified with.

use std::path::Path;
use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

use crate::files::read_named;
use abide_core::root::Root;

/// The largest file of certificates.
const MAX: u64 = 16 << 20;

/// The certificate stores of distributions; the first one found counts.
const TRUST_STORES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The `pinned` certificates only; without, those of `root`; where it has none, Mozilla's list as of the build.
/// On the running system `SSL_CERT_FILE` may name another store.
///
/// # Errors
/// A sentence, if the pinned file cannot be read or has no certificate: then nothing is trusted.
pub fn root_certs(root: &Root, pinned: Option<&Path>) -> Result<RootCerts, String> {
    let pem = match pinned {
        Some(file) => Some(
            read_named(&root.path(file), MAX).map_err(|e| format!("{}: cannot read: {e}", file.display()))?,
        ),
        None => {
            let named = std::env::var("SSL_CERT_FILE").ok().filter(|_| root.is_live());
            let mut stores = named.iter().map(String::as_str).chain(TRUST_STORES);
            stores.find_map(|file| read_named(&root.path(file), MAX).ok())
        }
    };
    let Some(pem) = pem else { return Ok(RootCerts::WebPki) };
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match pinned.filter(|_| certificates.is_empty()) {
        Some(file) => Err(format!("{}: has no certificate in PEM form", file.display())),
        None => Ok(RootCerts::Specific(Arc::new(certificates))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_pinned_file_must_have_a_certificate() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(root_certs(&Root::live(), Some(file.path())).unwrap_err().contains("has no certificate"));
        assert!(root_certs(&Root::live(), Some(Path::new("/no/such/file"))).is_err());
    }
}
