//! How servers are spoken to: one set-up for images, checks, reports and fleets.

use std::path::Path;
use std::time::Duration;

use ureq::Agent;
use ureq::config::RedirectAuthHeaders;
use ureq::tls::TlsConfig;

use crate::tls::root_certs;
use abide_core::root::Root;

/// How long a server may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// So long for one request and its answer.
    Whole(Duration),
    /// So long to connect, and so long without a byte after that: for what is large.
    Silence {
        /// To connect.
        connect: Duration,
        /// Between two reads, and for the beginning of the answer.
        silent: Duration,
    },
}

/// Whether a server may send its clients on to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// It may; what the client authenticates itself with stays behind.
    Follow,
    /// It may not: its answer is an answer.
    Ignore,
}

/// A client that trusts the certificates in `ca`, else those of `root`. A status is no error.
///
/// # Errors
/// A sentence, if `ca` cannot be read or holds no certificate.
pub fn agent(
    root: &Root,
    ca: Option<&Path>,
    patience: Patience,
    redirects: Redirects,
) -> Result<Agent, String> {
    let mut config = Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(root_certs(root, ca)?).build())
        .http_status_as_error(false)
        .redirect_auth_headers(RedirectAuthHeaders::Never)
        .user_agent(concat!("abide/", env!("CARGO_PKG_VERSION")));
    config = match patience {
        Patience::Whole(limit) => config.timeout_global(Some(limit)),
        Patience::Silence { connect, silent } => config
            .timeout_connect(Some(connect))
            .timeout_recv_response(Some(silent))
            .timeout_per_read(Some(silent)),
    };
    if redirects == Redirects::Ignore {
        config = config.max_redirects(0);
    }
    Ok(config.build().new_agent())
}
