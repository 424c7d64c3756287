//! Reading a unified kernel image: the small sections of a PE file that name it.

use std::io::{Read, Seek};

use object::pe::{ImageDosHeader, ImageNtHeaders32, ImageNtHeaders64};
use object::read::pe::{ImageNtHeaders, SectionTable, optional_header_magic};
use object::read::{ReadCache, ReadRef};

use crate::boot::model::osrel::OsRelease;

/// The largest section that is read: os-release and command lines are a few KiB.
const MOST_BYTES: u64 = 1 << 20;

/// The most bytes of text in all profiles, those that profiles have in common counted for each.
const MOST_TEXT: u64 = 2 << 20;

/// The most profiles (systemd, `UNIFIED_PROFILES_MAX`).
const MOST_PROFILES: usize = 256;

/// Why a file is not a UKI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UkiError {
    /// The headers are damaged, or it is another kind of file.
    #[error("not a PE file: {0}")]
    NotPe(String),
    /// A section lies outside the file, or is too large to be text.
    #[error("section {0} is damaged")]
    Section(&'static str),
    /// Its texts would take too much memory.
    #[error("its profiles have more than {MOST_TEXT} bytes of text, or are more than {MOST_PROFILES}")]
    TooMuchText,
}

/// One profile of a UKI. Most have just one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// `ID` in `.profile`
    pub id: Option<String>,
    /// `TITLE` in `.profile`
    pub title: Option<String>,
    /// `.osrel`
    pub osrel: Option<OsRelease>,
    /// `.cmdline`, without blanks and NULs at its ends.
    pub cmdline: Option<String>,
    /// `.uname`: the kernel's release.
    pub uname: Option<String>,
}

/// The content of a UKI, as far as it is used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uki {
    /// The COFF machine type: 0x8664 for x86-64, 0xaa64 for AArch64.
    pub machine: u16,
    /// There is a `.linux` section that lies inside the file.
    pub has_linux: bool,
    /// The main profile.
    pub main: Profile,
    /// The profiles beyond the first.
    pub others: Vec<Profile>,
}

/// A section that this module reads.
struct Section {
    name: &'static str,
    text: String,
}

const TEXTS: [&str; 4] = [".osrel", ".cmdline", ".uname", ".profile"];

/// Reads the headers and the small sections of a UKI, never the whole file, as a loader does to which `'` is a
/// quote or is not ([`crate::boot::model::quirks::Quirks::single_quotes`]).
///
/// # Errors
/// [`UkiError`] if it is not a PE file or a section is damaged.
pub fn read(file: impl Read + Seek, single_quotes: bool) -> Result<Uki, UkiError> {
    let cache = ReadCache::new(file);
    let not_pe = |e: object::Error| UkiError::NotPe(e.to_string());
    let dos = ImageDosHeader::parse(&cache).map_err(not_pe)?;
    let mut offset = u64::from(dos.nt_headers_offset());
    let magic = optional_header_magic(&cache).map_err(not_pe)?;
    let (machine, sections) = if magic == object::pe::IMAGE_NT_OPTIONAL_HDR64_MAGIC {
        headers::<ImageNtHeaders64, _>(&cache, &mut offset)
    } else {
        headers::<ImageNtHeaders32, _>(&cache, &mut offset)
    }
    .map_err(not_pe)?;
    let mut has_linux = false;
    let mut found: Vec<Section> = Vec::new();
    let mut budget = Budget::default();
    for header in sections.iter() {
        let (start, len) = header.pe_file_range();
        let raw = header.raw_name();
        if raw == b".linux" {
            let end = u64::from(start) + u64::from(len);
            has_linux = len > 0 && (&cache).len().is_ok_and(|size| end <= size);
        }
        let Some(name) = TEXTS.into_iter().find(|n| n.as_bytes() == raw) else { continue };
        if u64::from(len) > MOST_BYTES {
            return Err(UkiError::Section(name));
        }
        budget.spend(name, len)?;
        let bytes =
            (&cache).read_bytes_at(u64::from(start), u64::from(len)).map_err(|()| UkiError::Section(name))?;
        found.push(Section { name, text: String::from_utf8_lossy(bytes).into_owned() });
    }
    let mut profiles = profiles(&found, single_quotes);
    let others = profiles.split_off(1);
    Ok(Uki { machine, has_linux, main: profiles.pop().unwrap_or_default(), others })
}

/// How much text was found.
#[derive(Default)]
struct Budget {
    profiles: usize,
    /// Before the first profile: each profile has a copy.
    common: u64,
    all: u64,
}

impl Budget {
    /// Adds a section before it is read.
    fn spend(&mut self, name: &str, len: u32) -> Result<(), UkiError> {
        self.all += u64::from(len);
        if name == ".profile" {
            self.profiles += 1;
        } else if self.profiles == 0 {
            self.common += u64::from(len);
        }
        let copies = self.common.saturating_mul(self.profiles as u64);
        let fits = self.all.saturating_add(copies) <= MOST_TEXT && self.profiles <= MOST_PROFILES;
        if fits { Ok(()) } else { Err(UkiError::TooMuchText) }
    }
}

fn headers<'d, Nt: ImageNtHeaders, R: ReadRef<'d>>(
    data: R,
    offset: &mut u64,
) -> object::Result<(u16, SectionTable<'d>)> {
    let (nt, _) = Nt::parse(data, offset)?;
    let machine = nt.file_header().machine.get(object::LittleEndian).0;
    Ok((machine, nt.sections(data, *offset)?))
}

/// Sections before the first `.profile` are common to all profiles; those after one
/// belong to it and replace the common ones (UAPI, unified kernel image specification).
fn profiles(sections: &[Section], single_quotes: bool) -> Vec<Profile> {
    let next = |part: &[Section]| part.iter().position(|s| s.name == ".profile").unwrap_or(part.len());
    let (common, mut rest) = sections.split_at(next(sections));
    let base = fill(Profile::default(), common, single_quotes);
    let mut profiles = Vec::new();
    while let Some((head, tail)) = rest.split_first() {
        let (own, others) = tail.split_at(next(tail));
        rest = others;
        let mut profile = fill(base.clone(), own, single_quotes);
        for (key, value) in crate::boot::model::conf_file::lines(&head.text, &['='], single_quotes) {
            match key {
                "ID" => profile.id = Some(value.to_owned()),
                "TITLE" => profile.title = Some(value.to_owned()),
                _ => {}
            }
        }
        profiles.push(profile);
    }
    if profiles.is_empty() {
        profiles.push(base);
    }
    profiles
}

/// Of several sections with one name the first counts.
fn fill(base: Profile, sections: &[Section], single_quotes: bool) -> Profile {
    let text = |name: &str| sections.iter().find(|s| s.name == name).map(|s| s.text.as_str());
    let plain = |t: &str| t.split('\0').next().unwrap_or_default().trim().to_owned();
    Profile {
        osrel: text(".osrel").map(|text| OsRelease::parse_as(text, single_quotes)).or(base.osrel),
        cmdline: text(".cmdline").map(plain).or(base.cmdline),
        uname: text(".uname").map(plain).or(base.uname),
        ..Profile::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::io::{Cursor, SeekFrom};

    use super::*;
    use crate::boot::tests::fixture::{pe, uki};

    const X86_64: u16 = 0x8664;

    fn parse(bytes: &[u8]) -> Result<Uki, UkiError> {
        read(Cursor::new(bytes), true)
    }

    #[test]
    fn the_small_sections_are_read() {
        let it = parse(&uki("edge", "2.0", "root=PARTUUID=1 quiet\n\0")).unwrap();
        assert_eq!(it.main.cmdline.as_deref(), Some("root=PARTUUID=1 quiet"));
        assert_eq!(it.main.uname.as_deref(), Some("6.12.0-test"));
        assert_eq!(it.main.osrel.unwrap().entry_version(), Some("2.0"));
        assert!(it.has_linux && it.others.is_empty());
        assert_eq!(it.machine, X86_64);
    }

    #[test]
    fn a_kernel_that_is_cut_off_is_noticed() {
        let whole = uki("edge", "2.0", "quiet");
        let it = parse(&whole[..whole.len() - 4096]).unwrap();
        assert!(!it.has_linux);
    }

    #[test]
    fn profiles_replace_what_is_common() {
        let bytes = pe(
            X86_64,
            &[
                (".osrel", b"ID=edge\n"),
                (".cmdline", b"common"),
                (".profile", b"ID=main\n"),
                (".profile", b"ID=factory\nTITLE=Factory reset\n"),
                (".cmdline", b"reset"),
            ],
        );
        let it = parse(&bytes).unwrap();
        assert_eq!((it.main.id.as_deref(), it.main.cmdline.as_deref()), (Some("main"), Some("common")));
        assert_eq!(it.others.len(), 1);
        assert_eq!(it.others[0].title.as_deref(), Some("Factory reset"));
        assert_eq!(it.others[0].cmdline.as_deref(), Some("reset"));
        assert_eq!(it.others[0].osrel, it.main.osrel);
    }

    #[test]
    fn a_text_of_a_megabyte_is_refused() {
        let large = vec![b'x'; (1 << 20) + 1];
        assert_eq!(parse(&pe(X86_64, &[(".cmdline", &large)])), Err(UkiError::Section(".cmdline")));
    }

    #[test]
    fn the_texts_of_all_profiles_have_one_bound() {
        let half = vec![b'x'; 1 << 19];
        let many = |name, count| vec![(name, half.as_slice()); count];
        assert!(parse(&pe(X86_64, &many(".cmdline", 4))).is_ok());
        for bomb in [
            many(".cmdline", 5),
            many(".osrel", 100),
            [many(".cmdline", 1), vec![(".profile", &b"ID=a\n"[..]); 4]].concat(),
            vec![(".profile", &b"ID=a\n"[..]); 257],
        ] {
            assert_eq!(parse(&pe(X86_64, &bomb)), Err(UkiError::TooMuchText));
        }
        assert_eq!(parse(&pe(X86_64, &[(".profile", &b"ID=a\n"[..]); 256])).unwrap().others.len(), 255);
    }

    #[test]
    fn other_files_are_no_uki() {
        for bytes in [&b""[..], b"MZ", b"#!/bin/sh\n", &[0; 4096], b"\x7fELF"] {
            assert!(matches!(parse(bytes), Err(UkiError::NotPe(_))));
        }
    }

    /// Counts what is read.
    struct Metered<'a>(Cursor<&'a [u8]>, &'a std::cell::Cell<u64>);

    impl Read for Metered<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = self.0.read(buffer)?;
            self.1.set(self.1.get() + n as u64);
            Ok(n)
        }
    }

    impl Seek for Metered<'_> {
        fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn the_kernel_itself_is_not_read() {
        let bytes = pe(X86_64, &[(".osrel", b"ID=edge\n"), (".linux", &vec![0xc3; 1 << 20])]);
        let read_bytes = std::cell::Cell::new(0);
        assert!(read(Metered(Cursor::new(&bytes), &read_bytes), true).unwrap().has_linux);
        assert!(read_bytes.get() < 4096, "{} bytes", read_bytes.get());
    }
}
