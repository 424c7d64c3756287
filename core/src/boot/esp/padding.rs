//! Empty files that move a new name into one sector.
//!
//! vfat puts a name into the directory's first gap that is large enough (Linux, `fat_add_entries`), across a sector
//! boundary if need be. A power cut can then leave only the last of its directory entries, the short name. For
//! `edge_2.0+3-0.efi` that is `EDGE_2~1.EFI`: an entry that the loader shows and does not count.
//!
//! So before the rename, a probe as long as the new name, a file without clusters, shows where the name would go. While
//! that crosses a sector boundary, padding files take the free directory entries before it, one by one. Once the
//! probe lies in one sector, so does the new name.
//!
//! The firmware puts the name with the next counter behind all others. Where that would cross a sector boundary,
//! padding fills the directory up to that boundary; the directory entries count as used even when they are free
//! again. Otherwise the next rename could leave only the short name of what the firmware wrote.

use std::io::{self, Empty};

use log::warn;

use crate::boot::esp::directory_entries;
use crate::boot::esp::volume::{Item, Volume, parent};
use crate::boot::model::name::{EntryName, Suffix};

/// A directory that needs more has hundreds of small gaps.
const MOST: usize = 64;

/// Renames inside one directory, durably and never over another file, and makes the new name lie in one sector.
///
/// # Errors
/// As [`Volume::rename_durably`].
pub(super) fn rename(volume: &dyn Volume, from: &str, to: &str) -> io::Result<()> {
    let mut padding = vec![];
    if let Err(e) = pad(volume, from, to, &mut padding) {
        warn!("{to}: cannot keep this name in one sector; a power cut may leave a part of it: {e}");
    }
    let renamed = volume.rename_durably(from, to);
    clean_up(volume, &padding);
    renamed?;
    make_room_for_loader(volume, parent(to));
    Ok(())
}

/// Makes the names that the loader will give the entries with tries in this directory lie in one sector.
pub(super) fn make_room_for_loader(volume: &dyn Volume, dir: &str) {
    let mut padding = vec![];
    if let Err(e) = pad_end(volume, dir, &mut padding) {
        warn!("{dir}: cannot keep the loader's next name in one sector: {e}");
    }
    clean_up(volume, &padding);
}

/// Whether this is a padding file or a probe that a power cut has left. To remove it frees no clusters.
pub(super) fn is_padding(item: &Item) -> bool {
    let name = item.name.to_ascii_lowercase();
    !item.is_dir && item.len == 0 && name.starts_with("filler") && name.ends_with(".tmp")
}

fn pad(volume: &dyn Volume, from: &str, to: &str, padding: &mut Vec<String>) -> io::Result<()> {
    let dir = parent(to);
    let needed = directory_entries::count(to.rsplit('/').next().unwrap_or(to));
    if volume.offset_in_directory(from)?.is_none() || needed > directory_entries::PER_SECTOR {
        return Ok(());
    }
    let probe = format!("{dir}/{}", probe_name(needed));
    for number in 0..MOST {
        let Some(first) = try_out(volume, &probe)? else { return Ok(()) };
        if is_in_one_sector(first, needed) {
            // A never used entry ends the directory for the firmware: none may be left before the name.
            return if padding.is_empty() { Ok(()) } else { volume.sync_dir(dir) };
        }
        padding.push(add(volume, dir, number)?);
    }
    Err(too_many())
}

fn pad_end(volume: &dyn Volume, dir: &str, padding: &mut Vec<String>) -> io::Result<()> {
    let next = |item: Item| {
        let name = EntryName::parse(&item.name).filter(|name| name.suffix() == Suffix::Efi)?;
        let counter = name.counter().filter(|counter| counter.left > 0)?;
        Some(directory_entries::count(name.with_counter(Some(counter.after_boot())).file()))
    };
    let Some(needed) = volume.list(dir)?.into_iter().filter_map(next).max() else { return Ok(()) };
    for number in 0..MOST {
        let Some(end) = volume.directory_end(dir)? else { return Ok(()) };
        if needed > directory_entries::PER_SECTOR || is_in_one_sector(end, needed) {
            return Ok(());
        }
        padding.push(add(volume, dir, number)?);
    }
    Err(too_many())
}

fn is_in_one_sector(first: usize, count: usize) -> bool {
    first % directory_entries::PER_SECTOR + count <= directory_entries::PER_SECTOR
}

/// Takes the first free directory entry.
fn add(volume: &dyn Volume, dir: &str, number: usize) -> io::Result<String> {
    // An upper-case 8.3 name takes one directory entry.
    let file = format!("{dir}/FILLER{number}.TMP");
    volume.write(&file, &mut Empty::default())?;
    Ok(file)
}

fn too_many() -> io::Error {
    io::Error::other("the directory has too many gaps")
}

/// A name of so many directory entries.
fn probe_name(entries: usize) -> String {
    let len = entries.saturating_sub(1) * directory_entries::UNITS;
    format!("{:x<1$}.tmp", "filler", len.saturating_sub(4))
}

/// The directory entry at which this name would begin, if the file system shows it.
fn try_out(volume: &dyn Volume, probe: &str) -> io::Result<Option<usize>> {
    volume.write(probe, &mut Empty::default())?;
    let offset = volume.offset_in_directory(probe);
    volume.remove(probe)?;
    let offset = offset?.and_then(|bytes| usize::try_from(bytes).ok());
    Ok(offset.map(|bytes| bytes / directory_entries::SIZE))
}

fn clean_up(volume: &dyn Volume, padding: &[String]) {
    let Some(first) = padding.first() else { return };
    let removed = padding.iter().try_for_each(|file| volume.remove(file));
    if let Err(e) = removed.and_then(|()| volume.sync_dir(parent(first))) {
        warn!("cannot remove the empty files {}: {e}", padding.join(", "));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::unreachable)]
    use std::cell::{Cell, RefCell};
    use std::io::Read;

    use super::*;
    use crate::boot::esp::volume::ReadSeek;

    /// A directory by its entries, filled as vfat fills it.
    #[derive(Debug)]
    struct FakeDirectory {
        entries: RefCell<Vec<String>>,
        /// Entries up to the last that was ever used.
        end: Cell<usize>,
        tells_offsets: bool,
    }

    impl FakeDirectory {
        /// A directory entry for each letter; a dot is a free one.
        fn of(layout: &str) -> FakeDirectory {
            let entry = |c: char| if c == '.' { String::new() } else { c.to_string() };
            let entries = RefCell::new(layout.chars().map(entry).collect());
            FakeDirectory { entries, end: Cell::new(layout.len()), tells_offsets: true }
        }

        fn first(&self, name: &str) -> Option<usize> {
            self.entries.borrow().iter().position(|entry| entry == name)
        }

        /// As [`FakeDirectory::of`].
        fn layout(&self) -> String {
            let letter = |entry: &String| entry.chars().next().unwrap_or('.');
            self.entries.borrow().iter().map(letter).collect::<String>().trim_end_matches('.').to_owned()
        }

        fn put(&self, name: &str) {
            let is_short = name.to_uppercase() == name;
            let needed = if is_short { 1 } else { directory_entries::count(name) };
            let mut entries = self.entries.borrow_mut();
            let room = entries.len() + needed;
            entries.resize(room, String::new());
            let gap = entries.windows(needed).position(|gap| gap.iter().all(String::is_empty)).unwrap();
            entries.iter_mut().skip(gap).take(needed).for_each(|entry| name.clone_into(entry));
            self.end.set(self.end.get().max(gap + needed));
        }
    }

    fn name(path: &str) -> &str {
        path.strip_prefix("d/").unwrap()
    }

    impl Volume for FakeDirectory {
        fn list(&self, _: &str) -> io::Result<Vec<Item>> {
            let item = |name: &String| Item { name: name.clone(), is_dir: false, len: 1, read_only: false };
            Ok(self.entries.borrow().iter().map(item).collect())
        }
        fn open(&self, _: &str) -> io::Result<Box<dyn ReadSeek>> {
            unreachable!()
        }
        fn create_dir(&self, _: &str) -> io::Result<()> {
            unreachable!()
        }
        fn write(&self, path: &str, data: &mut dyn Read) -> io::Result<u64> {
            if self.first(name(path)).is_none() {
                self.put(name(path));
            }
            io::copy(data, &mut io::sink())
        }
        fn overwrite(&self, _: &str, _: u64, _: &[u8]) -> io::Result<()> {
            unreachable!()
        }
        fn sync_file(&self, _: &str) -> io::Result<()> {
            Ok(())
        }
        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.put(name(to));
            self.remove(from)
        }
        fn offset_in_directory(&self, path: &str) -> io::Result<Option<u64>> {
            let bytes = |entry| (entry * directory_entries::SIZE) as u64;
            Ok(self.first(name(path)).map(bytes).filter(|_| self.tells_offsets))
        }
        fn directory_end(&self, _: &str) -> io::Result<Option<usize>> {
            Ok(Some(self.end.get()).filter(|_| self.tells_offsets))
        }
        fn remove(&self, path: &str) -> io::Result<()> {
            let mut entries = self.entries.borrow_mut();
            entries.iter_mut().filter(|entry| *entry == name(path)).for_each(String::clear);
            Ok(())
        }
        fn sync_dir(&self, _: &str) -> io::Result<()> {
            Ok(())
        }
        fn free_bytes(&self) -> io::Result<u64> {
            unreachable!()
        }
    }

    #[test]
    fn a_name_that_does_not_fit_into_the_sector_begins_in_the_next_one() {
        let directory = FakeDirectory::of("oosabcdefghijk");
        rename(&directory, "d/s", "d/edge_2.0+3-0.efi").unwrap();
        assert_eq!(directory.layout(), "oo.abcdefghijk..eee");
    }

    #[test]
    fn small_gaps_before_it_do_not_keep_a_name_from_its_sector() {
        let directory = FakeDirectory::of("s.ab..cdefghijk");
        rename(&directory, "d/s", "d/edge_2.0+3-0.efi").unwrap();
        assert_eq!(directory.layout(), "..ab..cdefghijk.eee");
    }

    #[test]
    fn a_name_that_fits_needs_no_padding() {
        let directory = FakeDirectory::of("s..abcdefghi");
        rename(&directory, "d/s", "d/edge_2.0+3-0.efi").unwrap();
        assert_eq!(directory.layout(), "...abcdefghieee");
    }

    #[test]
    fn the_loaders_next_name_begins_in_a_sector_that_has_room_for_it() {
        let directory = FakeDirectory::of("s..abcdefghi");
        rename(&directory, "d/s", "d/edge_2.0+3-0.efi").unwrap();
        assert_eq!((directory.layout().as_str(), directory.end.get()), ("...abcdefghieee", 16));
        // Nothing is counted any more.
        rename(&directory, "d/edge_2.0+3-0.efi", "d/edge_2.0.efi").unwrap();
        let directory = FakeDirectory::of("s.............e");
        rename(&directory, "d/s", "d/edge_2.0+0-3.efi").unwrap();
        assert_eq!(directory.end.get(), 15);
    }

    #[test]
    fn the_rename_is_done_even_where_no_offset_is_told() {
        let directory = FakeDirectory { tells_offsets: false, ..FakeDirectory::of("sabcdefghijklm") };
        rename(&directory, "d/s", "d/edge_2.0+3-0.efi").unwrap();
        assert_eq!(directory.layout(), ".abcdefghijklmeee");
    }

    #[test]
    fn the_rename_is_done_even_in_a_directory_full_of_gaps() {
        let directory = FakeDirectory::of(&format!("s{}abcde", ".a".repeat(77)));
        rename(&directory, "d/s", "d/edge_2.0+3-0.efi").unwrap();
        assert!(directory.first("edge_2.0+3-0.efi").is_some() && directory.first("FILLER0.TMP").is_none());
    }

    #[test]
    fn a_probe_takes_as_many_entries_as_asked_and_counts_as_padding() {
        for count in 2..=directory_entries::PER_SECTOR {
            assert_eq!(directory_entries::count(&probe_name(count)), count);
            let item = Item { name: probe_name(count), is_dir: false, len: 0, read_only: false };
            assert!(is_padding(&item) && !is_padding(&Item { len: 1, ..item }));
        }
    }
}
