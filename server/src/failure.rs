//! Every way a command fails, as one sentence for a person and an exit code for a script.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use base::{CoreId, ShardId};
use thiserror::Error;

use crate::client::ClientError;
use crate::config::ConfigError;
use crate::control::ControlError;
use crate::data_folder::{FolderError, NoRoom, shard_name};
use crate::listen::ListenError;
use crate::serve::CoreError;

/// See the module's description.
#[derive(Debug, Error)]
pub enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Ring(ring::SetupError),
    #[error("cannot find out which CPUs may be used: {0}")]
    Cpus(io::Error),
    #[error(transparent)]
    Device(ring::device::DeviceError),
    #[error("the system lacks what a core needs (threads, descriptors): {0}")]
    Thread(io::Error),
    #[error("{name} cannot serve: {reason}")]
    Shard { name: String, reason: String },
    #[error("{name} cannot start: {no_room}")]
    NoRoom { name: String, no_room: NoRoom },
    #[error("data core {core} ended: {error}")]
    Core { core: CoreId, error: CoreError },
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot read {}: {source}", path.display())]
    Input { path: PathBuf, source: io::Error },
    #[error("cannot write the number of this process to {}: {source}", path.display())]
    PidFile { path: PathBuf, source: io::Error },
    #[error("cannot start a node ({}): {source}", path.display())]
    Demo { path: PathBuf, source: io::Error },
    #[error("node {node} of the demo ended ({status}): {said}")]
    DemoNode { node: u16, status: ExitStatus, said: String },
    #[error("node {node} of the demo does not serve yet: see {}", log.display())]
    DemoLate { node: u16, log: PathBuf },
    #[error("cannot talk to the admin port {address}: {source}")]
    AdminPort { address: String, source: io::Error },
    #[error("refused: {why}")]
    AdminRefused { why: String },
    #[error("{problems} of the cluster's things are not as they should be")]
    Unhealthy { problems: usize },
    #[error(
        "{topic}-{partition} is led by {leader}: an unclean election is for what nobody can lead"
    )]
    StillLed { topic: String, partition: i32, leader: i32 },
    #[error("nothing was done: agree at the terminal, or add --yes")]
    NotAgreed,
    #[error("cannot compress: {0}")]
    Compress(io::Error),
    #[error(transparent)]
    Bench(#[from] benches::BenchError),
    #[error("cannot choose a CPU to run on: {0}")]
    Cpu(io::Error),
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    #[error("cannot read the answer: {0}")]
    Answer(io::Error),
    #[error(transparent)]
    Files(ring::FolderError),
    #[error("there is no shard {shard}: name 0 to {last}, or `control`")]
    NoShard { shard: ShardId, last: u16 },
    #[error("nothing was changed: add --accept-loss to write this off for ever")]
    LossNotAccepted,
    #[error("the device does not read all of the records: copy the folder to another device")]
    Unreadable,
    #[error(
        "the cluster log has lost records, so which topics exist is in doubt, and a gap would delete \
         what it does not know: restore the folder's `control` from a copy"
    )]
    ClusterLogLost,
    #[error(
        "{} has lost more after the repair than before: the device is failing, copy the folder to \
         another", shard_name(*.shard)
    )]
    StillLost { shard: ShardId },
}

impl Failure {
    /// The shard does not go on.
    pub(crate) fn shard(shard: ShardId, reason: impl std::fmt::Display) -> Self {
        Self::Shard { name: shard_name(shard), reason: reason.to_string() }
    }

    /// 2 for wrong usage or settings, as the command line parser has it; 1 for the rest.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            _ => 1,
        }
    }
}
