//! `kind = "http"`: a server gives the right answer.

use abide_core::config::section::Section;
use abide_core::error::Result;

/// `kind = "http"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// `http://` or `https://`
    pub url: String,
    /// The method.
    pub method: Method,
    /// What is sent along with POST.
    pub body: Option<String>,
    /// The status codes that pass; empty means any of 200 to 299.
    pub status: Vec<u16>,
    /// A shell pattern that some line of the answer must match.
    pub matches: Option<String>,
    /// A file of certificates in PEM that are trusted, instead of the system's.
    pub ca: Option<String>,
}

/// How the server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
}

impl HttpCheck {
    pub(in crate::config) fn read(section: &mut Section<'_>) -> Result<Self> {
        let url = section.text("url")?.unwrap_or_default();
        if !["http://", "https://"].iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme)) {
            return Err(section.error("a check of kind http needs url = \"http://…\" or \"https://…\""));
        }
        let methods = [("GET", Method::Get), ("POST", Method::Post)];
        let check = Self {
            url,
            method: section.word("method", &methods)?.unwrap_or(Method::Get),
            body: section.text("body")?,
            status: section.numbers("status", 100..=599)?.unwrap_or_default(),
            matches: section.text("matches")?,
            ca: section.path("ca")?,
        };
        match check.body.is_some() && check.method == Method::Get {
            true => Err(section.error_at("body", "needs method = \"POST\"")),
            false => Ok(check),
        }
    }
}
