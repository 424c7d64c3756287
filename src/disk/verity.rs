//! What a kernel command line says about a root with dm-verity.

use abide_core::disk::RootArg;
use abide_core::disk::root_arg::{last_value, uuid_of_half};

/// The device-mapper node that `root=` names, if no `roothash=` says what is below it: the system itself has to set
/// it up.
#[must_use]
pub fn mapped(cmdline: &str) -> Option<&str> {
    last_value(cmdline, "root")
        .filter(|node| node.starts_with("/dev/mapper/") && last_value(cmdline, "roothash").is_none())
}

/// The UUID that the dm-verity hash partition must have: the last 128 bits of `roothash=`.
#[must_use]
pub fn hash_partition_uuid(root: &RootArg) -> Option<String> {
    match root {
        RootArg::RootHash(hash) => uuid_of_half(hash.get(hash.len().checked_sub(32)?..)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_half_of_a_root_hash_is_the_uuid_of_the_hash_partition() {
        let uuid = |cmdline: &str| RootArg::parse(cmdline).as_ref().and_then(hash_partition_uuid);
        let hash = "00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100";
        assert_eq!(
            uuid(&format!("roothash={hash}")).as_deref(),
            Some("ffeeddcc-bbaa-9988-7766-554433221100")
        );
        assert_eq!(uuid("roothash=12"), None);
        assert_eq!(uuid("roothash=äöü"), None);
        assert_eq!(uuid("root=PARTUUID=ab"), None);
    }

    #[test]
    fn a_mapped_root_is_one_whose_device_is_not_told() {
        assert_eq!(mapped("root=/dev/mapper/root ro"), Some("/dev/mapper/root"));
        assert_eq!(mapped("root=/dev/mapper/root roothash=ab"), None);
        assert_eq!(mapped("root=/dev/sda2"), None);
    }
}
