//! Seeded bugs: one step of the real code left out, or done at the wrong time. They are in the file
//! system below the product.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mutation {
    /// The code as it is.
    #[default]
    None,
    /// Renames and removals are not flushed.
    NoFolderSync,
    /// Only the folder of a rename is not flushed. The flush of the renamed file takes along the
    /// sector that its name is in, so that this takes names in sectors of their own.
    NoRenameSync,
    /// What was renamed is not flushed, only its folder.
    NoRenamedSync,
    /// The state is not flushed.
    NoStateSync,
    /// The staged UKI is not flushed.
    NoStagedSync,
    /// The target slot's old entry is left in place.
    KeepOldEntry,
    /// The target slot's old entry is removed under the name that the loader shows.
    FreeInSight,
    /// The target slot's old entry goes only after its first byte was overwritten.
    OverwriteFirst,
    /// The state is saved after the rename that it announces.
    SaveAfterRename,
    /// The rename comes after the state that relies on it.
    RenameAfterSave,
    /// Both generations of the state go to the same file.
    OneGeneration,
    /// The staged UKI waits in a folder of its own.
    StagedElsewhere,
    /// The update is noted as staged before its slot is complete.
    StagedTooEarly,
    /// The update is noted as staged before the root hash of its tree has replaced the old one.
    RootHashLast,
    /// The state does not say that the slot is being written.
    WritingNotSaved,
    /// The folder is flushed before the rename instead of after it.
    SyncBeforeRename,
    /// A rename removes the old name before it adds the new one.
    UnlinkBeforeLink,
}

impl Mutation {
    /// Every seeded bug.
    pub const ALL: [Self; 17] = [
        Self::NoFolderSync,
        Self::NoRenameSync,
        Self::NoRenamedSync,
        Self::NoStateSync,
        Self::NoStagedSync,
        Self::KeepOldEntry,
        Self::FreeInSight,
        Self::OverwriteFirst,
        Self::SaveAfterRename,
        Self::RenameAfterSave,
        Self::OneGeneration,
        Self::StagedElsewhere,
        Self::StagedTooEarly,
        Self::RootHashLast,
        Self::WritingNotSaved,
        Self::SyncBeforeRename,
        Self::UnlinkBeforeLink,
    ];
}
