//! What libFuzzer calls: the target that `ABIDE_FUZZ_TARGET` names.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    static TARGET: OnceLock<&abide_fuzz::Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("ABIDE_FUZZ_TARGET").unwrap_or_default();
        abide_fuzz::target(&name).unwrap_or_else(|| panic!("ABIDE_FUZZ_TARGET: no target '{name}'"))
    });
    (target.run)(bytes);
});
