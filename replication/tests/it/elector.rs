//! The elector step by step, on a cluster of three nodes whose first partition node 0 led.

use core::time::Duration;

use base::{
    Committed, Durable, Epoch, Instant, LogEnd, LogStart, NodeId, Offset, PartitionId, ShardId,
    TopicNumber,
};
use replication::control_message::{Fence, FenceAnswers};
use replication::elector::Order;
use replication::replica::{FenceAnswer, LogView, Proof};
use replication::{ClusterState, Command, Elector, Planted, Proposal, Term};

use crate::leadership::{at, boot, cluster, create};

const FIRST: PartitionId = PartitionId::new(TopicNumber(1), 0);

struct Host {
    elector: Elector,
    state: ClusterState,
    now: Instant,
    fences: Vec<(NodeId, Fence)>,
    told: Vec<Order>,
}

impl Host {
    /// Node 0 has led partitions on all three nodes and is fenced.
    fn new(partitions: usize) -> Self {
        let state = cluster(3);
        let mut elector = Elector::new(Planted::default());
        elector.lead(Term(4));
        let (now, fences, told) = (Instant(0), Vec::new(), Vec::new());
        let mut host = Self { elector, state, now, fences, told };
        host.agree(&create("first", &vec![&[0, 1, 2][..]; partitions]));
        host.turn();
        assert!(host.fences.is_empty(), "all are led");
        let fenced = Command::ShardFenced { node: NodeId(0), shard: ShardId(0), boot: boot(1) };
        host.agree(&Proposal::Decree(fenced));
        host.turn();
        host
    }

    fn agree(&mut self, proposal: &Proposal) {
        let command = self.state.plan(proposal).unwrap();
        self.state.apply(self.state.version().next(), &command).unwrap();
    }

    fn turn(&mut self) {
        self.elector.turn(self.now, &self.state, &self.state.clone());
        while let Some(order) = self.elector.poll() {
            match order {
                Order::Fence { to, fence } => self.fences.push((to, fence)),
                Order::Propose(command) => self.agree(&Proposal::Decree(command)),
                tidings => self.told.push(tidings),
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        self.turn();
    }

    /// A node answers for the first partition: the last reign, the log end, what it can prove.
    fn answer(&mut self, node: u16, (last, end): (u32, u64), proof: Proof) {
        let view = LogView {
            log_start: LogStart(Offset(0)),
            log_end: LogEnd(Offset(end)),
            durable: Durable(Offset(end)),
            committed: Committed(Offset(end.min(7))),
            promised: Epoch(1),
            opened: Some(Epoch(last)),
            proof,
        };
        let answer = FenceAnswer { partition: FIRST, last_epoch: Some(Epoch(last)), view };
        let (term, shard, boot) = (Term(4), ShardId(0), boot(1));
        let answers = FenceAnswers { term, shard, boot, answers: vec![answer] };
        self.elector.answered(NodeId(node), answers);
        self.turn();
    }

    fn leader(&self) -> Option<u16> {
        let partition = self.state.topics().partition(FIRST).unwrap();
        partition.leader.map(|leader| leader.placement.node.0)
    }
}

#[test]
fn one_fence_per_shard_covers_all_its_partitions() {
    let host = Host::new(40);
    let fenced: Vec<_> =
        host.fences.iter().map(|(to, fence)| (to.0, fence.promises.len())).collect();
    assert_eq!(fenced, [(0, 40), (1, 40), (2, 40)]);
    let (_, fence) = &host.fences[0];
    assert_eq!((fence.term, fence.index), (Term(4), host.state.version()));
    assert_eq!(fence.fenced, [(at(0), boot(1))]);
    assert!(fence.promises.iter().all(|(_, epoch)| *epoch == Epoch(1)));
}

#[test]
fn the_last_reign_counts_before_the_length_and_the_preferred_before_others() {
    let mut host = Host::new(1);
    host.answer(1, (3, 50), Proof::Clean);
    assert_eq!(host.leader(), None, "one of three is no quorum");
    host.answer(2, (4, 20), Proof::Clean);
    assert_eq!(host.leader(), Some(2));
    let mut host = Host::new(1);
    host.answer(2, (3, 50), Proof::Clean);
    host.answer(1, (3, 50), Proof::Clean);
    assert_eq!(host.leader(), Some(1), "of equal ones the one that stands first");
}

#[test]
fn a_torn_log_counts_only_once_the_unheard_had_their_time() {
    let mut host = Host::new(1);
    host.answer(1, (3, 50), Proof::Torn);
    host.answer(2, (3, 40), Proof::Clean);
    assert_eq!(host.leader(), None);
    host.pass(Duration::from_millis(1_990));
    assert_eq!(host.leader(), None);
    host.pass(Duration::from_millis(10));
    assert_eq!(host.leader(), Some(1));
    let mut host = Host::new(1);
    host.answer(1, (3, 50), Proof::Torn);
    host.answer(2, (3, 40), Proof::Clean);
    host.answer(0, (3, 30), Proof::Suspect);
    assert_eq!(host.leader(), Some(1), "nobody is left to wait for");
}

#[test]
fn too_few_provable_logs_halt_a_partition_and_say_why_until_more_are_heard() {
    let mut host = Host::new(1);
    host.answer(1, (3, 50), Proof::Suspect);
    host.answer(2, (3, 40), Proof::Clean);
    host.pass(Duration::from_millis(4_990));
    assert_eq!((host.elector.halted().count(), host.told.len()), (0, 0));
    host.pass(Duration::from_millis(10));
    host.pass(Duration::from_secs(9));
    let [Order::Halted { partition: FIRST, shortage, .. }] = &host.told[..] else {
        panic!("told once: {:?}", host.told);
    };
    let said =
        "no quorum can prove what was committed; not heard: 0/0; cannot prove their logs: 1/0";
    assert_eq!(shortage.to_string(), said);
    assert_eq!((host.leader(), host.elector.halted().count()), (None, 1));
    host.answer(0, (3, 45), Proof::Clean);
    assert_eq!(host.leader(), Some(0), "what is heard late ends the halt");
}

#[test]
fn an_operator_may_take_what_there_is_and_is_told_what_that_loses() {
    let mut host = Host::new(1);
    host.answer(1, (3, 5), Proof::Suspect);
    host.agree(&Proposal::ElectUnclean { partition: FIRST });
    host.turn();
    assert_eq!(host.leader(), None, "the unheard have their time here too");
    host.answer(2, (2, 9), Proof::Rebuilding);
    host.pass(Duration::from_secs(2));
    assert_eq!(host.leader(), Some(1));
    let [Order::Lost { loss, .. }] = &host.told[..] else { panic!("{:?}", host.told) };
    assert_eq!((loss.records_min(), loss.unheard), (2, 1), "7 were known to be committed");
}

#[test]
fn whoever_owes_an_answer_is_asked_again_and_a_new_control_leader_asks_anew() {
    let mut host = Host::new(1);
    host.answer(1, (3, 50), Proof::Clean);
    host.fences.clear();
    host.pass(Duration::from_millis(50));
    let asked: Vec<_> = host.fences.drain(..).map(|(to, _)| to.0).collect();
    assert_eq!(asked, [0, 2], "not who has answered");
    host.elector.lead(Term(5));
    host.turn();
    let asked: Vec<_> = host.fences.drain(..).map(|(to, fence)| (to.0, fence.term.0)).collect();
    assert_eq!(asked, [(0, 5), (1, 5), (2, 5)], "the same epoch again");
    host.answer(2, (3, 50), Proof::Clean);
    host.answer(1, (3, 50), Proof::Clean);
    assert_eq!(host.leader(), None, "answers to the one before are not taken");
}

#[test]
fn a_boot_that_is_new_is_asked_and_what_the_one_before_said_is_forgotten() {
    let mut host = Host::new(1);
    host.answer(1, (3, 50), Proof::Clean);
    host.fences.clear();
    let (node, shard) = (NodeId(1), ShardId(0));
    let booted = Command::ShardBooted { node, shard, journal: 4, boot: boot(2).boot };
    host.agree(&Proposal::Decree(booted));
    host.turn();
    assert!(host.fences.iter().any(|(to, _)| *to == node));
    host.answer(2, (3, 40), Proof::Clean);
    assert_eq!(host.leader(), None);
}
