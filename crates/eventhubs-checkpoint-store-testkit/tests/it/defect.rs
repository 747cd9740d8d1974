//! What stores got wrong, in the field or in trials of this suite.

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    None,
    /// A claim of an absent record wins over whatever is there.
    OverwritesAsAbsent,
    /// A claim or a checkpoint wins whatever it expects (claims of the JavaScript SDK without an etag).
    Overwrites,
    /// Looks, then writes: `exists` and `set` are two requests.
    ChecksThenWrites,
    /// The same below a lock of the handle: exclusive among the tasks of one process only.
    LocksItsHandle,
    /// A renewal by the owner leaves the version.
    KeepsVersion,
    /// The version of each checkpoint is the same (the etag of a store in Redis).
    ConstantEtag,
    /// Versions are counted by the process, and a restart counts again.
    CountsInProcess,
    /// Versions are counted by record, and a deletion forgets the count.
    CountsInRecord,
    /// A release deletes the record.
    ForgetsReleases,
    /// A release leaves the mark of the owner.
    KeepsMarkOnRelease,
    /// The first claim is not in the set that a listing reads.
    HidesFirstClaims,
    /// Ignores that a listing has a second page.
    ReadsOnePage,
    /// Each handle lists a copy of its own that it refreshes with its own writes.
    ReadsOwnCopy,
    /// A write moves the owner first and the version later.
    TearsWrites,
    /// A claim that is dropped leaves the record locked.
    StaysLocked,
    /// A checkpoint moves its offset first and the rest later.
    TearsCheckpoints,
    /// Claims at once are one transaction: a lost one rolls all back.
    LosesAllClaims,
    /// Claims at once answer in the order of partitions.
    SortsOutcomes,
    /// A renewal does not set the time.
    KeepsTime,
    /// A read sets the time (time since the last access).
    ReadsRenew,
    /// Tells the time of a listing, but not when a record was written.
    HalfAClock,
    /// Keeps the scope of each group under the same key.
    MixesGroups,
    /// Joins the names of a scope by `-`.
    JoinsScopes,
    /// Takes names as they are spelled.
    SpellsScopes,
    /// The key of a partition is folded.
    FoldsPartitions,
    /// The key of a partition is a number.
    NumbersPartitions,
    /// An offset is a number (`parseInt`).
    ParsesOffsets,
    /// A checkpoint is merged into the old one (`HSET`).
    MergesCheckpoints,
    /// A checkpoint never goes back.
    OnlyGoesForward,
    /// A fence gives each owner the same token.
    ConstantToken,
    /// The token is in the checkpoint, and a deletion takes it.
    DeletesToken,
    /// A fence reads before it raises the token.
    RacesFences,
    /// A fence raises the token and reads nothing.
    FencesBlindly,
    /// A fence renews the ownership record.
    FencesOwnership,
    /// Only single claims are announced.
    HintsSingleClaims,
    /// A hint comes to the handle that won.
    HintsOwnHandle,
    /// A hint comes of a claim that was lost.
    HintsLostClaims,
    /// A hint comes to those who watch another scope.
    HintsEverybody,
    /// A claim waits for those who do not read their hints.
    WaitsForReaders,
    /// A deletion ignores the version.
    DeletesAnything,
    /// Lists scopes that have no record any more.
    ListsEmptyScopes,
    /// Everything is gone with the process.
    Forgets,
}
