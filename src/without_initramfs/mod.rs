//! A system whose initramfs does not carry Abide's stage, or whose stage did not see the ESP: the same finding, made
//! once the root is mounted, and the same units. A boot that hangs before that is not ended.

pub mod generator;
pub mod late_finding;
