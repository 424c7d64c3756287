//! What tells this machine from others, without telling its machine id.

use std::fs;

use abide_core::root::Root;

const FILE: &str = "/etc/machine-id";

/// Derived from the machine id of `root` as machine-id(5) asks for it: 32 hexadecimal digits; empty
/// where there is none.
#[must_use]
pub fn derived(root: &Root) -> String {
    of(fs::read_to_string(root.path(FILE)).unwrap_or_default().trim())
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
    fn the_machine_id_itself_is_not_told() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(of(id).len(), 32);
        assert_ne!(of(id), id);
        assert_ne!(of(id), of("x"));
        assert_eq!(of(""), "");
    }
}
