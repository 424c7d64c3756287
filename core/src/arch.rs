//! Processor architectures, by every name that the field has for them.

/// One architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arch {
    /// As systemd, mkosi and the names of images spell it (Discoverable Partitions Specification).
    pub name: &'static str,
    /// As UEFI spells it in file names (`BOOTX64.EFI`), here in lower case.
    pub efi: &'static str,
    /// The machine type of its PE files (PE format, "Machine Types").
    pub machine: u16,
    /// The partition types of its systems.
    pub types: PartitionTypes,
}

/// GUIDs of partition types, in lower case (Discoverable Partitions Specification).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionTypes {
    /// The root file system.
    pub root: &'static str,
    /// Its dm-verity hashes, where Abide knows them.
    pub verity: Option<&'static str>,
    /// The signature of their root hash, where Abide knows it.
    pub verity_sig: Option<&'static str>,
}

/// Every architecture that Abide is built for.
pub const ALL: [Arch; 5] = [X86_64, X86, ARM64, ARM, RISCV64];

/// The architecture of this executable.
pub const NATIVE: Arch = if cfg!(target_arch = "x86_64") {
    X86_64
} else if cfg!(target_arch = "aarch64") {
    ARM64
} else if cfg!(target_arch = "riscv64") {
    RISCV64
} else if cfg!(target_arch = "arm") {
    ARM
} else {
    X86
};

const X86_64: Arch = Arch {
    name: "x86-64",
    efi: "x64",
    machine: 0x8664,
    types: PartitionTypes {
        root: "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
        verity: Some("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"),
        verity_sig: Some("41092b05-9fc8-4523-994f-2def0408b176"),
    },
};

const X86: Arch = Arch {
    name: "x86",
    efi: "ia32",
    machine: 0x014c,
    types: PartitionTypes { root: "44479540-f297-41b2-9af7-d131d5f0458a", verity: None, verity_sig: None },
};

const ARM64: Arch = Arch {
    name: "arm64",
    efi: "aa64",
    machine: 0xaa64,
    types: PartitionTypes {
        root: "b921b045-1df0-41c3-af44-4c6f280d3fae",
        verity: Some("df3300ce-d69f-4c92-978c-9bfb0f38d820"),
        verity_sig: Some("6db69de6-29f4-4758-a7a5-962190f00ce3"),
    },
};

const ARM: Arch = Arch {
    name: "arm",
    efi: "arm",
    machine: 0x01c2,
    types: PartitionTypes { root: "69dad710-2ce4-4e3c-b16c-21a1d49abed3", verity: None, verity_sig: None },
};

const RISCV64: Arch = Arch {
    name: "riscv64",
    efi: "riscv64",
    machine: 0x5064,
    types: PartitionTypes {
        root: "72ec70a6-cf74-40e6-bd49-4bda08e8f224",
        verity: Some("b6ed5582-440b-4209-b8da-5ff7c419ea3d"),
        verity_sig: Some("efe0f087-ea8d-4469-821a-4c2a96a8386a"),
    },
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_architectures_share_a_name_or_a_type() {
        let words = ALL.iter().flat_map(|arch| {
            let Arch { name, efi, types, .. } = arch;
            let types = [Some(types.root), types.verity, types.verity_sig].into_iter().flatten();
            BTreeSet::from([*name, *efi]).into_iter().chain(types)
        });
        let words: Vec<&str> = words.collect();
        assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
        assert_eq!(ALL.iter().filter(|arch| **arch == NATIVE).count(), 1);
    }
}
