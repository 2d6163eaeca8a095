//! The planted mutants of replication.

base::mutants! {
    /// A follower acks what its journal does not hold yet (I3).
    FollowerAcksVolatile = "follower-acks-volatile",
    /// A follower opens an epoch before it holds what lies before it (H2, I5).
    OpenBeforePrefix = "open-before-prefix",
    /// A restarted leader goes on in the epoch of its boot before (H3, I10).
    ResumeEpoch = "resume-epoch",
    /// Logs that are not proven count for commits (H4, I8).
    CountUnproven = "count-unproven",
    /// A replica that was fenced still takes what the deposed leader sends (H5, I4).
    IgnorePromise = "ignore-promise",
    /// While joint, a majority of the replicas to come is enough (H6).
    SkipJoint = "skip-joint",
    /// Where two logs part is asked of the leader's history alone (H8, KIP-279).
    TruncateByLastEpoch = "truncate-by-last-epoch",
    /// A follower that meets a leader drops what it does not know to be committed (KIP-101).
    TruncateToWatermark = "truncate-to-watermark",
    /// Acks for records of older epochs move the watermark (I6).
    CountForeignAcks = "count-foreign-acks",
    /// The watermark follows the fastest replica (I6).
    CommitByOne = "commit-by-one",
    /// A message that does not join is acked like any other (I3).
    AckRefused = "ack-refused",
    /// A learner counts as soon as it streams (I8).
    VouchAtOnce = "vouch-at-once",
    /// A follower drops its records when the leader's log starts later, committed or not (I13).
    ResetOnAnyGap = "reset-on-any-gap",
    /// Leaders are elected by the epoch of the last record, not of the last reign (H1).
    ElectByLastRecord = "elect-by-last-record",
    /// Leaders are elected by the length of their logs alone (H1).
    ElectLongest = "elect-longest",
    /// The answer of a log that is not proven counts in an election (H4, I8).
    ElectUnproven = "elect-unproven",
    /// The answer of an earlier boot counts in an election (H3, H7, I8).
    ForgetIncarnation = "forget-incarnation",
    /// While joint, a majority of the replicas to come elects (H6).
    ElectByNewConfig = "elect-by-new-config",
    /// A follower believes any order of epochs: it listens to whoever speaks last (I1).
    FollowAnyone = "follow-anyone",
    /// A vote in the cluster log is sent before it is durable.
    VoteBeforeDurable = "vote-before-durable",
    /// Entries of the cluster log count before they are durable.
    LogAckBeforeDurable = "log-ack-before-durable",
    /// The cluster log's leader commits an entry of an older term because a majority holds it.
    CommitOlderTerm = "commit-older-term",
    /// A new control journal votes and acks as the voter that its node used to be (H12).
    NewJournalVotes = "new-journal-votes",
    /// A vote is given to a log that ends before the voter's.
    VoteForShorterLog = "vote-for-shorter-log",
    /// A member does not ask whether its log joins the leader's entries.
    AppendWithoutJoin = "append-without-join",
    /// A member drops what stands behind a message's entries, although it is the leader's.
    CutWhatMatches = "cut-what-matches",
    /// A member stands for election without asking first, and votes although it hears its leader.
    NoTrialVote = "no-trial-vote",
    /// A leader that hears no majority goes on leading.
    NoCheckQuorum = "no-check-quorum",
    /// A cluster is founded by whoever answers first, without asking everyone twice.
    FoundWithoutAll = "found-without-all",
}
