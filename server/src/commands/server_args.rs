//! Which server a command talks to.

use std::time::Duration;

use clap::Args;

use crate::client::{ClientError, Cluster};

#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Brokers to ask first, any of which will do; of either view.
    #[arg(short, long, value_name = "HOST:PORT,...", env = "CHIPLOG_BOOTSTRAP")]
    #[arg(default_value = "127.0.0.1:9092", global = true)]
    pub bootstrap: String,
    /// How long the server may take over one thing.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, global = true)]
    pub timeout: Duration,
}

impl ServerArgs {
    pub fn connect(&self) -> Result<Cluster, ClientError> {
        Cluster::connect(&self.bootstrap, self.timeout)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.001..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expects seconds, 0.001 to 86400".to_owned())
}
