//! The configuration.

use abide::config::Config;

use crate::used::used;

pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    used(Config::parse("fuzz", text));
}

pub fn configuration_seeds() -> Vec<Vec<u8>> {
    let example = include_bytes!("../../packaging/abide.toml.example").to_vec();
    // What the example shows as comments is what there is to be said.
    let uncommented =
        String::from_utf8_lossy(&example).replace("\n# ", "\n").replace("\n#", "\n").into_bytes();
    let small =
        b"[assess]\ntest_window = '10min'\n[[check]]\nname = 'a'\nkind = 'unit'\nunits = ['b.service']\n";
    vec![
        small.to_vec(),
        b"[download]\nrate_limit = '1M'\n[trust]\npolicy = 'none'\n".to_vec(),
        example,
        uncommented,
    ]
}
