//! The rules of leaders and replicas, one by one, on a cluster of four nodes.

use base::{Epoch, Incarnation, NodeId, PartitionId, ShardId, TopicNumber};
use replication::command::NodeRegistered;
use replication::{
    Boot, CaughtUp, Chosen, ClusterState, Command, HandOver, Leader, NewPartitions, Opened,
    Partition, Place, Placement, Proposal, Rejected, Uuid, Voters,
};

const FIRST: PartitionId = PartitionId::new(TopicNumber(1), 0);

pub(crate) fn at(node: u16) -> Placement {
    Placement { node: NodeId(node), shard: ShardId(0) }
}

pub(crate) fn boot(boot: u32) -> Boot {
    Boot { journal: 4, boot: Incarnation(boot) }
}

/// A cluster of `nodes` nodes with one shard each, all of which have booted once.
pub(crate) fn cluster(nodes: u16) -> ClusterState {
    let mut state = ClusterState::new(Uuid([7; 16]));
    let (cluster, voters) = (Uuid([7; 16]), Voters::default());
    decree(&mut state, Command::ClusterFormed { cluster, feature_level: 1, voters });
    for node in 0..nodes {
        let registered = NodeRegistered {
            node: NodeId(node),
            shards: 1,
            host: "h".into(),
            port: 1,
            core_host: "h".into(),
            core_port: 2,
            rack: Some(format!("r{}", node / 2)),
        };
        decree(&mut state, Command::NodeRegistered(registered));
        decree(&mut state, booted(node, 4, 1));
    }
    state
}

fn booted(node: u16, journal: u64, boot: u32) -> Command {
    let (node, shard) = (NodeId(node), ShardId(0));
    Command::ShardBooted { node, shard, journal, boot: Incarnation(boot) }
}

fn fenced(node: u16, number: u32) -> Command {
    Command::ShardFenced { node: NodeId(node), shard: ShardId(0), boot: boot(number) }
}

fn decree(state: &mut ClusterState, command: Command) {
    agree(state, &Proposal::Decree(command));
}

fn agree(state: &mut ClusterState, proposal: &Proposal) {
    let command = state.plan(proposal).unwrap();
    state.apply(state.version().next(), &command).unwrap();
}

fn refusal(state: &ClusterState, command: Command) -> Rejected {
    state.plan(&Proposal::Decree(command)).unwrap_err()
}

/// A topic with one partition on each list of nodes.
pub(crate) fn create(name: &str, nodes: &[&[u16]]) -> Proposal {
    let places = |nodes: &&[u16]| nodes.iter().map(|node| Place::Node(NodeId(*node))).collect();
    let mut uuid = [9; 16];
    uuid[..name.len()].copy_from_slice(name.as_bytes());
    Proposal::CreateTopic {
        name: name.into(),
        uuid: Uuid(uuid),
        partitions: NewPartitions::At(nodes.iter().map(places).collect()),
        replication_factor: None,
        configs: Vec::new(),
    }
}

fn first(state: &ClusterState) -> Partition {
    *state.topics().partition(FIRST).unwrap()
}

fn leads(node: u16, number: u32) -> Leader {
    Leader { placement: at(node), boot: boot(number) }
}

fn chosen(state: &ClusterState, epoch: u32, leader: Leader) -> Vec<Chosen> {
    let config_version = first(state).config_version;
    vec![Chosen { partition: FIRST, epoch: Epoch(epoch), leader, config_version }]
}

/// A cluster of four whose first partition is on nodes 0, 1 and 2.
fn replicated() -> ClusterState {
    let mut state = cluster(4);
    agree(&mut state, &create("first", &[&[0, 1, 2]]));
    state
}

#[test]
fn a_new_partition_is_led_by_its_first_replica_that_runs() {
    let mut state = cluster(3);
    decree(&mut state, fenced(0, 1));
    agree(&mut state, &create("first", &[&[0, 1, 2]]));
    assert_eq!((first(&state).leader, first(&state).epoch), (Some(leads(1, 1)), Epoch(0)));
    assert_eq!(first(&state).preferred(), at(0));
}

#[test]
fn one_fence_ends_the_epochs_of_what_a_boot_led_and_others_hold() {
    let mut state = replicated();
    agree(&mut state, &create("second", &[&[0], &[1], &[1]]));
    agree(&mut state, &create("third", &[&[1, 0], &[0, 3]]));
    decree(&mut state, fenced(0, 1));
    let seen = |name: &str| -> Vec<_> {
        let topic = state.topics().by_name(name).unwrap();
        let leader = |p: &Partition| p.leader.map(|leader| leader.placement.node.0);
        topic.partitions.iter().map(|p| (leader(p), p.epoch.0)).collect()
    };
    assert_eq!(seen("first"), [(None, 1)]);
    assert_eq!(seen("second"), [(Some(0), 0), (Some(1), 0), (Some(1), 0)], "alone, or not its own");
    assert_eq!(seen("third"), [(Some(1), 0), (None, 1)]);
    assert!(state.shard(at(0)).unwrap().fenced);
    assert_eq!(
        refusal(&state, fenced(0, 2)),
        Rejected::NotCurrent { node: NodeId(0), shard: ShardId(0) },
        "a boot that is not known cannot be fenced"
    );
}

#[test]
fn a_start_ends_the_reign_of_the_boot_before_and_leads_only_what_it_holds_alone() {
    let mut state = replicated();
    agree(&mut state, &create("second", &[&[0]]));
    decree(&mut state, fenced(0, 1));
    decree(&mut state, booted(0, 4, 2));
    assert_eq!((first(&state).leader, first(&state).epoch), (None, Epoch(1)), "fenced already");
    let alone = state.topics().by_name("second").unwrap().partitions[0];
    assert_eq!((alone.leader, alone.epoch), (Some(leads(0, 2)), Epoch(1)));
    assert!(!state.shard(at(0)).unwrap().fenced);

    let mut state = replicated();
    decree(&mut state, booted(0, 4, 2));
    assert_eq!((first(&state).leader, first(&state).epoch), (None, Epoch(1)), "nobody fenced it");
    decree(&mut state, booted(0, 4, 3));
    assert_eq!(first(&state).epoch, Epoch(1), "it led nothing any more");
}

#[test]
fn an_epoch_has_one_leader() {
    let mut state = replicated();
    let taken = Command::LeadersChosen { chosen: chosen(&state, 0, leads(1, 1)) };
    assert_eq!(refusal(&state, taken), Rejected::EpochTaken(FIRST));
    decree(&mut state, fenced(0, 1));
    let stale = Command::LeadersChosen { chosen: chosen(&state, 0, leads(1, 1)) };
    assert!(matches!(refusal(&state, stale), Rejected::Epoch { .. }));
    let ahead = Command::LeadersChosen { chosen: chosen(&state, 2, leads(1, 1)) };
    assert!(matches!(refusal(&state, ahead), Rejected::Epoch { .. }));
    let dead = Command::LeadersChosen { chosen: chosen(&state, 1, leads(1, 2)) };
    assert!(matches!(refusal(&state, dead), Rejected::NotCurrent { .. }), "no such boot");
    let stranger = Command::LeadersChosen { chosen: chosen(&state, 1, leads(3, 1)) };
    assert!(matches!(refusal(&state, stranger), Rejected::NoProvenReplica { .. }));
    let twice = [chosen(&state, 1, leads(1, 1)), chosen(&state, 1, leads(2, 1))].concat();
    assert_eq!(refusal(&state, Command::LeadersChosen { chosen: twice }), Rejected::Unordered);
    let mut other = chosen(&state, 1, leads(1, 1));
    other[0].config_version += 1;
    let refused = refusal(&state, Command::LeadersChosen { chosen: other });
    assert!(matches!(refused, Rejected::ConfigVersion { .. }));

    let elected = chosen(&state, 1, leads(1, 1));
    decree(&mut state, Command::LeadersChosen { chosen: elected });
    assert_eq!(first(&state).leader, Some(leads(1, 1)));
    let rival = Command::LeadersChosen { chosen: chosen(&state, 1, leads(2, 1)) };
    assert_eq!(refusal(&state, rival), Rejected::EpochTaken(FIRST));
}

#[test]
fn a_hand_over_follows_the_reign_that_it_ends_and_no_other() {
    let mut state = replicated();
    let wanted = HandOver { partition: FIRST, epoch: Epoch(0), to: at(1) };
    decree(&mut state, Command::HandOversWanted { hand_overs: vec![wanted] });
    assert_eq!(first(&state).successor, Some(at(1)));
    let late = Command::LeadersHandedOver { chosen: chosen(&state, 1, leads(1, 1)) };
    let same = Command::LeadersHandedOver { chosen: chosen(&state, 1, leads(0, 1)) };
    assert!(matches!(refusal(&state, same), Rejected::LeadsAlready { .. }));

    let mut fenced_first = state.clone();
    decree(&mut fenced_first, fenced(0, 1));
    assert_eq!(first(&fenced_first).successor, None);
    assert_eq!(refusal(&fenced_first, late.clone()), Rejected::NoLeader(FIRST));

    decree(&mut state, late.clone());
    assert_eq!((first(&state).leader, first(&state).epoch), (Some(leads(1, 1)), Epoch(1)));
    assert!(matches!(refusal(&state, late), Rejected::Epoch { .. }), "once");
    agree(&mut state, &Proposal::PreferLeader { partition: FIRST });
    assert_eq!(first(&state).successor, Some(at(0)));
}

#[test]
fn a_replaced_journal_or_a_rolled_back_one_proves_nothing_until_it_has_caught_up() {
    let mut state = replicated();
    decree(&mut state, booted(1, 5, 1));
    assert_eq!(&*first(&state).learners, &[at(1)]);
    decree(&mut state, fenced(0, 1));
    let refused =
        refusal(&state, Command::LeadersChosen { chosen: chosen(&state, 1, replaced(1, 1)) });
    assert_eq!(refused, Rejected::NoProvenReplica { partition: FIRST, at: at(1) });
    let elected = chosen(&state, 1, leads(2, 1));
    decree(&mut state, Command::LeadersChosen { chosen: elected });

    let caught = |epoch, boot| Command::ReplicasCaughtUp {
        caught_up: vec![CaughtUp { partition: FIRST, epoch: Epoch(epoch), replica: at(1), boot }],
    };
    assert!(matches!(refusal(&state, caught(0, replaced(1, 1).boot)), Rejected::Epoch { .. }));
    assert!(matches!(refusal(&state, caught(1, boot(1))), Rejected::NotCurrent { .. }));
    decree(&mut state, caught(1, replaced(1, 1).boot));
    assert!(first(&state).learners.is_empty());

    let distrusted = Command::ShardDistrusted { node: NodeId(1), shard: ShardId(0) };
    decree(&mut state, distrusted);
    let refused = refusal(&state, caught(1, replaced(1, 1).boot));
    assert!(matches!(refused, Rejected::NotCurrent { .. }), "not in the boot that is distrusted");
    decree(&mut state, booted(1, 5, 2));
    decree(&mut state, caught(1, replaced(1, 2).boot));

    agree(&mut state, &create("alone", &[&[1]]));
    let refused = refusal(&state, booted(1, 6, 1));
    assert_eq!(refused, Rejected::JournalReplaced { node: NodeId(1), shard: ShardId(0) });
}

fn replaced(node: u16, number: u32) -> Leader {
    Leader { placement: at(node), boot: Boot { journal: 5, boot: Incarnation(number) } }
}

#[test]
fn a_move_goes_through_learners_and_a_joint_config() {
    let mut state = replicated();
    let places = |nodes: &[u16]| Some(nodes.iter().map(|n| Place::Node(NodeId(*n))).collect());
    let target = places(&[0, 3]);
    agree(&mut state, &Proposal::Reassign { partition: FIRST, places: target });
    assert_eq!(&*first(&state).learners, &[at(3)]);
    assert!(first(&state).is_quorum(|placement| placement.node < NodeId(2)));
    let early = Command::ReassignmentsJoined { chosen: chosen(&state, 1, leads(0, 1)) };
    assert_eq!(refusal(&state, early.clone()), Rejected::NotCaughtUp(FIRST));

    let caught = CaughtUp { partition: FIRST, epoch: Epoch(0), replica: at(3), boot: boot(1) };
    decree(&mut state, Command::ReplicasCaughtUp { caught_up: vec![caught] });
    let outside = Command::ReassignmentsJoined { chosen: chosen(&state, 1, leads(1, 1)) };
    assert!(matches!(refusal(&state, outside), Rejected::NoProvenReplica { .. }));
    decree(&mut state, early);
    assert!(first(&state).is_joint() && first(&state).epoch == Epoch(1));
    assert!(!first(&state).is_quorum(|placement| placement != at(3)), "2 of 2 of the new ones");
    let cancel = Proposal::Reassign { partition: FIRST, places: None };
    assert_eq!(state.plan(&cancel), Err(Rejected::Joint(FIRST)));
    assert_eq!(state.shard(at(1)).unwrap().partitions, 1);

    let opened = |epoch| Command::EpochsOpened {
        opened: vec![Opened { partition: FIRST, epoch: Epoch(epoch) }],
    };
    assert!(matches!(refusal(&state, opened(0)), Rejected::Epoch { .. }));
    decree(&mut state, opened(1));
    assert_eq!((&*first(&state).replicas, first(&state).config_version), (&[at(0), at(3)][..], 2));
    assert_eq!(state.shard(at(1)).unwrap().partitions, 0);
    assert_eq!(state.plan(&cancel), Err(Rejected::NoReassignment(FIRST)));
}

#[test]
fn only_an_operator_lets_an_unproven_replica_lead() {
    let mut state = replicated();
    let force = Proposal::ElectUnclean { partition: FIRST };
    assert_eq!(state.plan(&force), Err(Rejected::EpochTaken(FIRST)), "it has a leader");
    decree(&mut state, booted(1, 5, 1));
    decree(&mut state, fenced(0, 1));
    let unclean = Command::UncleanLeadersChosen { chosen: chosen(&state, 1, replaced(1, 1)) };
    assert!(matches!(refusal(&state, unclean.clone()), Rejected::NoProvenReplica { .. }));
    agree(&mut state, &force);
    assert!(first(&state).may_lose());
    let mut clean = state.clone();
    let elected = chosen(&state, 1, leads(2, 1));
    decree(&mut clean, Command::LeadersChosen { chosen: elected });
    assert!(!first(&clean).may_lose(), "nothing was lost after all");
    decree(&mut state, unclean);
    assert_eq!(first(&state).leader, Some(replaced(1, 1)));
    assert!(first(&state).may_lose() && first(&state).learners.is_empty());
    decree(&mut state, booted(1, 5, 2));
    assert!(!first(&state).may_lose(), "the next election is a clean one again");
}

#[test]
fn replicas_of_a_partition_never_share_a_node() {
    let mut state = cluster(3);
    let shared = create("x", &[&[1, 1]]);
    assert_eq!(state.plan(&shared), Err(Rejected::SameNode(NodeId(1))));
    let unequal = create("x", &[&[0, 1], &[2]]);
    assert_eq!(state.plan(&unequal), Err(Rejected::UnequalReplicas));
    assert_eq!(state.plan(&create("x", &[&[]])), Err(Rejected::Replicas));
    agree(&mut state, &create("first", &[&[0, 1]]));
    let shared = Some(vec![Place::Node(NodeId(2)), Place::Shard(at(2))]);
    let shared = Proposal::Reassign { partition: FIRST, places: shared };
    assert_eq!(state.plan(&shared), Err(Rejected::SameNode(NodeId(2))));
}

fn spread(state: &mut ClusterState, count: u32, replication_factor: Option<u16>) -> Vec<Vec<u16>> {
    let create = Proposal::CreateTopic {
        name: "spread".into(),
        uuid: Uuid([3; 16]),
        partitions: NewPartitions::Count(count),
        replication_factor,
        configs: Vec::new(),
    };
    agree(state, &create);
    let topic = state.topics().by_name("spread").unwrap();
    let nodes = |p: &Partition| p.replicas.iter().map(|at| at.node.0).collect();
    topic.partitions.iter().map(nodes).collect()
}

#[test]
fn leaders_are_balanced_and_replicas_spread_over_racks() {
    // Nodes 0 and 1 are one rack, 2 and 3 another.
    let placed = spread(&mut cluster(4), 8, Some(2));
    let rack = |node: &u16| node / 2;
    assert!(placed.iter().all(|nodes| rack(&nodes[0]) != rack(&nodes[1])), "{placed:?}");
    for node in 0..4 {
        let led = placed.iter().filter(|nodes| nodes[0] == node).count();
        let held = placed.iter().filter(|nodes| nodes.contains(&node)).count();
        assert_eq!((led, held), (2, 4), "node {node} of {placed:?}");
    }
}

#[test]
fn unnamed_replication_takes_three_nodes_if_there_are_and_none_that_is_down() {
    assert_eq!(spread(&mut cluster(2), 1, None), [[0]], "the loss of either of two would stop it");
    let mut state = cluster(4);
    decree(&mut state, fenced(1, 1));
    let mut placed = spread(&mut state, 1, None).remove(0);
    placed.sort_unstable();
    assert_eq!(placed, [0, 2, 3]);
    let too_many = Proposal::CreateTopic {
        name: "x".into(),
        uuid: Uuid([4; 16]),
        partitions: NewPartitions::Count(1),
        replication_factor: Some(5),
        configs: Vec::new(),
    };
    let refused = Rejected::ReplicationFactor { wanted: 5, nodes: 4 };
    assert_eq!(state.plan(&too_many), Err(refused));
}
