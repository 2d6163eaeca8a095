//! The bytes of every command, as version 1 wrote them. They never change.

use base::{Incarnation, NodeId, ProducerId, ShardId, TopicNumber};
use proptest::prelude::*;
use replication::command::{NodeRegistered, TopicCreated};
use replication::{Command, DecodeError, Entry, LogIndex, Placement, Term, Uuid, Voter, Voters};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn at(shard: u16) -> Placement {
    Placement { node: NodeId(1), shard: ShardId(shard) }
}

fn golden() -> Vec<(Command, &'static str)> {
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
        placements: vec![at(0), at(2)],
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
            Command::PartitionsAdded { topic, placements: vec![at(2)] },
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

/// Every command with its bytes.
fn all_golden() -> Vec<(Command, &'static str)> {
    [golden(), golden_of_voters()].concat()
}

#[test]
fn commands_have_these_bytes() {
    for (command, expected) in all_golden() {
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
    all_golden().into_iter().map(|(command, _)| entry(command)).collect()
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
