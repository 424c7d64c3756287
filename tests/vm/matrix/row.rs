//! What a row of the matrix is.

use crate::support::edge::Edge;

/// One way in which a new system, or the machine around it, can be bad.
pub struct Row {
    /// Its name, for `ABIDE_MATRIX` and for its folder in `target/vm`.
    pub name: &'static str,
    /// What is bad, for the table.
    pub what: &'static str,
    /// Whether it is a part of `make test`; `make soak` runs all.
    pub daily: bool,
    /// Where it begins.
    pub start: Start,
    /// A fragment of configuration, there before the update is applied.
    pub settings: &'static str,
    /// What happens from there until the machine is stable again.
    pub story: fn(Edge) -> Edge,
    /// How things must stand then.
    pub end: End,
}

/// Where a row begins.
pub enum Start {
    /// The old version runs, and this variant of a version has been written and applied.
    Image(&'static str, &'static str),
    /// The old version runs, and a healthy new one has been written, not applied.
    Staged,
    /// The old version runs, and a healthy new one has been applied.
    Applied,
    /// A healthy new version runs, on its first try, and its checks have begun. The window is 30 s.
    Trial,
    /// The story brings its own machine.
    Own(fn(&str) -> Edge),
}

/// How things must stand when a row is over.
pub enum End {
    /// The old system runs, and there is a record of the failure.
    FellBack(Record),
    /// The new system runs and is committed, and nothing is held against it.
    Committed,
    /// The new system stays up although it failed, and `status` says why in words among which are these.
    NowhereElse(&'static str),
    /// The old system runs, nothing is held against the new one, and `status` says why in words
    /// among which are these.
    Stayed(&'static str),
}

/// What must be on record.
pub struct Record {
    /// The furthest phase that was reached.
    pub phase: &'static str,
    /// Tries that were used up.
    pub attempts: u64,
    /// Words that must be in the reason, or in that of a check.
    pub words: &'static str,
}

/// A [`End::FellBack`].
pub const fn fell_back(phase: &'static str, attempts: u64, words: &'static str) -> End {
    End::FellBack(Record { phase, attempts, words })
}
