//! The server's side of its herald: started once, fed with what the others must know to believe it.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};

use base::ShardId;
use replication::Boot;

use super::cluster_plan::others;
use crate::config::Config;
use crate::data_folder::Meta;
use crate::herald::{HeraldBoot, HeraldPlan};
use crate::output;

/// See the module's description. Its end of the pipe closes with the server.
#[derive(Debug)]
pub(super) struct Herald {
    input: ChildStdin,
}

impl Herald {
    /// Starts the child; `None` for a single node, or if there is no way: the others find out by
    /// silence then.
    pub(super) fn start(config: &Config, meta: &Meta) -> Option<Self> {
        if config.cluster.peers.is_empty() {
            return None;
        }
        let plan = HeraldPlan {
            cluster: meta.cluster().0,
            node: meta.node().0,
            journal: meta.journal_id(ShardId::CONTROL),
            secret: config.cluster.secret.clone(),
            peers: others(&config.cluster, meta).map(|(node, at)| (node.0, at)).collect(),
        };
        let started = Self::spawn(&plan);
        let explain = |error: &io::Error| {
            output::note(format_args!(
                "no process watches over this one, so its death shows by silence alone: {error}"
            ));
        };
        started.inspect_err(explain).ok()
    }

    fn spawn(plan: &HeraldPlan) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("herald")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // It outlives the server, and a Ctrl-C at its terminal, by a moment.
            .process_group(0)
            .spawn()?;
        let mut herald = Self { input: child.stdin.take().expect("it is piped") };
        herald.write(&serde_json::to_string(plan).expect("plain fields always serialise"))?;
        Ok(herald)
    }

    /// A shard has started as this boot.
    pub(super) fn tell(&mut self, shard: ShardId, own: Boot) {
        let boot = HeraldBoot { shard: shard.0, journal: own.journal, boot: own.boot.0 };
        // A herald that is gone announces nothing: silence does, later.
        let _ = self.write(&serde_json::to_string(&boot).expect("plain fields always serialise"));
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes())
    }
}
