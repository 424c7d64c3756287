//! What a newer Abide has written beside the fields that this one knows, so that a save does not lose it.
//!
//! A change of the format must follow these rules (`docs/reference/files.md`):
//!
//! - The meaning of a field is never changed. What is new gets a field of its own, which an older Abide keeps.
//! - A word of a field that decides ([`Stage`](super::Stage), [`SlotName`](crate::disk::SlotName)) is never added: the
//!   older Abide could not act on it, and refuses to write. Fields by which nothing is decided ([`TELLING`]) may get new words.
//! - What an older Abide must act on differently is a new format, which it refuses to write over.

use serde_json::{Map, Value};

/// Fields by which nothing is decided, with the known words, and the word as which an unknown one is read.
const TELLING: [(&str, &[&str], &str); 2] = [
    ("phase", &["loader", "initramfs", "switch-root", "userspace", "checks"], "userspace"),
    ("tried", &["reboot", "leave"], "leave"),
];

/// The end of a boot is a word, or an object with one field. Others are read as if no end was recorded.
const ENDS: [&str; 2] = ["orderly", "failed"];

/// Fields by which an object is known as the same one after a change; one without any of them by its entry.
const IDENTITY: [&str; 6] = ["version", "digest", "slot", "boot_id", "name", "sha256"];

/// The JSON with every word of a telling field that is not known replaced by one that is.
pub(super) fn in_known_words(json: &Value) -> Value {
    match json {
        Value::Object(fields) => Value::Object(fields.iter().filter_map(in_known_word).collect()),
        Value::Array(items) => items.iter().map(in_known_words).collect(),
        other => other.clone(),
    }
}

fn in_known_word((name, value): (&String, &Value)) -> Option<(String, Value)> {
    let telling = TELLING.iter().find(|(field, ..)| field == name);
    let value = match (telling, value) {
        (Some((_, known, instead)), Value::String(word)) if !known.contains(&word.as_str()) => {
            Value::from(*instead)
        }
        _ if name == "end" && !is_known_end(value) => return None,
        _ => in_known_words(value),
    };
    Some((name.clone(), value))
}

fn is_known_end(end: &Value) -> bool {
    match end {
        Value::String(word) => ENDS.contains(&word.as_str()),
        Value::Object(fields) => fields.keys().all(|word| ENDS.contains(&word.as_str())),
        _ => true,
    }
}

/// The JSON of a new state, with what was read and is not known: `read` is what was read, `known` what was understood
/// of it. A field that has changed since is written as it is now.
pub(super) fn with_unknown(new: Value, known: &Value, read: &Value) -> Value {
    match (new, known, read) {
        (new, known, read) if new == *known => read.clone(),
        (Value::Object(new), Value::Object(known), Value::Object(read)) => {
            Value::Object(fields_with_unknown(new, known, read))
        }
        (Value::Array(new), Value::Array(known), Value::Array(read)) => {
            let pairs = || known.iter().zip(read);
            let carried = |item: Value| match pairs().find(|(known, _)| is_same(&item, known)) {
                Some((known, read)) => with_unknown(item, known, read),
                None => item,
            };
            new.into_iter().map(carried).collect()
        }
        (new, ..) => new,
    }
}

fn fields_with_unknown(
    new: Map<String, Value>,
    known: &Map<String, Value>,
    read: &Map<String, Value>,
) -> Map<String, Value> {
    let carried = |(name, value): (String, Value)| match (known.get(&name), read.get(&name)) {
        (Some(known), Some(read)) if is_same(&value, known) => {
            let value = with_unknown(value, known, read);
            (name, value)
        }
        _ => (name, value),
    };
    let mut fields: Map<String, Value> = new.into_iter().map(carried).collect();
    for (name, value) in read {
        if !known.contains_key(name) && !fields.contains_key(name) {
            fields.insert(name.clone(), value.clone());
        }
    }
    fields
}

/// Whether this is one thing, perhaps changed. An object without any of these fields is told by its place alone.
fn is_same(new: &Value, known: &Value) -> bool {
    match (new, known) {
        (Value::Object(new), Value::Object(known)) => {
            let is_equal = |field: &str| new.get(field) == known.get(field);
            let has_identity = IDENTITY.iter().any(|field| new.contains_key(*field));
            IDENTITY.iter().all(|field| is_equal(field)) && (has_identity || is_equal("entry"))
        }
        (Value::Array(_), Value::Array(_)) => true,
        (new, known) => new == known,
    }
}
