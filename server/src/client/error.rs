//! Why a conversation with a Kafka server failed.

use std::io;
use std::time::Duration;

use net::{ApiKey, ErrorCode, WireError};
use thiserror::Error;

/// See the module's description. Each is a sentence for the person at the command line.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error(
        "nobody answers at {address} ({source}): start a server with `chiplog serve`, or name \
         another with --bootstrap"
    )]
    Unreachable { address: String, source: io::Error },
    #[error("`{0}` is not HOST:PORT")]
    Address(String),
    #[error("the conversation with {address} broke off: {source}")]
    Broken { address: String, source: io::Error },
    #[error("{address} answers in a way that is not Kafka's protocol: {error}")]
    Wire { address: String, error: WireError },
    #[error("{address} does not serve {api} in a version that chiplog speaks")]
    Version { address: String, api: ApiKey },
    #[error("{subject}: {}", explain(*.code, .message.as_deref()))]
    Refused { subject: String, code: ErrorCode, message: Option<String> },
    #[error(
        "{0}: a batch of records is larger than the topic takes: lower --batch-bytes, or raise the \
         topic's max.message.bytes"
    )]
    BatchTooLarge(String),
    #[error("topic {0} does not exist: create it with `chiplog topic create {0}`")]
    NoTopic(String),
    #[error("topic {topic} has no partition {partition}")]
    NoPartition { topic: String, partition: i32 },
    #[error("{subject} is not done after {} s: {reason}", .after.as_secs())]
    TimedOut { subject: String, after: Duration, reason: String },
    #[error("{topic}-{partition} holds a batch at offset {offset} that cannot be read: {reason}")]
    Batch { topic: String, partition: i32, offset: u64, reason: String },
}

/// The server's own words where it has some, else what the code means.
fn explain(code: ErrorCode, message: Option<&str>) -> String {
    match message {
        Some(message) if !message.is_empty() => message.to_owned(),
        _ => code.to_string(),
    }
}

impl ClientError {
    /// A refusal, unless `code` says that all is well.
    pub fn check(
        subject: impl FnOnce() -> String,
        code: ErrorCode,
        message: Option<&str>,
    ) -> Result<(), Self> {
        match code {
            ErrorCode::None => Ok(()),
            code => {
                Err(Self::Refused { subject: subject(), code, message: message.map(str::to_owned) })
            }
        }
    }

    /// Whether the same request may succeed after a look at fresh metadata: the server refused it
    /// for a reason that passes, and did nothing.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if is_passing(*code))
    }
}

/// Whether the refusal is about this moment and not about the request.
#[must_use]
pub fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UnknownTopicOrPartition
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::NotController
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::KafkaStorageError
            | ErrorCode::ThrottlingQuotaExceeded
    )
}
