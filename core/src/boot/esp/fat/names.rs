//! The names in a directory, as Linux reads them (`fs/fat/dir.c`).

use crate::boot::esp::directory_entries::SIZE;
use crate::boot::esp::fat::layout::{FatLayout, Sector, number};

/// Values of a directory entry's first byte.
pub const NEVER_USED: u8 = 0;
/// As [`NEVER_USED`].
pub const REMOVED: u8 = 0xe5;
/// Attributes of a directory entry.
const READ_ONLY: u8 = 0x01;
const VOLUME_LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
/// The attributes of an entry that is a part of a long name.
const LONG_NAME: u8 = 0x0f;
/// Set in the number of the part that comes first, which is the last of the name.
const LAST_PART: u8 = 0x40;
/// Most parts of a long name.
const MOST_PARTS: u8 = 20;
/// The first byte of a short name that begins with the character 0xe5.
const KANJI: u8 = 0x05;
/// Where the characters of a part are.
const PLACES: [(usize, usize); 3] = [(1, 5), (14, 6), (28, 2)];

/// A file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its name, as Linux shows it.
    pub name: String,
    /// Its short name, by which it is found, too.
    pub short: String,
    /// A directory rather than a file.
    pub is_dir: bool,
    /// Has the read-only attribute.
    pub read_only: bool,
    /// Its first cluster; 0 where it has none.
    pub first: u32,
    /// Bytes of a file.
    pub len: u64,
    /// The bytes of the device at which its directory entries begin, in their order.
    pub places: Vec<u64>,
}

impl Named {
    /// Whether this name finds it, in any case of its letters.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        [&self.name, &self.short].iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// What was read of a long name.
struct LongName {
    checksum: u8,
    /// Parts that are still to come.
    left: u8,
    units: Vec<u16>,
    places: Vec<u64>,
}

impl LongName {
    /// The long name after this part: a new one where it does not continue `before`; `None` if it is neither.
    fn after(before: Option<Self>, entry: &[u8], at: u64) -> Option<Self> {
        let (id, checksum) = (number(entry, 0, 1) as u8, number(entry, 13, 1) as u8);
        let continues =
            |name: &Self| name.left > 0 && id & !LAST_PART == name.left && checksum == name.checksum;
        let mut name = before.filter(continues).or_else(|| {
            let parts = id & !LAST_PART;
            let is_first = id & LAST_PART != 0 && (1..=MOST_PARTS).contains(&parts);
            is_first.then(|| Self { checksum, left: parts, units: vec![], places: vec![] })
        })?;
        let unit = |offset| number(entry, offset, 2) as u16;
        let part = PLACES.iter().flat_map(|(from, count)| (*from..).step_by(2).take(*count)).map(unit);
        name.units.splice(0..0, part);
        name.places.push(at);
        name.left -= 1;
        Some(name)
    }

    /// The text, if it is complete and belongs to the short name.
    fn text(&self, short: &[u8]) -> Option<String> {
        let is_whole = self.left == 0 && self.checksum == checksum(short);
        let units = self.units.iter().copied().take_while(|unit| *unit != 0);
        let text = || char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        is_whole.then(text)
    }
}

/// All files and directories in a directory, but not itself and its parent. Like Linux, this does not end at the first entry
/// that was never used, where firmware does.
#[must_use]
pub fn read(layout: &FatLayout, directory: &[Sector]) -> Vec<Named> {
    let places =
        directory.iter().flat_map(|sector| (sector.at..).step_by(SIZE).zip(sector.content.chunks(SIZE)));
    let (mut found, mut long) = (vec![], None);
    for (at, entry) in places {
        let (first, attributes) = (number(entry, 0, 1) as u8, number(entry, 11, 1) as u8);
        let is_part = attributes == LONG_NAME && first != REMOVED;
        if is_part {
            long = LongName::after(long, entry, at);
            continue;
        }
        let long = long.take();
        let is_free = [NEVER_USED, REMOVED].contains(&first);
        if is_free || attributes & VOLUME_LABEL != 0 || first == b'.' {
            continue;
        }
        let short = entry.get(..11).unwrap_or_default();
        let long = long.and_then(|long: LongName| Some((long.text(short)?, long.places)));
        let shown = short_name(short, number(entry, 12, 1) as u8);
        let (name, mut places) = long.unwrap_or((shown, vec![]));
        places.push(at);
        let is_dir = attributes & DIRECTORY != 0;
        found.push(Named {
            name,
            short: short_name(short, 0),
            is_dir,
            read_only: attributes & READ_ONLY != 0,
            first: layout.first_cluster(entry),
            len: if is_dir { 0 } else { number(entry, 28, 4) },
            places,
        });
    }
    found
}

/// The name of eight and three characters; either part may be in lower case (Windows NT).
fn short_name(eleven: &[u8], lower: u8) -> String {
    let text = |part: &[u8], is_lower: bool| {
        let of = |(index, byte): (usize, &u8)| match byte {
            &KANJI if index == 0 => char::REPLACEMENT_CHARACTER,
            byte if !byte.is_ascii() => char::REPLACEMENT_CHARACTER,
            byte if is_lower => char::from(byte.to_ascii_lowercase()),
            byte => char::from(*byte),
        };
        part.iter().enumerate().map(of).collect::<String>().trim_end_matches(' ').to_owned()
    };
    let (base, extension) = eleven.split_at_checked(8).unwrap_or_default();
    let (base, extension) = (text(base, lower & 0x08 != 0), text(extension, lower & 0x10 != 0));
    if extension.is_empty() { base } else { format!("{base}.{extension}") }
}

/// By which the parts of a long name are bound to the short one.
fn checksum(short: &[u8]) -> u8 {
    short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}
