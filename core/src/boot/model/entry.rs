//! A boot entry as the loader sees it.

use std::fmt;

use crate::boot::model::name::EntryName;

/// Which partition an entry lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BootPartition {
    /// The EFI system partition that the loader itself came from.
    Esp,
    /// The extended boot loader partition on the same disk.
    Xbootldr,
}

impl BootPartition {
    /// The word in messages and JSON: `esp` or `xbootldr`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Esp => "esp",
            Self::Xbootldr => "xbootldr",
        }
    }
}

/// What the loader starts for the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A Type #2 entry: a unified kernel image in `EFI/Linux/`.
    Uki,
    /// A Type #1 entry in `loader/entries/`.
    Conf(Starts),
}

/// The key of a Type #1 entry that says what to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Starts {
    /// `linux`
    Linux,
    /// `efi`
    Efi,
    /// `uki` (since 258)
    Uki,
    /// `uki-url` (since 258)
    UkiUrl,
}

impl EntryKind {
    /// The folder that holds such entries, relative to the partition's root.
    #[must_use]
    pub fn dir(self) -> &'static str {
        match self {
            Self::Uki => UKI_DIR,
            Self::Conf(_) => CONF_DIR,
        }
    }
}

/// Where Type #2 entries lie, relative to the partition's root.
pub const UKI_DIR: &str = "EFI/Linux";
/// Where Type #1 entries lie, relative to the partition's root.
pub const CONF_DIR: &str = "loader/entries";

/// What its counter says about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryState {
    /// No counter.
    Good,
    /// Tries left.
    Trial,
    /// No tries left.
    Bad,
}

impl EntryState {
    /// The word in messages and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Trial => "trial",
            Self::Bad => "bad",
        }
    }
}

impl fmt::Display for EntryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One choice that the loader offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file name, with the counter.
    pub name: EntryName,
    /// Where the file lies.
    pub partition: BootPartition,
    /// What is started.
    pub kind: EntryKind,
    /// What the menu shows. Type #1 entries may have none.
    pub title: Option<String>,
    /// Groups the entries of one system; the first thing sorted by.
    pub sort_key: Option<String>,
    /// Groups entries with one sort key; Type #1 only.
    pub machine_id: Option<String>,
    /// Newer ones come first.
    pub version: Option<String>,
    /// `IMAGE_VERSION`, else `VERSION_ID`, of the UKI: by it an update is known, while the loader may show another text.
    pub image_version: Option<String>,
    /// Whether its UKI has no `IMAGE_VERSION`: many builds have its version.
    pub unversioned: bool,
    /// The kernel command line.
    pub options: Option<String>,
    /// The file on its partition that a Type #1 entry starts, with `/` between the parts and none in front.
    pub starts: Option<String>,
    /// The profile of a multi-profile UKI; 0 is the main one.
    pub profile: u32,
    /// The profile's own id, if it has one.
    pub profile_id: Option<String>,
    /// The file carries FAT's read-only attribute, which keeps the loader from counting.
    pub read_only: bool,
}

impl Entry {
    /// The entry's id: lower case, without counter, `@PROFILE` appended for the
    /// profiles of a UKI beyond the first.
    #[must_use]
    pub fn id(&self) -> String {
        let id = self.name.id();
        match (&self.profile_id, self.profile) {
            _ if self.kind != EntryKind::Uki => id,
            (_, 0) => id,
            (Some(profile), _) => format!("{id}@{profile}").to_ascii_lowercase(),
            (None, profile) => format!("{id}@{profile}"),
        }
    }

    /// The path relative to the partition's root, such as `EFI/Linux/edge_2.0+2-1.efi`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind.dir(), self.name)
    }

    /// Whether the system that it boots has this version.
    #[must_use]
    pub fn is_version(&self, version: &str) -> bool {
        [&self.version, &self.image_version].into_iter().any(|own| own.as_deref() == Some(version))
    }

    /// Whether this entry is started through the file of `other`.
    #[must_use]
    pub fn starts_file_of(&self, other: &Self) -> bool {
        let path = other.path();
        self.partition == other.partition
            && self.starts.as_deref().is_some_and(|file| file.eq_ignore_ascii_case(&path))
    }

    /// Good, on trial or bad.
    #[must_use]
    pub fn state(&self) -> EntryState {
        match self.name.counter() {
            None => EntryState::Good,
            Some(c) if c.left > 0 => EntryState::Trial,
            Some(_) => EntryState::Bad,
        }
    }

    /// The same entry under another file name.
    #[must_use]
    pub fn renamed(&self, name: EntryName) -> Self {
        Self { name, ..self.clone() }
    }
}
