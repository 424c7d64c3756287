//! Forms and tables as they are written and described; how they are read is a matter of
//! [`abide_core::config::section`].

use std::time::Duration;

use abide_core::config::duration;
use abide_core::config::form::{Count, Flag, Optional, Span, Sub, Text, TextRule, Word, Words};
use abide_core::config::section::{Form, Settings};
use abide_core::config::tree::{Table, Value};

use crate::config::setting::{Nested, Setting};

/// How the value of a key is written, and what it is called.
pub trait DescribedForm: Form {
    /// The value as it is written in a file; `None` if the key is then left out.
    fn write(value: &Self::Value) -> Option<Value>;

    /// The type, for the reference: `time`, `number, 1 to 9`.
    fn described() -> String;

    /// The type of the elements of a list: `paths`.
    fn described_many() -> String {
        Self::described() + "s"
    }

    /// The settings of a table.
    fn table() -> Option<Nested> {
        None
    }
}

/// A table of the configuration, with its descriptions.
pub trait DescribedSettings: Settings {
    /// Its keys.
    const KEYS: &'static [Setting];

    /// All that holds, defaults included, as it is written in a file.
    fn write(&self) -> Table;
}

/// A kind of text.
pub trait DescribedText: TextRule {
    /// The type, for the reference.
    const NAME: &'static str;
}

impl<R: DescribedText> DescribedForm for R {
    fn write(value: &String) -> Option<Value> {
        Some(Value::Text(value.clone()))
    }

    fn described() -> String {
        R::NAME.into()
    }
}

impl DescribedText for Text {
    const NAME: &'static str = "text";
}

impl DescribedForm for Flag {
    fn write(value: &bool) -> Option<Value> {
        Some(Value::Boolean(*value))
    }

    fn described() -> String {
        "boolean".into()
    }
}

impl<const FROM: u32, const TO: u32> DescribedForm for Count<FROM, TO> {
    fn write(value: &u32) -> Option<Value> {
        Some(Value::Integer((*value).into()))
    }

    fn described() -> String {
        format!("number, {FROM} to {TO}")
    }

    fn described_many() -> String {
        format!("numbers, {FROM} to {TO}")
    }
}

impl<const LEAST: u64> DescribedForm for Span<LEAST> {
    fn write(value: &Duration) -> Option<Value> {
        Some(Value::Text(literal(*value)))
    }

    fn described() -> String {
        if LEAST == 0 {
            return "time".into();
        }
        format!("time, at least {}", duration::format(Duration::from_millis(LEAST)))
    }
}

impl<W: Words> DescribedForm for Word<W> {
    fn write(value: &W::Value) -> Option<Value> {
        let word = W::WORDS.iter().find(|(_, known)| known == value);
        word.map(|(name, _)| Value::Text((*name).to_owned()))
    }

    fn described() -> String {
        let words: Vec<String> = W::WORDS.iter().map(|(name, _)| format!("`\"{name}\"`")).collect();
        match words.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => words.concat(),
        }
    }

    fn described_many() -> String {
        Self::described()
    }
}

impl<F: DescribedForm> DescribedForm for Optional<F> {
    fn write(value: &Self::Value) -> Option<Value> {
        value.as_ref().and_then(F::write)
    }

    fn described() -> String {
        F::described()
    }

    fn table() -> Option<Nested> {
        F::table()
    }
}

impl<T: DescribedSettings> DescribedForm for Sub<T> {
    fn write(value: &T) -> Option<Value> {
        Some(Value::Table(value.write()))
    }

    fn described() -> String {
        "table".into()
    }

    fn table() -> Option<Nested> {
        Some(Nested { keys: T::KEYS.to_vec(), repeated: false })
    }
}

/// Writes a span of time so that it is read as the same one: as [`duration::format`] does, whole days and weeks as
/// such.
fn literal(span: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    match span.as_secs() {
        _ if span.subsec_millis() > 0 => format!("{}ms", span.as_millis()),
        0 => "0s".into(),
        seconds if seconds % (7 * DAY) == 0 => format!("{}w", seconds / (7 * DAY)),
        seconds if seconds % DAY == 0 => format!("{}d", seconds / DAY),
        _ => duration::format(span),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    enum Answer {}

    impl Words for Answer {
        type Value = u8;
        const WORDS: &'static [(&'static str, u8)] = &[("rollback", 1), ("retry", 2)];
    }

    #[test]
    fn the_words_of_a_form_are_listed() {
        assert_eq!(Word::<Answer>::described(), "`\"rollback\"` or `\"retry\"`");
    }

    #[test]
    fn a_literal_is_read_as_the_same_span() {
        for text in ["0s", "1500ms", "10min", "1h 30min", "1d", "36h", "2w", "100ms"] {
            assert_eq!(literal(duration::parse(text).unwrap()), text);
        }
    }
}
