//! Random proposals: the log that they leave replays to the state that they made.

use base::{Epoch, Incarnation, Instant, NodeId, PartitionId, ShardId, TopicNumber};
use proptest::prelude::*;
use replication::cluster_log::{LogSettings, Write, WriteNumber};
use replication::command::NodeRegistered;
use replication::{
    Boot, CaughtUp, Chosen, ClusterLog, Command, ConfigChange, Entry, Leader, LogIndex,
    NewPartitions, Opened, Place, Placement, Proposal, Rejected, ReplayError, Term, Uuid, Voters,
};

const CLUSTER: Uuid = Uuid([7; 16]);

fn placement() -> impl Strategy<Value = Placement> {
    (0..2u16, 0..3u16)
        .prop_map(|(node, shard)| Placement { node: NodeId(node), shard: ShardId(shard) })
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![placement().prop_map(Place::Shard), (0..3u16).prop_map(|n| Place::Node(NodeId(n)))]
}

fn places() -> impl Strategy<Value = Vec<Place>> {
    proptest::collection::vec(place(), 1..3)
}

fn partitions() -> impl Strategy<Value = NewPartitions> {
    prop_oneof![
        (0..6u32).prop_map(NewPartitions::Count),
        proptest::collection::vec(places(), 0..4).prop_map(NewPartitions::At),
    ]
}

fn config() -> impl Strategy<Value = (String, String)> {
    let name = prop_oneof!["retention.ms", "cleanup.policy", "nonsense"].prop_map(String::from);
    (name, prop_oneof!["-1", "1000", "delete", "junk"].prop_map(String::from))
}

fn change() -> impl Strategy<Value = ConfigChange> {
    (config(), 0..4u8).prop_map(|((name, value), kind)| match kind {
        0 => ConfigChange::Set { name, value },
        1 => ConfigChange::Delete { name },
        2 => ConfigChange::Append { name, value },
        _ => ConfigChange::Subtract { name, value },
    })
}

fn register(node: u16, shards: u16) -> Proposal {
    Proposal::RegisterNode(NodeRegistered {
        node: NodeId(node),
        shards,
        host: "h".into(),
        port: 1,
        core_host: "h".into(),
        core_port: 2,
        rack: None,
    })
}

fn proposal() -> impl Strategy<Value = Proposal> {
    let topic = (1..6u32).prop_map(TopicNumber);
    let configs = proptest::collection::vec(config(), 0..2);
    let factor = prop_oneof![Just(None), (0..4u16).prop_map(Some)];
    let create = (0..5u8, any::<[u8; 16]>(), partitions(), configs, factor);
    prop_oneof![
        (0..2u16, 0..4u16).prop_map(|(node, shards)| register(node, shards)),
        create.prop_map(|(name, uuid, partitions, configs, replication_factor)| {
            let (name, uuid) = (format!("topic-{name}"), Uuid(uuid));
            Proposal::CreateTopic { name, uuid, partitions, replication_factor, configs }
        }),
        topic.clone().prop_map(|topic| Proposal::DeleteTopic { topic }),
        (topic.clone(), 0..12u32, proptest::collection::vec(places(), 0..3))
            .prop_map(|(topic, total, places)| Proposal::AddPartitions { topic, total, places }),
        (topic, proptest::collection::vec(change(), 0..3))
            .prop_map(|(topic, changes)| Proposal::ConfigureTopic { topic, changes }),
        (placement(), 0..20u32).prop_map(|(Placement { node, shard }, boot)| {
            Proposal::BootShard { node, shard, journal: 4, boot: Incarnation(boot) }
        }),
        placement()
            .prop_map(|Placement { node, shard }| Proposal::GrantProducerIds { node, shard }),
        leadership(),
    ]
}

fn leadership() -> impl Strategy<Value = Proposal> {
    let partition =
        (1..4u32, 0..3u32).prop_map(|(topic, index)| PartitionId::new(TopicNumber(topic), index));
    let epoch = || (0..4u32).prop_map(Epoch);
    let boot = || (0..20u32).prop_map(|boot| Boot { journal: 4, boot: Incarnation(boot) });
    let chosen = (partition.clone(), epoch(), placement(), boot(), 0..3u32).prop_map(
        |(partition, epoch, placement, boot, config_version)| {
            let leader = Leader { placement, boot };
            vec![Chosen { partition, epoch, leader, config_version }]
        },
    );
    let decree = prop_oneof![
        (placement(), boot()).prop_map(|(Placement { node, shard }, boot)| {
            Command::ShardFenced { node, shard, boot }
        }),
        (chosen, 0..3u8).prop_map(|(chosen, kind)| match kind {
            0 => Command::LeadersChosen { chosen },
            1 => Command::LeadersHandedOver { chosen },
            _ => Command::ReassignmentsJoined { chosen },
        }),
        (partition.clone(), epoch()).prop_map(|(partition, epoch)| Command::EpochsOpened {
            opened: vec![Opened { partition, epoch }]
        }),
        (partition.clone(), epoch(), placement(), boot()).prop_map(
            |(partition, epoch, replica, boot)| Command::ReplicasCaughtUp {
                caught_up: vec![CaughtUp { partition, epoch, replica, boot }]
            }
        ),
    ];
    let places = prop_oneof![Just(None), places().prop_map(Some)];
    prop_oneof![
        decree.prop_map(Proposal::Decree),
        (partition.clone(), places)
            .prop_map(|(partition, places)| Proposal::Reassign { partition, places }),
        partition.clone().prop_map(|partition| Proposal::PreferLeader { partition }),
        partition.prop_map(|partition| Proposal::ElectUnclean { partition }),
    ]
}

const NOW: Instant = Instant(1);

fn empty() -> ClusterLog {
    ClusterLog::new(LogSettings::alone(CLUSTER, NodeId(0)))
}

fn lead(log: &mut ClusterLog) {
    log.start(NOW, Boot { journal: 9, boot: Incarnation(1) }, LogIndex(0));
    assert!(log.is_leader(), "who is alone leads");
}

/// Writes what is to be written; the number of the last write that there was.
fn take_appends(log: &mut ClusterLog, journal: &mut Vec<Vec<u8>>) -> Option<WriteNumber> {
    let mut last = None;
    while let Some((number, write)) = log.poll_write() {
        match write {
            Write::Entry(_, bytes) => journal.push(bytes),
            Write::Ballot(ballot) => panic!("who is alone needs no {ballot:?}"),
        }
        last = Some(number);
    }
    last
}

fn replayed(journal: &[Vec<u8>]) -> ClusterLog {
    let mut log = empty();
    for entry in journal {
        log.replay(entry).expect("what was written replays");
    }
    log
}

proptest! {
    #[test]
    fn a_replay_ends_in_the_state_that_was_published(
        steps in proptest::collection::vec((proposal(), 0..4u8), 1..80),
    ) {
        let mut journal = Vec::new();
        let mut log = empty();
        lead(&mut log);
        log.propose(&register(0, 2)).unwrap();
        let mut written = None;
        for (proposal, then) in steps {
            let before = log.proposed().clone();
            let accepted = log.propose(&proposal);
            if accepted.is_err() {
                prop_assert_eq!(&before, log.proposed(), "a refusal changes nothing");
            }
            match then {
                0 => written = take_appends(&mut log, &mut journal).or(written),
                1 => {
                    written = take_appends(&mut log, &mut journal).or(written);
                    written.into_iter().for_each(|number| log.durable(NOW, number));
                    let snapshot = log.snapshot();
                    let replayed = replayed(&journal);
                    prop_assert_eq!(&*snapshot, replayed.proposed());
                    prop_assert_eq!(&*snapshot, log.proposed());
                    check_loads(&log);
                }
                2 => {
                    // A restart: what was proposed and not written is forgotten.
                    log = replayed(&journal);
                    written = None;
                    lead(&mut log);
                }
                _ => {}
            }
        }
    }
}

/// The shards' partition counts are what the topics say.
fn check_loads(log: &ClusterLog) {
    let state = log.snapshot();
    for node in state.nodes() {
        for (shard, placement) in node.shards.iter().zip(node.placements()) {
            let partitions = || state.topics().iter().flat_map(|topic| &topic.partitions);
            let held = partitions().filter(|partition| partition.has_member(placement));
            assert_eq!(shard.partitions as usize, held.count());
            let preferred = partitions().filter(|partition| partition.preferred() == placement);
            assert_eq!(shard.preferred as usize, preferred.count());
        }
    }
}

#[test]
fn two_wishes_for_one_name_do_not_both_get_in() {
    let mut log = empty();
    lead(&mut log);
    log.propose(&register(0, 1)).unwrap();
    let create = |byte| Proposal::CreateTopic {
        name: "t".into(),
        uuid: Uuid([byte; 16]),
        partitions: NewPartitions::Count(1),
        replication_factor: None,
        configs: Vec::new(),
    };
    log.propose(&create(1)).unwrap();
    assert_eq!(log.propose(&create(2)), Err(Rejected::TopicExists));
    assert!(log.snapshot().topics().is_empty(), "nothing is committed yet");
    let mut journal = Vec::new();
    take_appends(&mut log, &mut journal);
    log.durable(NOW, WriteNumber(1));
    assert!(log.snapshot().topics().is_empty(), "two of three entries are durable");
    log.durable(NOW, WriteNumber(2));
    assert_eq!(log.snapshot().topics().len(), 1);
    assert_eq!(log.committed(), LogIndex(3));
}

#[test]
#[should_panic(expected = "durable before it was written")]
fn an_entry_cannot_be_durable_before_it_was_given_out() {
    let mut log = empty();
    lead(&mut log);
    log.durable(NOW, WriteNumber(1));
}

#[test]
fn a_log_that_is_not_ours_or_not_whole_is_refused() {
    let entry = |term, index, command| Entry { term: Term(term), index: LogIndex(index), command };
    let formed = |cluster| {
        let voters = Voters::default();
        Command::ClusterFormed { cluster, feature_level: 1, voters }
    };
    let foreign = entry(1, 1, formed(Uuid([8; 16]))).encode();
    let refused = empty().replay(&foreign);
    let reason = Rejected::ForeignCluster;
    assert_eq!(refused, Err(ReplayError::Rejected { index: LogIndex(1), reason }));

    let mut log = empty();
    log.replay(&entry(2, 1, formed(CLUSTER)).encode()).unwrap();
    let level = Command::FeatureLevelRaised { level: 2 };
    let gap = log.replay(&entry(2, 3, level.clone()).encode());
    assert_eq!(gap, Err(ReplayError::Order { expected: LogIndex(2), found: LogIndex(3) }));
    let back = log.replay(&entry(1, 2, level.clone()).encode());
    let (known, found) = (Term(2), Term(1));
    assert_eq!(back, Err(ReplayError::Term { index: LogIndex(2), known, found }));
    let newer = log.replay(&entry(2, 2, level).encode()).unwrap_err();
    assert_eq!(
        newer.to_string(),
        "entry 2 of the cluster log cannot be: feature level 2 is not above 1 and at most 1"
    );
    assert_eq!(log.last(), LogIndex(1));
}

#[test]
fn each_start_is_a_new_term() {
    let mut journal = Vec::new();
    let mut log = empty();
    lead(&mut log);
    take_appends(&mut log, &mut journal);
    let mut log = replayed(&journal);
    assert_eq!(log.propose(&register(0, 1)), Err(Rejected::NotLeader));
    lead(&mut log);
    log.propose(&register(0, 1)).unwrap();
    take_appends(&mut log, &mut journal);
    assert_eq!(Entry::decode(&journal[1]).unwrap().term, Term(2));
}
