//! The one place where our refusals become Kafka's error codes.

use engine::{AppendError, ProducerError, ReadError, Refused};
use net::ErrorCode;
use replication::Rejected;

/// The error a producer gets; clients retry the retriable ones by themselves.
pub(crate) fn append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::NoPartition => ErrorCode::UnknownTopicOrPartition,
        // Only this error makes clients look for the leader again, which a start is about.
        AppendError::Recovering
        | AppendError::EpochNotOpen
        | AppendError::Fenced { .. }
        | AppendError::Gap { .. } => ErrorCode::NotLeaderOrFollower,
        AppendError::Busy => ErrorCode::RequestTimedOut,
        AppendError::DiskFull | AppendError::Poisoned | AppendError::Halted => {
            ErrorCode::KafkaStorageError
        }
        AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        AppendError::InvalidTimestamp => ErrorCode::InvalidTimestamp,
        AppendError::Producer(error) => producer(error),
        AppendError::Batch(_) => ErrorCode::InvalidRecord,
    }
}

pub(crate) fn read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::Recovering => ErrorCode::NotLeaderOrFollower,
        ReadError::NoPartition | ReadError::Gone => ErrorCode::UnknownTopicOrPartition,
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Halted(_) | ReadError::Io(_) => ErrorCode::KafkaStorageError,
        ReadError::Busy => ErrorCode::RequestTimedOut,
    }
}

pub(crate) fn refused(error: &Refused) -> ErrorCode {
    match error {
        Refused::Recovering => ErrorCode::NotLeaderOrFollower,
        Refused::NoPartition => ErrorCode::UnknownTopicOrPartition,
        Refused::Busy => ErrorCode::RequestTimedOut,
        Refused::Poisoned | Refused::Halted | Refused::NothingLost => ErrorCode::KafkaStorageError,
        Refused::StaleEpoch { .. } | Refused::Fenced { .. } => ErrorCode::FencedLeaderEpoch,
        Refused::Gap { .. } => ErrorCode::NotLeaderOrFollower,
        Refused::BeyondCommitted { .. } => ErrorCode::OffsetOutOfRange,
    }
}

fn producer(error: &ProducerError) -> ErrorCode {
    match error {
        ProducerError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        ProducerError::InvalidEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        ProducerError::Malformed => ErrorCode::InvalidRecord,
    }
}

/// The error an admin client gets.
pub(crate) fn rejected(error: &Rejected) -> ErrorCode {
    match error {
        Rejected::NotLeader => ErrorCode::NotController,
        Rejected::Busy => ErrorCode::ThrottlingQuotaExceeded,
        Rejected::Name(_) => ErrorCode::InvalidTopic,
        Rejected::TopicExists | Rejected::TopicIdTaken => ErrorCode::TopicAlreadyExists,
        Rejected::NoTopic(_) | Rejected::NoPartition(_) => ErrorCode::UnknownTopicOrPartition,
        Rejected::Partitions { .. } | Rejected::NotMorePartitions { .. } => {
            ErrorCode::InvalidPartitions
        }
        Rejected::Places { .. }
        | Rejected::NoNode(_)
        | Rejected::NoShard { .. }
        | Rejected::Replicas
        | Rejected::SameNode(_)
        | Rejected::UnequalReplicas => ErrorCode::InvalidReplicaAssignment,
        Rejected::Epoch { .. } | Rejected::EpochTaken(_) | Rejected::ConfigVersion { .. } => {
            ErrorCode::FencedLeaderEpoch
        }
        Rejected::NoLeader(_) => ErrorCode::LeaderNotAvailable,
        Rejected::NoProvenReplica { .. } => ErrorCode::EligibleLeadersNotAvailable,
        Rejected::LeadsAlready { .. } => ErrorCode::ElectionNotNeeded,
        Rejected::NoReassignment(_) => ErrorCode::NoReassignmentInProgress,
        Rejected::Joint(_) | Rejected::NotCaughtUp(_) => ErrorCode::ReassignmentInProgress,
        Rejected::ReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
        Rejected::Config(_) => ErrorCode::InvalidConfig,
        Rejected::NoShards => ErrorCode::CoordinatorNotAvailable,
        Rejected::FeatureLevel { .. } => ErrorCode::FeatureUpdateFailed,
        Rejected::Voter { .. } | Rejected::TooManyVoters | Rejected::TooLong { .. } => {
            ErrorCode::InvalidRequest
        }
        Rejected::StaleBoot { .. }
        | Rejected::JournalReplaced { .. }
        | Rejected::ShardsVanished { .. }
        | Rejected::ForeignCluster
        | Rejected::Unordered
        | Rejected::NotCurrent { .. }
        | Rejected::ProducerIdsExhausted => ErrorCode::UnknownServerError,
    }
}
