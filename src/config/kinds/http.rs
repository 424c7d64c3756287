//! `kind = "http"`: a server sends the expected response.

use abide_core::config::form::{Count, Optional, Text, Word, Words};
use abide_core::config::section::Section;
use abide_core::error::Result;

use crate::config::forms::{AbsolutePath, OptionalList, Pattern, Url};
use crate::config::table::settings;

settings! {
    /// `kind = "http"`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct HttpCheck checked by posts {
        /// The URL to request.
        pub url: Url, example "https://orchestrator.example/healthz";
        /// The HTTP method.
        pub method: Word<Method> = Method::Get;
        /// The body of the request. Needs `method = "POST"`.
        pub body: Optional<Text> = None;
        /// The status codes with which the check passes.
        pub status: OptionalList<Count<100, 599>> = vec![], otherwise "any of 200 to 299", example [200, 401];
        /// A pattern that a line of the response (its first MiB) must match.
        pub matches: Optional<Pattern> = None, example "*ready*";
        /// A file of PEM certificates to check the server against.
        pub ca: Optional<AbsolutePath> = None, otherwise "the system's", example "/etc/abide/ca.pem";
    }
}

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
}

impl Words for Method {
    type Value = Self;
    const WORDS: &'static [(&'static str, Self)] = &[("GET", Self::Get), ("POST", Self::Post)];
}

impl HttpCheck {
    fn posts(&self, section: &Section<'_>) -> Result<()> {
        if self.body.is_some() && self.method == Method::Get {
            return Err(section.error_at("body", "needs method = \"POST\""));
        }
        Ok(())
    }
}
