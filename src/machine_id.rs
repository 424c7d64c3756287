//! What identifies this machine.

use std::fs;

use abide_core::error::{Error, Result};
use abide_core::root::Root;

const FILE: &str = "/etc/machine-id";

/// The machine id of `root`; empty where there is none. Confidential: it must not be sent to servers
/// (machine-id(5)).
#[must_use]
pub fn raw(root: &Root) -> String {
    let text = fs::read_to_string(root.path(FILE)).unwrap_or_default();
    valid(&text).unwrap_or_default().to_owned()
}

/// The id in the text of the file. `uninitialized` stands there until the first boot has made one, and an id of zeros is none
/// (machine-id(5); systemd, `sd_id128_get_machine()`): many machines may have these, and are not the same machine.
fn valid(text: &str) -> Option<&str> {
    let id = text.trim();
    let is_id = id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
    (is_id && id.bytes().any(|digit| digit != b'0')).then_some(id)
}

/// An id derived from the machine id of `root` as machine-id(5) recommends: 32 hexadecimal digits; empty
/// where there is no machine id.
#[must_use]
pub fn derived(root: &Root) -> String {
    of(&raw(root))
}

/// The id by which a server knows the machine: the configured one, else the derived one; `section`: of the
/// configuration, for the message.
///
/// # Errors
/// [`Error::Usage`] if there is neither.
pub fn at_server(root: &Root, configured: Option<&str>, section: &str) -> Result<String> {
    let id = configured.map_or_else(|| derived(root), str::to_owned);
    if id.is_empty() {
        return Err(Error::Usage(format!("[{section}]: the machine has no machine id; set id")));
    }
    Ok(id)
}

fn of(machine_id: &str) -> String {
    if machine_id.is_empty() {
        return String::new();
    }
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, machine_id.as_bytes());
    let tag = ring::hmac::sign(&key, b"abide");
    abide_core::hex::encode(tag.as_ref().get(..16).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_not_a_machine_id_is_no_machine_id() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        assert_eq!(raw(&root), "");
        fs::create_dir(dir.path().join("etc")).unwrap();
        let read = |text: &str| {
            fs::write(root.path(FILE), text).unwrap();
            (raw(&root), derived(&root).is_empty(), at_server(&root, None, "update.hawkbit").is_err())
        };
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(read(&format!("{id}\n")), (id.to_owned(), false, false));
        for text in [
            "",
            "\n",
            "uninitialized\n",
            &"0".repeat(32),
            id.trim_start_matches('0'),
            &format!("{id}0"),
            &"x".repeat(32),
        ] {
            assert_eq!(read(text), (String::new(), true, true), "{text}");
        }
    }

    #[test]
    fn the_derived_id_does_not_contain_the_machine_id() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(of(id).len(), 32);
        assert_ne!(of(id), id);
        assert_ne!(of(id), of("x"));
        assert_eq!(of(""), "");
    }
}
