//! The bytes of every command, as version 1 wrote them. They never change.

use base::{Epoch, Incarnation, NodeId, PartitionId, ProducerId, ShardId, TopicNumber};
use proptest::prelude::*;
use replication::command::{NodeRegistered, TopicCreated};
use replication::{
    Boot, CaughtUp, Chosen, Command, DecodeError, Entry, HandOver, Leader, LogIndex, Move, Opened,
    Placement, Replicas, Term, Uuid, Voter, Voters,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn at(shard: u16) -> Placement {
    Placement { node: NodeId(1), shard: ShardId(shard) }
}

fn golden() -> Vec<(Command, &'static str)> {
    [unreplicated(), golden_of_voters(), replicated(), moves()].concat()
}

/// As they were written before partitions had several replicas.
fn unreplicated() -> Vec<(Command, &'static str)> {
    let (node, shard, topic) = (NodeId(1), ShardId(2), TopicNumber(3));
    let boot = Incarnation(5);
    let registered = NodeRegistered {
        node,
        shards: 4,
        host: "n".into(),
        port: 9092,
        core_host: "c".into(),
        core_port: 9100,
        rack: Some("r".into()),
    };
    let created = TopicCreated {
        topic,
        uuid: Uuid([0xee; 16]),
        name: "t".into(),
        placements: vec![Replicas::one(at(0)), Replicas::one(at(2))],
        configs: vec![("k".into(), "v".into())],
    };
    let changes = vec![("k".into(), Some("v".into())), ("d".into(), None)];
    vec![
        (
            Command::ClusterFormed {
                cluster: Uuid([0xcc; 16]),
                feature_level: 1,
                voters: Voters::default(),
            },
            "0101cccccccccccccccccccccccccccccccc0100",
        ),
        (Command::NodeRegistered(registered), "02010100040001006e84230100638c2301010072"),
        (
            Command::ShardBooted { node, shard, journal: 4, boot },
            "030101000200040000000000000005000000",
        ),
        (
            Command::TopicCreated(created),
            concat!(
                "040103000000",
                "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
                "010074",
                "020000000100000001000200",
                "0100000001006b010076"
            ),
        ),
        (Command::TopicDeleted { topic }, "050103000000"),
        (
            Command::PartitionsAdded { topic, placements: vec![Replicas::one(at(2))] },
            "0601030000000100000001000200",
        ),
        (
            Command::TopicConfigured { topic, changes },
            concat!("070103000000", "0200000001006b010100760100", "6400"),
        ),
        (
            Command::ProducerIdsGranted { node, shard, boot, first: ProducerId(1001) },
            "08010100020005000000e903000000000000",
        ),
        (Command::FeatureLevelRaised { level: 1 }, "09010100"),
    ]
}

fn golden_of_voters() -> Vec<(Command, &'static str)> {
    let node = NodeId(1);
    let voter = Voter { node, journal: 10 };
    let voters = Voters::new([Voter { node: NodeId(2), journal: u64::MAX }, voter]);
    let (cluster, voters) = (Uuid([0xcc; 16]), voters.expect("two nodes"));
    vec![
        (
            Command::ClusterFormed { cluster, feature_level: 1, voters },
            concat!(
                "0102cccccccccccccccccccccccccccccccc0100",
                "0200000001000a000000000000000200ffffffffffffffff"
            ),
        ),
        (Command::VoterAdded(voter), "0a0101000a00000000000000"),
        (Command::VoterRemoved(voter), "0b0101000a00000000000000"),
        (Command::LeaderElected { node }, "0c010100"),
    ]
}

/// One item: partition, epoch, leader, its boot, config version.
macro_rules! chosen {
    () => {
        "010000000300000001000000060000000100020004000000000000000500000007000000"
    };
}

fn replicated() -> Vec<(Command, &'static str)> {
    let (node, shard, topic) = (NodeId(1), ShardId(2), TopicNumber(3));
    let boot = Boot { journal: 4, boot: Incarnation(5) };
    let pair = Replicas::new(&[at(0), at(2)]).unwrap();
    let created = TopicCreated {
        topic,
        uuid: Uuid([0xee; 16]),
        name: "t".into(),
        placements: vec![pair],
        configs: Vec::new(),
    };
    let id = PartitionId::new(topic, 1);
    let leader = Leader { placement: at(2), boot };
    let chosen = vec![Chosen { partition: id, epoch: Epoch(6), leader, config_version: 7 }];
    let opened = vec![Opened { partition: id, epoch: Epoch(6) }];
    vec![
        (
            Command::TopicCreated(created),
            concat!(
                "040203000000",
                "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
                "010074",
                "01000000020100000001000200",
                "00000000"
            ),
        ),
        (
            Command::PartitionsAdded { topic, placements: vec![pair] },
            "06020300000001000000020100000001000200",
        ),
        (Command::ShardFenced { node, shard, boot }, "200101000200040000000000000005000000"),
        (Command::ShardReturned { node, shard, boot }, "210101000200040000000000000005000000"),
        (Command::ShardDistrusted { node, shard }, "220101000200"),
        (Command::LeadersChosen { chosen: chosen.clone() }, concat!("2301", chosen!())),
        (Command::LeadersHandedOver { chosen: chosen.clone() }, concat!("2401", chosen!())),
        (
            Command::UncleanElectionsAllowed { elections: opened.clone() },
            "250101000000030000000100000006000000",
        ),
        (Command::UncleanLeadersChosen { chosen: chosen.clone() }, concat!("2601", chosen!())),
        (Command::EpochsOpened { opened }, "270101000000030000000100000006000000"),
        (Command::ReassignmentsJoined { chosen }, concat!("2a01", chosen!())),
    ]
}

fn moves() -> Vec<(Command, &'static str)> {
    let id = PartitionId::new(TopicNumber(3), 1);
    let boot = Boot { journal: 4, boot: Incarnation(5) };
    let target = Replicas::new(&[at(0), at(2)]).unwrap();
    let caught_up = vec![CaughtUp { partition: id, epoch: Epoch(6), replica: at(2), boot }];
    let hand_overs = vec![HandOver { partition: id, epoch: Epoch(6), to: at(2) }];
    vec![
        (
            Command::ReassignmentsStarted { moves: vec![Move { partition: id, target }] },
            "2801010000000300000001000000020100000001000200",
        ),
        (Command::ReassignmentsCancelled { partitions: vec![id] }, "2901010000000300000001000000"),
        (
            Command::ReplicasCaughtUp { caught_up },
            "2b010100000003000000010000000600000001000200040000000000000005000000",
        ),
        (Command::HandOversWanted { hand_overs }, "2c010100000003000000010000000600000001000200"),
    ]
}

#[test]
fn commands_have_these_bytes() {
    for (command, expected) in golden() {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        assert_eq!(hex(&bytes), expected, "{command:?}");
    }
}

#[test]
fn an_entry_is_term_index_and_command() {
    let entry = Entry {
        term: Term(2),
        index: LogIndex(7),
        command: Command::TopicDeleted { topic: TopicNumber(3) },
    };
    let mut bytes = entry.encode();
    assert_eq!(hex(&bytes), "020000000700000000000000050103000000");
    bytes[13] = 2;
    let refused = DecodeError::UnknownVersion { kind: 5, version: 2 };
    assert_eq!(Entry::decode(&bytes), Err(refused));
    bytes[12..14].copy_from_slice(&[200, 1]);
    assert_eq!(Entry::decode(&bytes), Err(DecodeError::UnknownKind(200)));
}

fn entries() -> Vec<Vec<u8>> {
    let entry = |command| Entry { term: Term(1), index: LogIndex(1), command }.encode();
    golden().into_iter().map(|(command, _)| entry(command)).collect()
}

#[test]
fn every_proper_prefix_and_every_longer_entry_is_refused() {
    for bytes in entries() {
        for len in 0..bytes.len() {
            assert!(Entry::decode(&bytes[..len]).is_err(), "{len} of {}", hex(&bytes));
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(Entry::decode(&longer), Err(DecodeError::Trailing { bytes: 1 }));
    }
}

proptest! {
    /// What decodes encodes to the same bytes: no two spellings of one entry, and no panic.
    #[test]
    fn arbitrary_bytes_are_refused_or_canonical(
        which in any::<prop::sample::Index>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = which.get(&entries()).clone();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_eq!(entry.encode(), bytes);
        }
    }
}
