//! What identifies this machine.

use std::fs;

use abide_core::error::{Error, Result};
use abide_core::root::Root;

const FILE: &str = "/etc/machine-id";

/// The machine id of `root`; empty where there is none. Confidential: it must not be sent to servers
/// (machine-id(5)).
#[must_use]
pub fn raw(root: &Root) -> String {
    fs::read_to_string(root.path(FILE)).unwrap_or_default().trim().to_owned()
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
    use super::of;

    #[test]
    fn the_derived_id_does_not_contain_the_machine_id() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(of(id).len(), 32);
        assert_ne!(of(id), id);
        assert_ne!(of(id), of("x"));
        assert_eq!(of(""), "");
    }
}
