//! Empty files that lead a new name into one sector.
//!
//! vfat puts a name into the folder's first gap that is large enough (Linux, `fat_add_entries`), across the end of a
//! sector where it comes to that. A power cut can then leave the last of its slots alone, the short name. For
//! `edge_2.0+3-0.efi` that is `EDGE_2~1.EFI`: an entry that the loader shows, and does not count.
//!
//! So a name as long as the new one is put there first, of a file without clusters. While it lies in two sectors, what
//! is free before it is filled up, a slot at a time. Once it does not, the new name goes to the same place.
//!
//! The firmware puts the name that counts a try behind all others. Where that would be across the end of a sector,
//! slots are filled up until the folder ends with the sector, and stay used when they are free again. Else the
//! name that goes with the next rename would leave its short name behind, cut off between its two sectors.

use std::io::{self, Empty};

use log::warn;

use crate::boot::esp::directory_entries::{SLOT, SLOTS, UNITS, slots};
use crate::boot::esp::volume::{Item, Volume, folder};
use crate::boot::model::name::{EntryName, Suffix};

/// A folder that needs more has hundreds of small gaps.
const MOST: usize = 64;

/// Renames inside one folder, durably and never over another file, and sees to it that the new name lies in one sector.
///
/// # Errors
/// As [`Volume::rename_durably`].
pub(super) fn rename(volume: &dyn Volume, from: &str, to: &str) -> io::Result<()> {
    let mut fillers = vec![];
    if let Err(e) = fill(volume, from, to, &mut fillers) {
        warn!("{to}: cannot see to it that a power cut leaves all of this name or nothing: {e}");
    }
    let renamed = volume.rename_durably(from, to);
    clean_up(volume, &fillers);
    renamed?;
    make_room_for_loader(volume, folder(to));
    Ok(())
}

/// Sees to it that the names that the loader will give the entries with tries in this folder lie in one sector.
pub(super) fn make_room_for_loader(volume: &dyn Volume, dir: &str) {
    let mut fillers = vec![];
    if let Err(e) = fill_end(volume, dir, &mut fillers) {
        warn!("{dir}: cannot see to it that the loader's next name is in one sector: {e}");
    }
    clean_up(volume, &fillers);
}

/// Whether this is one that a power cut has left. To remove it frees no clusters.
pub(super) fn is_one(item: &Item) -> bool {
    let name = item.name.to_ascii_lowercase();
    !item.is_dir && item.len == 0 && name.starts_with("filler") && name.ends_with(".tmp")
}

fn fill(volume: &dyn Volume, from: &str, to: &str, fillers: &mut Vec<String>) -> io::Result<()> {
    let dir = folder(to);
    let needs = slots(to.rsplit('/').next().unwrap_or(to));
    if volume.place(from)?.is_none() || needs > SLOTS {
        return Ok(());
    }
    let probe = format!("{dir}/{}", probe(needs));
    for number in 0..MOST {
        let Some(first) = try_out(volume, &probe)? else { return Ok(()) };
        if is_in_one_sector(first, needs) {
            // A slot that was never used ends the folder for the firmware: none may be left before the name.
            return if fillers.is_empty() { Ok(()) } else { volume.sync_dir(dir) };
        }
        fillers.push(add(volume, dir, number)?);
    }
    Err(too_many())
}

fn fill_end(volume: &dyn Volume, dir: &str, fillers: &mut Vec<String>) -> io::Result<()> {
    let next = |item: Item| {
        let name = EntryName::parse(&item.name).filter(|name| name.suffix() == Suffix::Efi)?;
        let counter = name.counter().filter(|counter| counter.left > 0)?;
        Some(slots(name.with_counter(Some(counter.after_boot())).file()))
    };
    let Some(needs) = volume.list(dir)?.into_iter().filter_map(next).max() else { return Ok(()) };
    for number in 0..MOST {
        let Some(end) = volume.end(dir)? else { return Ok(()) };
        if needs > SLOTS || is_in_one_sector(end, needs) {
            return Ok(());
        }
        fillers.push(add(volume, dir, number)?);
    }
    Err(too_many())
}

fn is_in_one_sector(first: usize, count: usize) -> bool {
    first % SLOTS + count <= SLOTS
}

/// Fills the first free slot.
fn add(volume: &dyn Volume, dir: &str, number: usize) -> io::Result<String> {
    // In upper case, and so in one slot.
    let filler = format!("{dir}/FILLER{number}.TMP");
    volume.write(&filler, &mut Empty::default())?;
    Ok(filler)
}

fn too_many() -> io::Error {
    io::Error::other("the folder has too many gaps")
}

/// A name of so many slots.
fn probe(slots: usize) -> String {
    let len = slots.saturating_sub(1) * UNITS;
    format!("{:x<1$}.tmp", "filler", len.saturating_sub(4))
}

/// The slot of its folder at which this name comes to lie, if the file system tells.
fn try_out(volume: &dyn Volume, probe: &str) -> io::Result<Option<usize>> {
    volume.write(probe, &mut Empty::default())?;
    let place = volume.place(probe);
    volume.remove(probe)?;
    Ok(place?.and_then(|bytes| usize::try_from(bytes).ok()).map(|bytes| bytes / SLOT))
}

fn clean_up(volume: &dyn Volume, fillers: &[String]) {
    let Some(first) = fillers.first() else { return };
    let removed = fillers.iter().try_for_each(|filler| volume.remove(filler));
    if let Err(e) = removed.and_then(|()| volume.sync_dir(folder(first))) {
        warn!("cannot remove {}, which is empty: {e}", fillers.join(", "));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::unreachable)]
    use std::cell::{Cell, RefCell};
    use std::io::Read;

    use super::*;
    use crate::boot::esp::volume::ReadSeek;

    /// A folder by its slots, filled as vfat fills it.
    #[derive(Debug)]
    struct Slots {
        slots: RefCell<Vec<String>>,
        /// Slots up to the last that was ever used.
        end: Cell<usize>,
        is_told: bool,
    }

    impl Slots {
        /// A slot for each letter; a dot is a free one.
        fn of(layout: &str) -> Slots {
            let slot = |c: char| if c == '.' { String::new() } else { c.to_string() };
            let slots = RefCell::new(layout.chars().map(slot).collect());
            Slots { slots, end: Cell::new(layout.len()), is_told: true }
        }

        fn first(&self, name: &str) -> Option<usize> {
            self.slots.borrow().iter().position(|slot| slot == name)
        }

        /// As [`Slots::of`].
        fn layout(&self) -> String {
            let letter = |slot: &String| slot.chars().next().unwrap_or('.');
            self.slots.borrow().iter().map(letter).collect::<String>().trim_end_matches('.').to_owned()
        }

        fn put(&self, name: &str) {
            let is_short = name.to_uppercase() == name;
            let needs = if is_short { 1 } else { slots(name) };
            let mut slots = self.slots.borrow_mut();
            let room = slots.len() + needs;
            slots.resize(room, String::new());
            let gap = slots.windows(needs).position(|gap| gap.iter().all(String::is_empty)).unwrap();
            slots.iter_mut().skip(gap).take(needs).for_each(|slot| name.clone_into(slot));
            self.end.set(self.end.get().max(gap + needs));
        }
    }

    fn name(path: &str) -> &str {
        path.strip_prefix("d/").unwrap()
    }

    impl Volume for Slots {
        fn list(&self, _: &str) -> io::Result<Vec<Item>> {
            let item = |name: &String| Item { name: name.clone(), is_dir: false, len: 1, read_only: false };
            Ok(self.slots.borrow().iter().map(item).collect())
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
        fn place(&self, path: &str) -> io::Result<Option<u64>> {
            Ok(self.first(name(path)).map(|slot| (slot * SLOT) as u64).filter(|_| self.is_told))
        }
        fn end(&self, _: &str) -> io::Result<Option<usize>> {
            Ok(Some(self.end.get()).filter(|_| self.is_told))
        }
        fn remove(&self, path: &str) -> io::Result<()> {
            let mut slots = self.slots.borrow_mut();
            slots.iter_mut().filter(|slot| *slot == name(path)).for_each(String::clear);
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
    fn a_name_for_which_the_sector_has_no_room_any_more_begins_in_the_next_one() {
        let folder = Slots::of("oosabcdefghijk");
        rename(&folder, "d/s", "d/edge_2.0+3-0.efi").unwrap();
        assert_eq!(folder.layout(), "oo.abcdefghijk..eee");
    }

    #[test]
    fn small_gaps_before_it_do_not_keep_a_name_from_its_sector() {
        let folder = Slots::of("s.ab..cdefghijk");
        rename(&folder, "d/s", "d/edge_2.0+3-0.efi").unwrap();
        assert_eq!(folder.layout(), "..ab..cdefghijk.eee");
    }

    #[test]
    fn a_name_that_has_room_is_led_nowhere() {
        let folder = Slots::of("s..abcdefghi");
        rename(&folder, "d/s", "d/edge_2.0+3-0.efi").unwrap();
        assert_eq!(folder.layout(), "...abcdefghieee");
    }

    #[test]
    fn the_loaders_next_name_begins_in_a_sector_that_has_room_for_it() {
        let folder = Slots::of("s..abcdefghi");
        rename(&folder, "d/s", "d/edge_2.0+3-0.efi").unwrap();
        assert_eq!((folder.layout().as_str(), folder.end.get()), ("...abcdefghieee", 16));
        // Nothing is to be counted any more.
        rename(&folder, "d/edge_2.0+3-0.efi", "d/edge_2.0.efi").unwrap();
        let folder = Slots::of("s.............e");
        rename(&folder, "d/s", "d/edge_2.0+0-3.efi").unwrap();
        assert_eq!(folder.end.get(), 15);
    }

    #[test]
    fn where_no_place_is_told_the_name_is_given_all_the_same() {
        let folder = Slots { is_told: false, ..Slots::of("sabcdefghijklm") };
        rename(&folder, "d/s", "d/edge_2.0+3-0.efi").unwrap();
        assert_eq!(folder.layout(), ".abcdefghijklmeee");
    }

    #[test]
    fn a_folder_full_of_gaps_does_not_keep_the_name_from_being_given() {
        let folder = Slots::of(&format!("s{}abcde", ".a".repeat(77)));
        rename(&folder, "d/s", "d/edge_2.0+3-0.efi").unwrap();
        assert!(folder.first("edge_2.0+3-0.efi").is_some() && folder.first("FILLER0.TMP").is_none());
    }

    #[test]
    fn a_probe_takes_as_many_slots_as_it_stands_for_and_is_no_entry() {
        for count in 2..=SLOTS {
            assert_eq!(slots(&probe(count)), count);
            let item = Item { name: probe(count), is_dir: false, len: 0, read_only: false };
            assert!(is_one(&item) && !is_one(&Item { len: 1, ..item }));
        }
    }
}
