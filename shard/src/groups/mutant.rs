//! The planted mutants of group coordinators.

base::mutants! {
    /// Whoever is a member may commit, whatever generation it believes in.
    CommitAnyGeneration = "commit-any-generation",
    /// A commit is answered, and served to readers, before its record is committed.
    OffsetsBeforeDurable = "offsets-before-durable",
    /// Sessions end by the wall clock, which steps.
    ExpiryByWallClock = "expiry-by-wall-clock",
    /// A static member that was replaced goes on as before.
    StaticNotFenced = "static-not-fenced",
    /// A snapshot leaves out groups that have no members, and the log is trimmed to it.
    SnapshotForgetsEmpty = "snapshot-forgets-empty",
}
