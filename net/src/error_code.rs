//! Kafka's error codes. Source: Kafka 4.3, `org.apache.kafka.common.protocol.Errors`.

use core::fmt;

use crate::message::{Decode, Encode};
use crate::reader::Reader;
use crate::{WireError, Writer};

macro_rules! error_codes {
    ($($code:literal $name:ident $sentence:literal)*) => {
        /// What a response says of a request or of a part of it. `Display` is a sentence.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(
                #[doc = $sentence]
                $name = $code,
            )*
            /// No error.
            #[default]
            None = 0,
        }

        impl ErrorCode {
            /// The error with this code; [`ErrorCode::UnknownServerError`] for one that we do not
            /// know.
            #[must_use]
            pub const fn from_code(code: i16) -> Self {
                match code {
                    0 => Self::None,
                    $($code => Self::$name,)*
                    _ => Self::UnknownServerError,
                }
            }

            const fn sentence(self) -> &'static str {
                match self {
                    Self::None => "no error",
                    $(Self::$name => $sentence,)*
                }
            }
        }
    };
}

error_codes! {
    -1 UnknownServerError "the server failed for a reason that has no code"
    1 OffsetOutOfRange "the offset lies outside what the partition holds"
    2 CorruptMessage "the record batch fails its checksum or is malformed"
    3 UnknownTopicOrPartition "no such topic or partition here"
    4 InvalidFetchSize "the fetch size is not possible"
    5 LeaderNotAvailable "the partition has no leader at the moment"
    6 NotLeaderOrFollower "this broker is not the partition's leader or replica"
    7 RequestTimedOut "the request was not finished within its time limit"
    8 BrokerNotAvailable "the broker is not available"
    9 ReplicaNotAvailable "the replica is not available here"
    10 MessageTooLarge "the record batch exceeds the largest size that the topic takes"
    11 StaleControllerEpoch "the controller has moved"
    12 OffsetMetadataTooLarge "the metadata committed with an offset is too large"
    13 NetworkException "the connection broke before the response came"
    14 CoordinatorLoadInProgress "the coordinator is still loading its state"
    15 CoordinatorNotAvailable "the coordinator is not available"
    16 NotCoordinator "this broker is not the coordinator"
    17 InvalidTopic "the topic name is not allowed"
    18 RecordListTooLarge "the record batch is larger than a log segment"
    19 NotEnoughReplicas "too few replicas are in sync; nothing was written"
    20 NotEnoughReplicasAfterAppend "written, but to fewer in-sync replicas than required"
    21 InvalidRequiredAcks "acks must be -1, 0 or 1"
    22 IllegalGeneration "the group has another generation"
    23 InconsistentGroupProtocol "the member shares no protocol with its group"
    24 InvalidGroupId "the group id is not allowed"
    25 UnknownMemberId "the coordinator does not know this member"
    26 InvalidSessionTimeout "the session timeout lies outside the allowed range"
    27 RebalanceInProgress "the group is rebalancing"
    28 InvalidCommitOffsetSize "the offset commit is too large"
    29 TopicAuthorizationFailed "not authorized for the topic"
    30 GroupAuthorizationFailed "not authorized for the group"
    31 ClusterAuthorizationFailed "not authorized for the cluster"
    32 InvalidTimestamp "a record's timestamp is out of range"
    33 UnsupportedSaslMechanism "the SASL mechanism is not supported"
    34 IllegalSaslState "the request does not fit the state of SASL authentication"
    35 UnsupportedVersion "this version of the API is not supported"
    36 TopicAlreadyExists "a topic of this name exists already"
    37 InvalidPartitions "the number of partitions is not possible"
    38 InvalidReplicationFactor "the replication factor is not possible here"
    39 InvalidReplicaAssignment "the assignment of replicas is not possible"
    40 InvalidConfig "a configuration value is not possible"
    41 NotController "this broker is not the controller"
    42 InvalidRequest "the request contradicts itself or the protocol"
    43 UnsupportedForMessageFormat "the partition's record format does not support this"
    44 PolicyViolation "a policy forbids it"
    45 OutOfOrderSequenceNumber "the producer's sequence has a gap"
    46 DuplicateSequenceNumber "the producer's sequence was seen before"
    47 InvalidProducerEpoch "the producer's epoch is old"
    48 InvalidTxnState "the transaction is in another state"
    49 InvalidProducerIdMapping "the producer id belongs to another transactional id"
    50 InvalidTransactionTimeout "the transaction timeout exceeds what the broker allows"
    51 ConcurrentTransactions "the producer's previous transaction is not finished yet"
    52 TransactionCoordinatorFenced "another coordinator has taken over"
    53 TransactionalIdAuthorizationFailed "not authorized for the transactional id"
    54 SecurityDisabled "security features are switched off"
    55 OperationNotAttempted "not attempted, since another part of the request failed"
    56 KafkaStorageError "the broker's storage failed"
    57 LogDirNotFound "no such log directory"
    58 SaslAuthenticationFailed "SASL authentication failed"
    59 UnknownProducerId "the broker has no state of this producer"
    60 ReassignmentInProgress "the partition is being reassigned"
    61 DelegationTokenAuthDisabled "delegation tokens are switched off"
    62 DelegationTokenNotFound "no such delegation token"
    63 DelegationTokenOwnerMismatch "the delegation token belongs to another principal"
    64 DelegationTokenRequestNotAllowed "delegation tokens cannot be asked for on this connection"
    65 DelegationTokenAuthorizationFailed "not authorized for the delegation token"
    66 DelegationTokenExpired "the delegation token has expired"
    67 InvalidPrincipalType "this type of principal is not supported"
    68 NonEmptyGroup "the group has members"
    69 GroupIdNotFound "no such group"
    70 FetchSessionIdNotFound "no such fetch session"
    71 InvalidFetchSessionEpoch "the fetch session is at another epoch"
    72 ListenerNotFound "the leader has no listener like the one asked"
    73 TopicDeletionDisabled "topics cannot be deleted here"
    74 FencedLeaderEpoch "the request names an older leader epoch"
    75 UnknownLeaderEpoch "the request names a newer leader epoch than this broker knows"
    76 UnsupportedCompressionType "the client cannot take this compression"
    77 StaleBrokerEpoch "the broker has registered again since"
    78 OffsetNotAvailable "the leader does not know the offset for certain yet"
    79 MemberIdRequired "join again with the member id given"
    80 PreferredLeaderNotAvailable "the preferred leader is not available"
    81 GroupMaxSizeReached "the group is full"
    82 FencedInstanceId "another member has taken this instance id"
    83 EligibleLeadersNotAvailable "no replica is eligible to lead"
    84 ElectionNotNeeded "the partition has the wanted leader already"
    85 NoReassignmentInProgress "the partition is not being reassigned"
    86 GroupSubscribedToTopic "the group is subscribed to the topic"
    87 InvalidRecord "a record is not valid"
    88 UnstableOffsetCommit "a transaction on these offsets is still open"
    89 ThrottlingQuotaExceeded "the quota is used up"
    90 ProducerFenced "a newer producer has the same transactional id"
    91 ResourceNotFound "no such resource"
    92 DuplicateResource "the request names a resource twice"
    93 UnacceptableCredential "the credential does not meet the requirements"
    94 InconsistentVoterSet "the request and the quorum disagree on who votes"
    95 InvalidUpdateVersion "the feature cannot go to this version"
    96 FeatureUpdateFailed "the features could not be updated"
    97 PrincipalDeserializationFailure "the forwarded principal cannot be read"
    98 SnapshotNotFound "no such snapshot"
    99 PositionOutOfRange "the position lies outside the snapshot"
    100 UnknownTopicId "no topic has this id"
    101 DuplicateBrokerRegistration "a live broker has this id"
    102 BrokerIdNotRegistered "no broker has this id"
    103 InconsistentTopicId "the log belongs to another topic id"
    104 InconsistentClusterId "the request is for another cluster"
    105 TransactionalIdNotFound "no such transactional id"
    106 FetchSessionTopicIdError "the fetch session mixes topic names and topic ids"
    107 IneligibleReplica "the replica may not be in sync"
    108 NewLeaderElected "the change made another replica the leader"
    109 OffsetMovedToTieredStorage "the offset is in tiered storage only"
    110 FencedMemberEpoch "the coordinator has fenced this member's epoch"
    111 UnreleasedInstanceId "another member still holds the instance id"
    112 UnsupportedAssignor "the group does not have this assignor"
    113 StaleMemberEpoch "the member's epoch is behind the group's"
    114 MismatchedEndpointType "the request came to the wrong kind of endpoint"
    115 UnsupportedEndpointType "this kind of endpoint is not supported"
    116 UnknownControllerId "no controller has this id"
    117 UnknownSubscriptionId "the telemetry subscription is out of date"
    118 TelemetryTooLarge "the telemetry is too large"
    119 InvalidRegistration "the broker's registration is not acceptable"
    120 TransactionAbortable "the transaction must be aborted"
    121 InvalidRecordState "the record is not in the state that this needs"
    122 ShareSessionNotFound "no such share session"
    123 InvalidShareSessionEpoch "the share session is at another epoch"
    124 FencedStateEpoch "the share group's state is at a newer epoch"
    125 InvalidVoterKey "the voter's key does not fit"
    126 DuplicateVoter "the voter is one already"
    127 VoterNotFound "no such voter"
    128 InvalidRegularExpression "the regular expression is not valid"
    129 RebootstrapRequired "the client must bootstrap anew"
    130 StreamsInvalidTopology "the topology is not valid"
    131 StreamsInvalidTopologyEpoch "the topology epoch is not valid"
    132 StreamsTopologyFenced "the topology epoch is old"
    133 ShareSessionLimitReached "there are too many share sessions"
}

impl ErrorCode {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    #[must_use]
    pub fn is_ok(self) -> bool {
        self == Self::None
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl<'a> Decode<'a> for ErrorCode {
    const MIN_BYTES: usize = 2;

    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        reader.take().map(Self::from_code)
    }
}

impl Encode for ErrorCode {
    type Kind = Self;

    #[inline]
    fn encode(self, writer: &mut Writer<'_>) {
        writer.put(self.code());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_and_unknown_ones_become_the_unknown_error() {
        for code in -1..=133 {
            assert_eq!(ErrorCode::from_code(code).code(), code);
        }
        assert_eq!(ErrorCode::from_code(9999), ErrorCode::UnknownServerError);
    }
}
