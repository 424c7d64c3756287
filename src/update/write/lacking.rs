//! What is missing of a root in a folder that has it in parts: the cache of the agent, which can fetch more.

use std::sync::{Arc, Mutex, PoisonError};

use crate::feed::request::Request;
use abide_core::error::Error;

/// What a write lacks.
#[derive(Debug, Clone, Default)]
pub struct Lacking(Arc<Mutex<Option<Missing>>>);

/// What is missing of a full file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// SHA-256 of the full file.
    pub full: String,
    /// Its regions.
    pub regions: Request,
}

impl Lacking {
    /// Notes what is missing of the full file `name`, whose digest is `full`. Returns the error that ends the write.
    pub fn note(&self, name: &str, full: &str, regions: Request) -> Error {
        let missing = Missing { full: full.to_owned(), regions };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(missing);
        Error::Image(format!("{name}: a part of it is neither on this machine nor downloaded"))
    }

    /// What is missing, if anything is.
    #[must_use]
    pub fn take(&self) -> Option<Missing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
