//! Why a measurement could not be made.

use std::io;
use std::time::Duration;

use net::{ErrorCode, WireError};
use thiserror::Error;

/// See the module's description.
#[derive(Debug, Error)]
pub enum BenchError {
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("the connection to {address} failed: {source}")]
    Connection { address: String, source: io::Error },
    #[error("{address} closed the connection")]
    Closed { address: String },
    #[error("{address} does not speak Kafka as this program does: {source}")]
    Wire { address: String, source: WireError },
    #[error("{address} answered a question that was not asked")]
    Unasked { address: String },
    #[error("the server answered {action} with {code:?}")]
    Refused { action: &'static str, code: ErrorCode },
    #[error("partition {partition} of {topic} has no leader")]
    NoLeader { topic: String, partition: i32 },
    #[error("{0}")]
    Setup(String),
    #[error("no answer for {}", describe(*.0))]
    Silence(Duration),
    #[error("{}", refusals(.codes))]
    Refusals {
        /// Each kind of refusal and how often it came.
        codes: Vec<(ErrorCode, u64)>,
    },
}

fn describe(wait: Duration) -> String {
    format!("{:.1} s", wait.as_secs_f64())
}

fn refusals(codes: &[(ErrorCode, u64)]) -> String {
    let each: Vec<String> =
        codes.iter().map(|(code, count)| format!("{count} × {code:?}")).collect();
    format!("the server refused requests: {}", each.join(", "))
}
