//! Empty files that lead a new name into one sector.
//!
//! vfat puts a name into the folder's first gap that is large enough (Linux, `fat_add_entries`), across the end of a
//! sector where it comes to that. A power cut can then leave the last of its slots alone, the short name. For
//! `edge_2.0+3-0.efi` that is `EDGE_2~1.EFI`: an entry that the loader shows, and does not count.
//!
//! So a name as long as the new one is put there first, of a file without clusters. While it lies in two sectors, what
//! is free before it is filled up, a slot at a time. Once it does not, the new name goes to the same place.

use std::io::{self, Empty};

use log::warn;

use super::sector::{SLOT, SLOTS, UNITS, slots};
use super::volume::{Item, Volume};

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
    if let Err(e) = remove(volume, &fillers) {
        warn!("cannot remove {}, which is empty: {e}", fillers.join(", "));
    }
    renamed
}

/// Whether this is one that a power cut has left. To remove it frees no clusters.
pub(super) fn is_one(item: &Item) -> bool {
    let name = item.name.to_ascii_lowercase();
    !item.is_dir && item.len == 0 && name.starts_with("filler") && name.ends_with(".tmp")
}

fn fill(volume: &dyn Volume, from: &str, to: &str, fillers: &mut Vec<String>) -> io::Result<()> {
    let (dir, name) = to.rsplit_once('/').unwrap_or(("", to));
    let needs = slots(name);
    if volume.place(from)?.is_none() || needs > SLOTS {
        return Ok(());
    }
    let probe = format!("{dir}/{}", probe(needs));
    for number in 0..MOST {
        let Some(first) = try_out(volume, &probe)? else { return Ok(()) };
        if first % SLOTS + needs <= SLOTS {
            // A slot that was never used ends the folder for the firmware: none may be left before the name.
            return if fillers.is_empty() { Ok(()) } else { volume.sync_dir(dir) };
        }
        // In upper case, and so in one slot.
        let filler = format!("{dir}/FILLER{number}.TMP");
        volume.write(&filler, &mut Empty::default())?;
        fillers.push(filler);
    }
    Err(io::Error::other("the folder has too many gaps"))
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

fn remove(volume: &dyn Volume, fillers: &[String]) -> io::Result<()> {
    for filler in fillers {
        volume.remove(filler)?;
    }
    match fillers.first().and_then(|filler| filler.rsplit_once('/')) {
        Some((dir, _)) => volume.sync_dir(dir),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::unreachable)]
    use std::cell::RefCell;
    use std::io::Read;

    use super::super::volume::ReadSeek;
    use super::*;

    /// A folder by its slots, filled as vfat fills it.
    #[derive(Debug)]
    struct Slots {
        slots: RefCell<Vec<String>>,
        is_told: bool,
    }

    impl Slots {
        /// A slot for each letter; a dot is a free one.
        fn of(layout: &str) -> Slots {
            let slot = |c: char| if c == '.' { String::new() } else { c.to_string() };
            Slots { slots: RefCell::new(layout.chars().map(slot).collect()), is_told: true }
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
        }
    }

    fn name(path: &str) -> &str {
        path.strip_prefix("d/").unwrap()
    }

    impl Volume for Slots {
        fn list(&self, _: &str) -> io::Result<Vec<Item>> {
            unreachable!()
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
