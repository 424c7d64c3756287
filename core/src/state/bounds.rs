//! The bounds of texts that are kept. Lengths are in bytes of the JSON that is written.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::text;
use crate::text::ELLIPSIS;

/// How many failure records are kept; the oldest go first. A deleted record no longer blocks its image.
pub(super) const MAX_FAILURES: usize = 16;

/// The longest text for people that is kept: a reason, or the end of an output. Longer ones are cut at a character.
pub(super) const MAX_TEXT: usize = 512;

/// The longest version, digest or image id. No file name on the ESP can hold a longer version.
pub(super) const MAX_WORD: usize = 256;

/// The most folders of images whose lists are remembered.
pub const MAX_LISTS: usize = 3;

/// The longest name of a folder of images or of a feed.
pub const MAX_NAME: usize = 128;

/// Between the beginning of a word that is too long and its SHA-256.
const ABRIDGED: &str = "~";

/// A word that tells one thing from another, as it is kept: one that is longer than `max` bytes is replaced by its
/// beginning and its SHA-256. What is kept already stays as it is.
#[must_use]
fn abridged(word: &str, max: usize) -> Cow<'_, str> {
    if written(word) <= max {
        return Cow::Borrowed(word);
    }
    let digest = crate::hex::encode(&Sha256::digest(word));
    let room = max.saturating_sub(digest.len() + ABRIDGED.len());
    Cow::Owned(format!("{}{ABRIDGED}{digest}", beginning(word, room)))
}

/// A version or a digest as it is kept in the state. To find a record, compare with this.
#[must_use]
pub(super) fn kept_word(word: &str) -> Cow<'_, str> {
    if text::is_printable(word) {
        return abridged(word, MAX_WORD);
    }
    Cow::Owned(abridged(&text::printable(word), MAX_WORD).into_owned())
}

/// Replaces a version, a digest or an image id by what is kept of it.
pub(super) fn keep_word(word: &mut String) {
    if let Cow::Owned(kept) = kept_word(word) {
        *word = kept;
    }
}

/// Makes one printable line of a text and cuts it to what is kept of it, which it shows by an ellipsis.
pub(super) fn cut(text: &mut String) {
    cut_to(text, MAX_TEXT);
}

/// As [`cut`], for the output of a program, which has several lines.
pub(super) fn cut_output(text: &mut String) {
    *text = text::lines(text);
    cut_clean(text, MAX_TEXT);
}

/// As [`cut`], to so many bytes.
pub(super) fn cut_to(text: &mut String, max: usize) {
    if !text::is_printable(text) {
        *text = text::printable(text);
    }
    cut_clean(text, max);
}

fn cut_clean(text: &mut String, max: usize) {
    if written(text) > max {
        let end = beginning(text, max.saturating_sub(ELLIPSIS.len())).len();
        text.truncate(end);
        text.push_str(ELLIPSIS);
    }
}

/// Replaces a word of more than `max` bytes by its beginning and its SHA-256.
pub(super) fn abridge(word: &mut String, max: usize) {
    if let Cow::Owned(short) = abridged(word, max) {
        *word = short;
    }
}

/// The longest beginning of a text that takes at most so many bytes.
fn beginning(text: &str, max: usize) -> &str {
    let mut left = max;
    let end = text.char_indices().find_map(|(at, c)| match left.checked_sub(width(c)) {
        Some(rest) => {
            left = rest;
            None
        }
        None => Some(at),
    });
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// Bytes of a text between the quotes of JSON.
pub(super) fn written(text: &str) -> usize {
    text.chars().map(width).sum()
}

fn width(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        c => c.len_utf8(),
    }
}
