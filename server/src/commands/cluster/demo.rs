//! `chiplog cluster demo`: a cluster on one machine, to try things with.
//!
//! ```text
//!   DIR/node-N/chiplog.toml   settings, also for `chiplog serve --config`
//!              pid            of the server
//!              log            what it says
//!              data/          its folder
//!
//!   base + 10 N          node view            base + 1000 + 10 N          control core
//!   base + 10 N + 1 + S  core view, shard S   base + 1000 + 10 N + 1 + S  peers of shard S
//!   base + 10 N + 9      admin
//! ```

mod node;

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use clap::Args;

use crate::failure::Failure;
use crate::{output, signals};
use node::Node;

pub(super) const EXAMPLES: &str = "\
Examples:
  chiplog cluster demo
  chiplog topic create orders --replicas 3 --bootstrap 127.0.0.1:19092
  kill -9 $(cat chiplog-demo/node-0/pid)
  chiplog serve --config chiplog-demo/node-0/chiplog.toml
  chiplog cluster demo --enable-faults               and chiplog fault disk delay 20ms \
                                                       --admin 127.0.0.1:19101

Node N serves clients at port BASE + 10 N (core view: the ports behind it) and operators at
BASE + 10 N + 9; nodes speak to each other at BASE + 1000 + 10 N and the ports behind it.
A node that has ended comes back with the last command. A line that starts with `ready` says that
all nodes serve. Ctrl-C stops them; the folder stays, and the next demo goes on with it.";

/// Shards of a node: its ports leave room for no more.
const SHARDS_MAX: u16 = 8;
/// How often the nodes are looked after.
const LOOK: Duration = Duration::from_millis(100);
/// How long all nodes together may take to serve.
const START_WITHIN: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Nodes of the cluster: 1, 3 or 5.
    #[arg(long, value_name = "N", default_value = "3", value_parser = nodes)]
    nodes: u16,
    /// Where the nodes keep everything.
    #[arg(long, value_name = "DIR", default_value = "./chiplog-demo")]
    data: PathBuf,
    /// The first port.
    #[arg(long, value_name = "PORT", default_value = "19092")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64_000))]
    base_port: u16,
    /// Shards and data cores of each node.
    #[arg(long, value_name = "N", default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=i64::from(SHARDS_MAX)))]
    shards: u16,
    /// How data cores wait, see `chiplog help serve`.
    #[arg(long, value_name = "MODE", default_value = "park")]
    poll: String,
    /// Let `chiplog fault` inject faults into the nodes.
    #[arg(long)]
    enable_faults: bool,
    /// The journal of each shard.
    #[arg(long, value_name = "SIZE", default_value = "128MiB")]
    journal_bytes: String,
}

fn nodes(text: &str) -> Result<u16, String> {
    let nodes = text.parse().ok().filter(|nodes| [1, 3, 5].contains(nodes));
    nodes.ok_or_else(|| "expects 1, 3 or 5".to_owned())
}

/// Runs the cluster until a signal asks to stop.
pub(super) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let started = Instant::now();
    let (stop, stopped) = channel();
    signals::on_stop(move || {
        // The demo may be ending for another reason.
        let _ = stop.send(());
    })
    .map_err(Failure::Signals)?;
    let mut nodes = Vec::new();
    for number in 0..args.nodes {
        nodes.push(Node::start(args, number)?);
    }
    while !nodes.iter().all(Node::is_ready) {
        for node in &mut nodes {
            if let Some(status) = node.ended() {
                return Err(node.failure(status));
            }
        }
        if START_WITHIN < started.elapsed() {
            return Err(nodes.iter().find(|node| !node.is_ready()).expect("one is not").late());
        }
        if wait(&stopped) {
            return stop_all(nodes);
        }
    }
    introduce(args, &nodes)?;
    output::line(format_args!("ready in {:.2} s", started.elapsed().as_secs_f64()))?;
    loop {
        for node in &mut nodes {
            if let Some(status) = node.ended() {
                output::note(format_args!("{}", node.obituary(status)));
            }
        }
        if wait(&stopped) {
            return stop_all(nodes);
        }
    }
}

/// True once a stop was asked for.
fn wait(stopped: &std::sync::mpsc::Receiver<()>) -> bool {
    !matches!(stopped.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout))
}

/// Asks all to stop before it waits for any: the last ones may find no quorum left.
fn stop_all(nodes: Vec<Node>) -> Result<(), Failure> {
    nodes.iter().for_each(Node::ask_to_stop);
    nodes.into_iter().for_each(Node::wait);
    output::line(format_args!("stopped"))
}

fn introduce(args: &DemoArgs, nodes: &[Node]) -> Result<(), Failure> {
    for node in nodes {
        output::line(format_args!("{node}"))?;
    }
    let bootstrap: Vec<String> = nodes.iter().map(Node::bootstrap).collect();
    let bootstrap = bootstrap.join(",");
    let (first, replicas) = (&nodes[0], args.nodes.min(3));
    let folder = first.folder().display();
    output::line(format_args!(
        "
try       export CHIPLOG_BOOTSTRAP={bootstrap}
          chiplog topic create orders --replicas {replicas}
          seq 100000 | chiplog produce orders       and chiplog consume orders --follow
          chiplog topic describe orders             who leads, who is in sync
          kill -9 $(cat {folder}/pid)               a node dies
          chiplog serve --config {folder}/chiplog.toml   and comes back
"
    ))
}
