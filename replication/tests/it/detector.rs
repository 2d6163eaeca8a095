//! Who is taken for dead, on a cluster of three nodes whose first partition node 0 leads.

use core::time::Duration;

use base::{Instant, NodeId, ShardId};
use replication::control_message::{Beat, Heartbeat, PreFence, PreFenceAnswer, Slow};
use replication::detector::{HEARTBEAT, SUSPECT_MIN, Suspicion};
use replication::{ClusterState, Command, Detector, Health, Proposal};

use crate::leadership::{at, boot, cluster, create};

struct Host {
    detector: Detector,
    state: ClusterState,
    now: Instant,
    asked: Vec<(NodeId, PreFence)>,
    proposed: Vec<Command>,
}

impl Host {
    /// Node 2 leads the cluster log.
    fn new() -> Self {
        let mut state = cluster(3);
        let command = state.plan(&create("first", &[&[0, 1, 2]])).unwrap();
        state.apply(state.version().next(), &command).unwrap();
        let mut detector = Detector::new(SUSPECT_MIN);
        detector.lead(None);
        Self { detector, state, now: Instant(0), asked: Vec::new(), proposed: Vec::new() }
    }

    /// Time passes while `alive` nodes send heartbeats; their shards were silent for `silent`.
    fn pass(&mut self, time: Duration, alive: &[u16], silent: Duration) {
        let end = self.now.plus(time);
        while self.now < end {
            self.now = self.now.plus(HEARTBEAT);
            for node in alive {
                let silent_ms = silent.as_millis() as u32;
                let slow = Slow::default();
                let beat = Beat { shard: ShardId(0), boot: boot(1), silent_ms, slow };
                let heartbeat = Heartbeat { beats: vec![beat], leaves: false };
                self.detector.heartbeat(self.now, NodeId(*node), &heartbeat);
            }
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.detector.turn(self.now, &self.state);
        while let Some(suspicion) = self.detector.poll() {
            match suspicion {
                Suspicion::Ask { to, question } => self.asked.push((to, question)),
                Suspicion::Propose(command) => {
                    let command = self.state.plan(&Proposal::Decree(command)).unwrap();
                    self.state.apply(self.state.version().next(), &command).unwrap();
                    self.proposed.push(command);
                }
            }
        }
    }

    /// All who were asked say when they heard from the suspect.
    fn answer(&mut self, heard_ms: Option<u32>) {
        for (node, PreFence { suspect, round, .. }) in core::mem::take(&mut self.asked) {
            self.detector.answered(node, &PreFenceAnswer { suspect, round, heard_ms });
        }
        self.turn();
    }
}

fn fenced(node: u16) -> Command {
    Command::ShardFenced { node: NodeId(node), shard: ShardId(0), boot: boot(1) }
}

const ALL: [u16; 3] = [0, 1, 2];
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn who_is_heard_from_is_let_alone() {
    let mut host = Host::new();
    host.pass(SECOND * 5, &ALL, Duration::ZERO);
    assert!(host.asked.is_empty() && host.proposed.is_empty());
    assert_eq!(host.detector.health(&host.state, at(0)), Health::Healthy);
}

#[test]
fn a_silent_node_is_fenced_once_its_followers_do_not_hear_it_either() {
    let mut host = Host::new();
    host.pass(SECOND * 2, &ALL, Duration::ZERO);
    host.pass(SUSPECT_MIN - HEARTBEAT * 2, &ALL[1..], Duration::ZERO);
    assert!(host.asked.is_empty(), "not yet suspicious");
    host.pass(HEARTBEAT * 3, &ALL[1..], Duration::ZERO);
    assert_eq!(host.asked.len(), 2, "both others are asked");
    assert_eq!(host.detector.health(&host.state, at(0)), Health::Suspect);
    assert!(host.proposed.is_empty());
    host.answer(Some(400));
    assert_eq!(host.proposed, [fenced(0)]);
    assert_eq!(host.detector.health(&host.state, at(0)), Health::Dead);
}

#[test]
fn who_hears_nothing_itself_fences_nobody() {
    let mut host = Host::new();
    host.pass(SECOND, &ALL, Duration::ZERO);
    for _ in 0..40 {
        host.pass(HEARTBEAT * 3, &ALL[1..], Duration::ZERO);
        host.answer(Some(20));
    }
    assert!(host.proposed.is_empty(), "its followers hear it: only we are deaf");
}

#[test]
fn who_does_not_answer_has_not_heard() {
    let mut host = Host::new();
    host.pass(SECOND, &ALL, Duration::ZERO);
    host.pass(SUSPECT_MIN + HEARTBEAT * 10, &ALL[1..], Duration::ZERO);
    assert_eq!(host.proposed, [fenced(0)]);
}

#[test]
fn a_frozen_shard_of_a_live_node_is_suspected_too() {
    let mut host = Host::new();
    host.pass(SECOND, &ALL, Duration::from_millis(300));
    assert!(!host.asked.is_empty(), "heartbeats come, and tell of silence");
}

#[test]
fn a_death_that_was_seen_is_believed_at_once_and_only_for_that_boot() {
    let mut host = Host::new();
    host.pass(SECOND, &ALL, Duration::ZERO);
    host.detector.died(&host.state, NodeId(0), &[(ShardId(0), boot(7))]);
    host.turn();
    assert!(host.proposed.is_empty(), "another boot than the one that runs");
    host.detector.died(&host.state, NodeId(0), &[(ShardId(0), boot(1))]);
    host.turn();
    assert_eq!(host.proposed, [fenced(0)]);
}

#[test]
fn who_is_heard_again_for_a_while_has_returned() {
    let mut host = Host::new();
    host.detector.died(&host.state, NodeId(0), &[(ShardId(0), boot(1))]);
    host.turn();
    host.pass(SECOND / 2, &ALL, Duration::ZERO);
    assert_eq!(host.proposed, [fenced(0)]);
    host.pass(SECOND, &ALL, Duration::ZERO);
    let (node, shard, boot) = (NodeId(0), ShardId(0), boot(1));
    assert_eq!(host.proposed[1..], [Command::ShardReturned { node, shard, boot }]);
}

#[test]
fn after_an_own_pause_nobody_else_is_to_blame() {
    let mut host = Host::new();
    host.pass(SECOND, &ALL, Duration::ZERO);
    host.now = host.now.plus(SECOND * 5);
    host.turn();
    host.pass(SUSPECT_MIN - HEARTBEAT * 2, &[], Duration::ZERO);
    assert!(host.asked.is_empty());
    host.pass(HEARTBEAT * 4, &[], Duration::ZERO);
    assert!(!host.asked.is_empty());
}

/// Two cores for three servers and their clients: every turn comes late.
#[test]
fn the_dead_are_found_by_a_node_that_pauses_all_the_time() {
    let late = HEARTBEAT * 6;
    let pass = |host: &mut Host, turns: u32, alive: &[u16]| {
        for _ in 0..turns {
            host.now = host.now.plus(late - HEARTBEAT);
            host.pass(HEARTBEAT, alive, Duration::ZERO);
        }
    };
    let mut host = Host::new();
    pass(&mut host, 200, &ALL);
    assert!(host.asked.is_empty() && host.proposed.is_empty(), "all are heard, though late");
    pass(&mut host, 40, &ALL[1..]);
    assert_eq!(host.proposed, [fenced(0)]);
}
