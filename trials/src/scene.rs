//! What most trials begin with and end with: a server, a topic under load, an audit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ledger::Ledger;
use crate::producers::DEFAULT_PATIENCE;
use crate::reader;
use crate::{Context, Launch, Load, Outcome, Producers, Server, ensure, topics};

/// How long the producers may wait for the first acks after a start.
pub const ACK_LIMIT: Duration = Duration::from_secs(30);

/// A server and the load on it, described but not started.
#[derive(Debug)]
pub struct Scene {
    pub launch: Launch,
    pub load: Load,
}

impl Scene {
    /// `program` with two shards on the folder `data`, and four producers on eight partitions,
    /// through the node view.
    pub fn new(context: &Context, program: PathBuf, data: &Path) -> Outcome<Self> {
        let launch = Launch::new(program, data, 2)?;
        let load = Load {
            bootstrap: launch.node_view(),
            topic: "ledger".into(),
            partitions: 8,
            producers: 4,
            records_per_s: 1000,
            body_bytes_max: 1500,
            run: context.seed(),
            answer_within: DEFAULT_PATIENCE,
        };
        Ok(Self { launch, load })
    }

    /// Starts the server, makes the topic, and waits until the load runs.
    pub fn begin(&self) -> Outcome<(Server, Producers)> {
        let server = self.launch.start()?;
        topics::create(&self.load.bootstrap, &self.load.topic, self.load.partitions)?;
        let producers = Producers::start(&self.load)?;
        producers.await_acks(100, ACK_LIMIT)?;
        Ok((server, producers))
    }

    /// Reads everything and fails unless each promise of the ledger is kept; what was seen.
    pub fn expect_kept(&self, ledger: &Ledger) -> Outcome {
        let verdict = reader::audit(&self.load, ledger)?;
        ensure!(verdict.is_clean(), "{verdict}");
        Ok(verdict.to_string())
    }
}
