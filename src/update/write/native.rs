//! This machine's architecture.

/// The PE machine type and the names that stand for this machine's architecture
/// (PE format, "Machine Types"; Discoverable Partitions Specification).
pub const NATIVE: (u16, &str) = if cfg!(target_arch = "x86_64") {
    (0x8664, "x86-64")
} else if cfg!(target_arch = "aarch64") {
    (0xaa64, "arm64")
} else if cfg!(target_arch = "riscv64") {
    (0x5064, "riscv64")
} else if cfg!(target_arch = "arm") {
    (0x01c2, "arm")
} else {
    (0x014c, "x86")
};
