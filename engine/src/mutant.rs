//! The planted mutants of the engine.

base::mutants! {
    /// Acks go out when a frame is submitted.
    AckBeforeDurable = "ack-before-durable",
    /// A frame counts as durable although an earlier one is still in flight.
    AckBeyondPrefix = "ack-beyond-prefix",
    /// Any number of frames may be in flight.
    WindowIgnored = "window-ignored",
    /// A failed journal write is submitted again, and its success believed.
    RetryAfterFailedWrite = "retry-after-failed-write",
    /// A segment is reused when its successor start stands in one durable frame.
    RecycleWithOneFrame = "recycle-with-one-frame",
    /// Recovery does not know which frames an earlier recovery cut off.
    NoIncBase = "no-inc-base",
    /// Recovery believes what it reads from a volatile cache.
    NoPreScanSync = "no-pre-scan-sync",
    /// Recovery takes a damaged durable frame for the end of the log.
    CorruptAsEnd = "corrupt-as-end",
    /// Control state that was carried forward is dropped by replay.
    ForgetCarriedState = "forget-carried-state",
    /// Batches go to a bin before this shard's own journal holds them durably.
    DestageNotDurable = "destage-not-durable",
    /// A dead bin is overwritten before its `BinFree` is durable.
    ReuseBinBeforeFree = "reuse-bin-before-free",
    /// Tail memory is reused while a send still reads it.
    ReuseTailUnderPin = "reuse-tail-under-pin",
    /// A producer's committed batches leave its table although younger ones may be truncated.
    EvictCommittedProducerState = "evict-committed-producer-state",
    /// Replay counts a carried entry as a new append.
    ReplayCarriedAsAppend = "replay-carried-as-append",
    /// A promise is kept in memory only.
    PromiseNotDurable = "promise-not-durable",
    /// A partition's state is carried forward without its promise.
    ForgetCarriedPromise = "forget-carried-promise",
    /// A replica listens to leaders of epochs below its promise.
    PromiseIgnored = "promise-ignored",
    /// A replica takes over a reign although its log does not reach the reign's start.
    EpochOpenAcrossGap = "epoch-open-across-gap",
    /// Reigns stay in the history although their records were truncated.
    KeepTruncatedReigns = "keep-truncated-reigns",
    /// A restart takes everything in a replicated log for committed.
    CommittedIsLogEnd = "committed-is-log-end",
    /// A restarted process appends in the newest epoch that it finds.
    ResumeEpochAfterRestart = "resume-epoch-after-restart",
}

impl Mutant {
    /// Whether only a partition with several replicas shows the difference: on a single
    /// node nothing is promised to other nodes, and nothing is ever truncated.
    #[must_use]
    pub const fn needs_replicas(self) -> bool {
        matches!(
            self,
            Self::EvictCommittedProducerState
                | Self::PromiseNotDurable
                | Self::ForgetCarriedPromise
                | Self::PromiseIgnored
                | Self::EpochOpenAcrossGap
                | Self::KeepTruncatedReigns
                | Self::CommittedIsLogEnd
                | Self::ResumeEpochAfterRestart
        )
    }
}
