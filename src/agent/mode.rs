//! What a run was started for.

/// How far a run goes, and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By the timer: polls, downloads and reboots at their times.
    Scheduled,
    /// `abide update`: polls and downloads at once, reboots at its time.
    Update,
    /// `abide update --now`: ignores windows and inhibitors, too.
    Now,
    /// `abide update --download-only`: ends when the update is in the slot.
    DownloadOnly,
    /// `abide update --check`: polls only.
    Check,
}
