//! The ways in which the witnesses of a boot contradict each other, and how each is decided: one table,
//! of which `docs/explanation/witnesses.md` is the printed form.

use std::fmt;

/// A contradiction as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// Which row of the table it is.
    pub kind: Kind,
    /// What was seen, with the names of this machine.
    pub seen: String,
}

impl Contradiction {
    /// A contradiction of this kind.
    #[must_use]
    pub fn new(kind: Kind, seen: impl Into<String>) -> Self {
        Self { kind, seen: seen.into() }
    }
}

impl fmt::Display for Contradiction {
    /// What was seen, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.seen, self.kind.row().remedy)
    }
}

/// The kinds of contradiction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A newer Abide has written the state, and this one does not understand it.
    ForeignState,
    /// Both slots hold what the kernel's command line names.
    SameUuid,
    /// The mounted root is another slot than the kernel was started for.
    MountedElsewhere,
    /// The loader says that it started an entry of another root.
    LoaderElsewhere,
    /// The running system states another version than its entry.
    OtherVersion,
    /// No boot entry boots what runs.
    NoEntry,
    /// Several entries boot what runs, and they are not equally good.
    SeveralEntries,
    /// The entry on trial was started by another kernel.
    KexecIntoTrial,
    /// The running entry has a counter, and the state knows of no trial.
    CountedByOther,
    /// The note of this boot and the state do not agree.
    NoteAndState,
    /// The slot that runs is one that the state says was never kept.
    SlotNeverKept,
    /// The image was given up, and runs.
    GivenUp,
    /// Another tool has started the running system once, and nobody has committed it.
    AppliedByOther,
    /// The entry on trial has disappeared.
    TrialDisappeared,
    /// Another reboot would lead to the same boot.
    NowhereElse,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its name, for tests and machine-readable output.
    pub name: &'static str,
    /// Which witnesses contradict each other.
    pub witnesses: &'static str,
    /// How it can happen.
    pub cause: &'static str,
    /// What follows, in addition to this: the boot is unknown, keeps running, and changes nothing on the ESP or in a slot.
    pub decided: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

const REBOOT: &str = "reboot through the boot loader";

impl Kind {
    /// Every kind, in the order in which they are looked for.
    #[cfg(test)]
    pub(in crate::update) const ALL: [Self; 15] = [
        Self::ForeignState,
        Self::SameUuid,
        Self::LoaderElsewhere,
        Self::MountedElsewhere,
        Self::OtherVersion,
        Self::NoEntry,
        Self::SeveralEntries,
        Self::NoteAndState,
        Self::SlotNeverKept,
        Self::GivenUp,
        Self::TrialDisappeared,
        Self::KexecIntoTrial,
        Self::CountedByOther,
        Self::AppliedByOther,
        Self::NowhereElse,
    ];

    /// Its row of the table.
    #[must_use]
    pub const fn row(self) -> Row {
        match self {
            Self::ForeignState => Row {
                name: "foreign-state",
                witnesses: "state ↔ this Abide",
                cause: "a newer Abide in the other slot has written the state in a format, or with a value, that this one does not support",
                decided: "Abide does not assume that no update is in flight; a boot that the loader counted ends at its deadline, all others stay up",
                remedy: "boot the system with the newer Abide, or install that Abide in this one",
            },
            Self::SameUuid => Row {
                name: "same-uuid",
                witnesses: "content of slot a ↔ content of slot b",
                cause: "another tool has written one image into both slots of a machine with `boot_uuid=`",
                decided: "neither slot is written: the initramfs takes the first slot with the UUID, whichever entry is booted",
                remedy: "remove the entry of the slot that does not run, and give what that slot holds another UUID (`tune2fs -U random`, with encryption `cryptsetup luksUUID`)",
            },
            Self::LoaderElsewhere => Row {
                name: "loader-elsewhere",
                witnesses: "kernel command line ↔ loader variables",
                cause: "kexec into the other slot on a machine where kexec cannot be detected; a command line edited in the loader's menu",
                decided: "neither slot is written; the boot is not counted as a try",
                remedy: REBOOT,
            },
            Self::MountedElsewhere => Row {
                name: "mounted-elsewhere",
                witnesses: "mounted root ↔ kernel command line",
                cause: "soft-reboot into the other slot; two partitions with one label",
                decided: "neither slot is written: the two sources name different running slots",
                remedy: REBOOT,
            },
            Self::OtherVersion => Row {
                name: "other-version",
                witnesses: "os-release of the running system ↔ the entry's version",
                cause: "a UKI without root= booted the newest root (gpt-auto); soft-reboot of a system whose root is an overlay",
                decided: "which slot runs is not known; neither is written",
                remedy: "build each UKI with root=PARTUUID=… of its slot, and reboot",
            },
            Self::NoEntry => Row {
                name: "no-entry",
                witnesses: "kernel command line ↔ names on the ESP",
                cause: "a rescue system; the running entry was removed or renamed by another tool",
                decided: "no system to fall back to is known; neither slot is written",
                remedy: "put the running system's boot entry back on the ESP, or reboot into one that is there",
            },
            Self::SeveralEntries => Row {
                name: "several-entries",
                witnesses: "names on the ESP ↔ each other",
                cause: "several entries boot the running root, some good and some on trial, and the loader does not report which it started",
                decided: "the boot is neither committed nor a try",
                remedy: "remove the entries that do not belong to the running system",
            },
            Self::NoteAndState => Row {
                name: "note-and-state",
                witnesses: "note of this boot ↔ state",
                cause: "the state was lost or replaced during a trial's boot",
                decided: "the trial is not committed; it falls back when its tries are used up, unless another tool marks it as good",
                remedy: REBOOT,
            },
            Self::SlotNeverKept => Row {
                name: "slot-never-kept",
                witnesses: "state ↔ kernel command line",
                cause: "the slot holds an update that was never committed, and an entry other than the update's boots it",
                decided: "the running slot is not known to be good; neither slot is written",
                remedy: "reboot into the committed system, and remove the entry that does not belong to it",
            },
            Self::GivenUp => Row {
                name: "given-up",
                witnesses: "state ↔ kernel command line",
                cause: "an image that failed was chosen in the loader's menu, or another tool marked it as good",
                decided: "during its trial: marked as bad and rebooted if another system boots next; later: the machine keeps running",
                remedy: "reboot into the committed system",
            },
            Self::TrialDisappeared => Row {
                name: "trial-disappeared",
                witnesses: "state ↔ names on the ESP",
                cause: "the entry on trial was removed while its system ran",
                decided: "there is nothing to commit",
                remedy: "reboot, and write the update again",
            },
            Self::KexecIntoTrial => Row {
                name: "kexec-into-trial",
                witnesses: "kexec ↔ names on the ESP",
                cause: "kexec into an applied update, or into an entry that another tool counts",
                decided: "not counted as a try: a kexec does not show that the boot loader can start this entry",
                remedy: REBOOT,
            },
            Self::CountedByOther => Row {
                name: "counted-by-other",
                witnesses: "names on the ESP ↔ state",
                cause: "systemd-sysupdate or an installer began the trial; the state was lost during the trial",
                decided: "left to systemd-bless-boot.service, unless `other_trials` is set; Abide neither commits nor ends it",
                remedy: "if this system is known to be good, remove the counter from its file's name, or run `/usr/lib/systemd/systemd-bless-boot good`; otherwise wait until it is blessed",
            },
            Self::AppliedByOther => Row {
                name: "applied-by-other",
                witnesses: "what EMT's own tool has left on the ESP ↔ loader model",
                cause: "EMT's own tool has applied the running system, which was booted once and does not boot next",
                decided: "nothing is written, applied, rolled back or repaired until it is committed",
                remedy: "`os-update-tool.sh -c` commits it once its checks pass; a reboot goes back to the system before it",
            },
            Self::NowhereElse => Row {
                name: "nowhere-else",
                witnesses: "pending reboot ↔ loader model",
                cause: "the entry to fall back to is gone; a setting pins this entry; the loader does not count",
                decided: "no reboot: it would lead to the same boot",
                remedy: "repair the boot entries and reboot; `abide list` shows what boots next",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_page_on_witnesses_has_every_row_word_for_word() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/explanation/witnesses.md");
        let page = std::fs::read_to_string(page).unwrap();
        for kind in Kind::ALL {
            let Row { name, witnesses, cause, decided, remedy } = kind.row();
            let line = format!("| `{name}` | {witnesses} | {cause} | {decided} | {remedy} |");
            assert!(page.lines().any(|l| l == line), "the page lacks:\n{line}");
        }
    }

    #[test]
    fn a_contradiction_says_what_was_seen_and_what_to_do() {
        let found = Contradiction::new(Kind::MountedElsewhere, "slot b is mounted");
        assert_eq!(found.to_string(), "slot b is mounted; reboot through the boot loader");
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let mut names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.row().name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
