//! The rooms and their floors, as section 9 of the design has them.

use std::collections::BTreeMap;

use crate::tree::{Edge, File};

/// From the top to the ground. A room imports from the floors below it, not from its neighbours.
/// A room is a folder with all that is in it, except for folders that are rooms of their own, or a file.
pub const FLOORS: &[&[&str]] = &[
    &["src/main.rs", "initramfs/src/main.rs"],
    &["src/lib.rs", "initramfs/src/lib.rs"],
    &["src/cli"],
    &["src/without_initramfs"],
    &["src/agent", "src/assess", "initramfs/src"],
    &["src/doctor", "src/events", "src/publish"],
    &["src/update"],
    &["src/feed", "src/health"],
    &["src/image"],
    &["src/boot", "src/delta", "src/disk", "src/http.rs", "src/systemd"],
    &[
        "src/config",
        "src/machine_id.rs",
        "src/proxy.rs",
        "src/secret.rs",
        "src/tls.rs",
        "src/uptime.rs",
        "src/url.rs",
        "src/web_page.rs",
    ],
    &["src/files"],
    &["core/src/lib.rs"],
    &["core/src/update"],
    &["core/src/state"],
    &["core/src/boot"],
    &["core/src/boot/esp"],
    &["core/src/boot/efi"],
    &["core/src/boot/model", "core/src/disk"],
    &["core/src/config"],
    &["core/src/logger.rs", "core/src/mounts.rs"],
    &["core/src/arch.rs", "core/src/hex.rs", "core/src/root.rs", "core/src/sys.rs", "core/src/text.rs"],
    &["core/src/error.rs"],
];

/// A table of floors that can be asked.
pub struct House<'a>(pub &'a [&'a [&'a str]]);

impl House<'_> {
    /// The room that a file is in, and its floor, from the top.
    pub fn room(&self, file: &str) -> Option<(usize, &str)> {
        let rooms =
            self.0.iter().enumerate().flat_map(|(floor, rooms)| rooms.iter().map(move |room| (floor, *room)));
        let within =
            |room: &str| file.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        rooms.filter(|(_, room)| within(room)).max_by_key(|(_, room)| room.len())
    }

    /// What is wrong with an import: it leads up, or into a neighbouring room.
    pub fn judge(&self, edge: &Edge, files: &[File]) -> Option<String> {
        let (from, to) = (&files[edge.from].path, &files[edge.to].path);
        let ((from_floor, from_room), (to_floor, to_room)) = (self.room(from)?, self.room(to)?);
        if from_room == to_room || from_floor < to_floor {
            return None;
        }
        let what = if from_floor == to_floor { "its neighbour" } else { "above it" };
        let (path, line) = (&edge.path, edge.line);
        Some(format!("{from}:{line} imports {path}: {to_room} is {what}, {from_room} must not know it"))
    }

    /// The floors with their rooms, and how many files and lines these have.
    pub fn plan(&self, files: &[File]) -> String {
        let mut sizes: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for file in files {
            if let Some((_, room)) = self.room(&file.path) {
                let size = sizes.entry(room).or_default();
                *size = (size.0 + 1, size.1 + file.lines);
            }
        }
        let mut plan = String::new();
        for (floor, rooms) in self.0.iter().rev().enumerate().rev() {
            for (index, room) in rooms.iter().enumerate() {
                let number = if index == 0 { floor.to_string() } else { String::new() };
                let (files, lines) = sizes.get(room).copied().unwrap_or_default();
                plan += &format!("{number:>3}  {room:<24} {files:>3} files {lines:>5} lines\n");
            }
        }
        plan
    }
}
