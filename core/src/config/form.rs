//! Forms of values: texts, numbers, spans of time, words, tables.

use std::marker::PhantomData;
use std::time::Duration;

use crate::config::duration;
use crate::config::section::{Form, Section, Settings, suggestion, wrong};
use crate::config::tree::{Node, Value};
use crate::error::{Error, Result};

/// What a text must be.
pub trait TextRule {
    /// What is wrong with a text: `must not be empty`.
    fn problem(text: &str) -> Option<String>;
}

impl<R: TextRule> Form for R {
    type Value = String;

    fn read(_: &Section<'_>, key: &str, node: &Node) -> Result<String> {
        let Value::Text(text) = &node.value else { return Err(wrong(node, key, "a text in quotes")) };
        match R::problem(text) {
            Some(problem) => Err(Error::Usage(format!("{}: {key}: {problem}", node.origin))),
            None => Ok(text.clone()),
        }
    }
}

/// Any text.
#[derive(Debug)]
pub struct Text;

impl TextRule for Text {
    fn problem(_: &str) -> Option<String> {
        None
    }
}

/// `true` or `false`.
#[derive(Debug)]
pub struct Flag;

impl Form for Flag {
    type Value = bool;

    fn read(_: &Section<'_>, key: &str, node: &Node) -> Result<bool> {
        match &node.value {
            Value::Boolean(flag) => Ok(*flag),
            _ => Err(wrong(node, key, "true or false")),
        }
    }
}

/// A whole number within limits.
#[derive(Debug)]
pub struct Count<const FROM: u32, const TO: u32>;

impl<const FROM: u32, const TO: u32> Form for Count<FROM, TO> {
    type Value = u32;

    fn read(_: &Section<'_>, key: &str, node: &Node) -> Result<u32> {
        let Value::Integer(n) = &node.value else { return Err(wrong(node, key, "a whole number")) };
        let number = u32::try_from(*n).ok().filter(|n| (FROM..=TO).contains(n));
        number.ok_or_else(|| wrong(node, key, &format!("a number from {FROM} to {TO}")))
    }
}

/// A span of time of so many milliseconds at least, as systemd writes it, or a whole number of seconds.
/// `infinity` is refused: everything that is configured is a limit.
#[derive(Debug)]
pub struct Span<const LEAST: u64 = 0>;

impl<const LEAST: u64> Form for Span<LEAST> {
    type Value = Duration;

    fn read(_: &Section<'_>, key: &str, node: &Node) -> Result<Duration> {
        let span = match &node.value {
            Value::Text(text) => duration::parse(text).map_err(|problem| wrong(node, key, &problem))?,
            Value::Integer(n) => u64::try_from(*n)
                .map(Duration::from_secs)
                .map_err(|_| wrong(node, key, "a span of time, not a negative number"))?,
            _ => return Err(wrong(node, key, "a span of time in quotes, such as \"10min\"")),
        };
        let least = Duration::from_millis(LEAST);
        if span < least {
            return Err(wrong(node, key, &format!("at least {}", duration::format(least))));
        }
        Ok(span)
    }
}

/// Words, and what each stands for.
pub trait Words {
    /// What a word stands for.
    type Value: Copy + PartialEq + 'static;
    /// All of them.
    const WORDS: &'static [(&'static str, Self::Value)];
}

/// One of several words.
#[derive(Debug)]
pub struct Word<W>(PhantomData<W>);

impl<W: Words> Form for Word<W> {
    type Value = W::Value;

    fn read(_: &Section<'_>, key: &str, node: &Node) -> Result<W::Value> {
        let names: Vec<&str> = W::WORDS.iter().map(|(name, _)| *name).collect();
        let Value::Text(text) = &node.value else {
            return Err(wrong(node, key, &format!("one of {}", names.join(", "))));
        };
        W::WORDS.iter().find(|(name, _)| name == text).map(|(_, value)| *value).ok_or_else(|| {
            let suggestion = suggestion(text, &names);
            Error::Usage(format!("{}: {key}: '{text}' is not known; {suggestion}", node.origin))
        })
    }
}

/// A value that may be left out.
#[derive(Debug)]
pub struct Optional<F>(PhantomData<F>);

impl<F: Form> Form for Optional<F> {
    type Value = Option<F::Value>;

    fn read(section: &Section<'_>, key: &str, node: &Node) -> Result<Self::Value> {
        F::read(section, key, node).map(Some)
    }
}

/// A table with settings of its own.
#[derive(Debug)]
pub struct Sub<T>(PhantomData<T>);

impl<T: Settings> Form for Sub<T> {
    type Value = T;

    fn read(section: &Section<'_>, key: &str, node: &Node) -> Result<T> {
        let mut table = Section::of(node, format!("[{}]", section.below(key)))?;
        let value = T::read(&mut table)?;
        table.finish()?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::tree::Tree;

    enum Answer {}

    impl Words for Answer {
        type Value = u8;
        const WORDS: &'static [(&'static str, u8)] = &[("rollback", 1), ("retry", 2)];
    }

    fn read<F: Form>(value: &str) -> Result<F::Value> {
        let tree = Tree::parse("f", &format!("k = {value}\n"))?;
        Section::top(&tree).read::<F>("k").map(Option::unwrap)
    }

    #[test]
    fn a_number_out_of_range_is_refused_with_the_range() {
        assert_eq!(read::<Count<1, 9>>("9").unwrap(), 9);
        let error = read::<Count<1, 9>>("10").unwrap_err();
        assert_eq!(error.to_string(), "f:1: k: must be a number from 1 to 9");
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_nearest() {
        let error = read::<Word<Answer>>("'rolback'").unwrap_err();
        assert_eq!(error.to_string(), "f:1: k: 'rolback' is not known; did you mean 'rollback'?");
    }

    #[test]
    fn a_span_below_its_limit_is_refused() {
        assert_eq!(read::<Span<1000>>("1").unwrap(), Duration::from_secs(1));
        let error = read::<Span<1000>>("'999ms'").unwrap_err();
        assert_eq!(error.to_string(), "f:1: k: must be at least 1s");
    }
}
