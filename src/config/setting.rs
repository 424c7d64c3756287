//! The properties of a key of the configuration.

use abide_core::config::tree::Value;

/// A key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// What it means, in one sentence or two.
    pub help: &'static str,
    /// The type of its value, in words.
    pub form: fn() -> String,
    /// Its settings, if it is a table.
    pub table: fn() -> Option<Nested>,
    /// Whether it must be there.
    pub required: bool,
    /// Its default, unless that depends on something else.
    pub default: Option<fn() -> Option<Value>>,
    /// What holds if it is not there, in words.
    pub otherwise: Option<&'static str>,
    /// A value that it may have, as TOML.
    pub example: Option<&'static str>,
}

/// The settings of a table that is the value of a key.
#[derive(Debug, Clone)]
pub struct Nested {
    /// Its keys.
    pub keys: Vec<Setting>,
    /// Whether there can be any number of it: `[[table]]`.
    pub repeated: bool,
}
