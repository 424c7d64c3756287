//! The replies of a hawkBit server, and what they say of a request.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::IgnoredAny;

use crate::http::HttpError;
use crate::image::answer::retry_after;
use crate::url::shown;
use crate::web_page::is_page;
use abide_core::error::{Error, Result};

/// The longest answer that is read.
const MAX_BYTES: u64 = 4 << 20;

/// A reply of any status.
pub struct HttpReply {
    /// Its status.
    pub status: u16,
    body: Vec<u8>,
    /// How long it asks to wait.
    pub retry_after: Option<Duration>,
}

/// Whether a server that refuses a request with this status would refuse it the next time, too.
pub fn is_refused(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 401 | 403 | 404 | 408 | 409 | 410 | 425 | 429)
}

/// Whether the text of a request may have led to this status, by a filter in between or a fault of the server, or something
/// else.
pub fn is_error(status: u16) -> bool {
    status >= 400 && !matches!(status, 404 | 410)
}

impl HttpReply {
    /// Reads a reply.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is none, or it is a page.
    pub fn read(
        url: &str,
        response: std::result::Result<ureq::http::Response<ureq::Body>, HttpError>,
    ) -> Result<Self> {
        let failed = |e: HttpError| {
            let remedy = match e {
                HttpError::Redirect { .. } => "; set url in [update.hawkbit] to the URL of the server",
                _ => "",
            };
            Error::Failed(format!("{}: {e}{remedy}", shown(url)))
        };
        let mut response = response.map_err(failed)?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let body =
            response.body_mut().with_config().limit(MAX_BYTES).read_to_vec().map_err(|e| failed(e.into()))?;
        // Something is concluded from these: that an action is gone, too. The server itself answers a program with JSON.
        if matches!(status, 200..=299 | 404 | 410) && is_page(&body) {
            return Err(failed(HttpError::Page));
        }
        Ok(Self { status, body, retry_after })
    }

    /// Whether it is hawkBit's own word that a quota is used up.
    pub fn names_quota(&self) -> bool {
        String::from_utf8_lossy(&self.body).contains("quota")
    }

    /// Whether a server has taken what was sent. hawkBit answers with nothing, and gooseBit with an object that has an `id` or
    /// says `success`; other texts are those of portals and proxies.
    ///
    /// # Errors
    /// [`Error::Failed`] if it has not.
    pub fn taken(self, url: &str) -> Result<()> {
        let body = self.ok(url)?;
        let object: BTreeMap<String, IgnoredAny> = serde_json::from_slice(&body).unwrap_or_default();
        if body.trim_ascii().is_empty() || object.contains_key("id") || object.contains_key("success") {
            return Ok(());
        }
        let url = shown(url);
        Err(Error::Failed(format!(
            "{url}: the answer is not that of a hawkBit server: a captive portal or a proxy?"
        )))
    }

    /// The body of a success.
    ///
    /// # Errors
    /// [`Error::Failed`] if it is none.
    pub fn ok(self, url: &str) -> Result<Vec<u8>> {
        let url = shown(url);
        match self.status {
            200..=299 => Ok(self.body),
            401 | 403 => Err(Error::Failed(format!(
                "{url}: the server refuses this machine's token (status {}); check token in [update.hawkbit]",
                self.status
            ))),
            status => Err(Error::Failed(format!("{url}: status {status}"))),
        }
    }
}
