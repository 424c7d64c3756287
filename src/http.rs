//! The HTTP client: one set-up for images, checks, events and servers of fleets.

use std::path::Path;
use std::time::Duration;

use ureq::Agent;
use ureq::config::RedirectAuthHeaders;
use ureq::tls::TlsConfig;

use crate::tls::root_certs;
use abide_core::root::Root;

/// How long to wait for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// For one request with its answer.
    Total(Duration),
    /// To connect, and then between two reads: for large files.
    Idle {
        /// To connect.
        connect: Duration,
        /// For the start of the answer, and between two reads.
        idle: Duration,
    },
}

/// Whether redirects are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// They are, without the authorization.
    Follow,
    /// They are not: a redirect is the answer.
    Ignore,
}

/// A client that trusts the certificates in `ca`, else those of `root`. A status of 400 and above is not an error.
///
/// # Errors
/// A sentence, if `ca` cannot be read or has no certificate.
pub fn agent(
    root: &Root,
    ca: Option<&Path>,
    timeout: Timeout,
    redirects: Redirects,
) -> Result<Agent, String> {
    let mut config = Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(root_certs(root, ca)?).build())
        .http_status_as_error(false)
        .redirect_auth_headers(RedirectAuthHeaders::Never)
        .user_agent(concat!("abide/", env!("CARGO_PKG_VERSION")));
    config = match timeout {
        Timeout::Total(limit) => config.timeout_global(Some(limit)),
        Timeout::Idle { connect, idle } => config
            .timeout_connect(Some(connect))
            .timeout_recv_response(Some(idle))
            .timeout_per_read(Some(idle)),
    };
    if redirects == Redirects::Ignore {
        config = config.max_redirects(0);
    }
    if cfg!(test) {
        // The servers of unit tests are on this machine; the caller's environment may name a proxy.
        config = config.proxy(None);
    }
    Ok(config.build().new_agent())
}
