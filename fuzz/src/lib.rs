//! Everything of Abide's that reads bytes from outside, as functions of such bytes: a target fails by
//! panicking, and by what libFuzzer sees (time, memory).
//!
//! `make fuzz` lets libFuzzer find the bytes, guided by the code that they reach; the tests of this crate
//! change the seeds at random for a moment, so that a target that breaks is noticed every day.

mod bombs;
mod delta;
mod disk;
mod image;
mod mutate;
mod settings;
mod state;
mod text;
mod trust;
mod used;

pub use bombs::bombs;
pub use mutate::Mutator;

/// One parser, or several that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// For the command line.
    pub name: &'static str,
    /// Parses; must not panic whatever it is given.
    pub run: fn(&[u8]),
    /// What it understands.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 23] = [
    Target { name: "gpt", run: disk::gpt, seeds: disk::gpt_seeds },
    Target { name: "fat", run: disk::fat, seeds: disk::fat_seeds },
    Target { name: "image-esp", run: disk::image_esp, seeds: disk::fat_seeds },
    Target { name: "uki", run: image::uki, seeds: image::uki_seeds },
    Target { name: "stream", run: image::stream, seeds: image::stream_seeds },
    Target { name: "file-names", run: image::names, seeds: image::name_seeds },
    Target { name: "content-range", run: image::content_range, seeds: image::content_range_seeds },
    Target { name: "os-release", run: text::os_release, seeds: text::os_release_seeds },
    Target { name: "entry-names", run: text::entry_names, seeds: text::entry_name_seeds },
    Target { name: "type1", run: text::type1, seeds: text::type1_seeds },
    Target { name: "loader-conf", run: text::loader_conf, seeds: text::loader_conf_seeds },
    Target { name: "command-line", run: text::command_line, seeds: text::command_line_seeds },
    Target { name: "versions", run: text::versions, seeds: text::version_seeds },
    Target { name: "map", run: delta::map, seeds: delta::map_seeds },
    Target { name: "patch", run: delta::patch, seeds: delta::patch_seeds },
    Target { name: "frame", run: delta::frame, seeds: delta::frame_seeds },
    Target { name: "sums", run: trust::sums, seeds: trust::sums_seeds },
    Target { name: "signatures", run: trust::signatures, seeds: trust::signature_seeds },
    Target { name: "carried", run: trust::carried, seeds: trust::carried_seeds },
    Target { name: "secure-boot", run: trust::secure_boot, seeds: trust::secure_boot_seeds },
    Target { name: "state", run: state::state, seeds: state::state_seeds },
    Target { name: "efi-variables", run: state::efi_variables, seeds: state::efi_variable_seeds },
    Target { name: "configuration", run: settings::configuration, seeds: settings::configuration_seeds },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
