//! The bytes of every message between control cores, as version 1 wrote them.

use base::{Incarnation, TopicNumber};
use proptest::prelude::*;
use replication::cluster_log::message::{Position, RaftBody, RaftMessage};
use replication::node::Boot;
use replication::{
    CONTROL_MESSAGE_BYTES_MAX, Command, ControlMessage, DecodeError, LogIndex, Outcome, Term,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Version, kind, and the head of every message of the cluster log.
const RAFT: &str = "0101070000000000000002000000080000000000000003000000";

/// What is said of proposals.
fn golden_of_proposals() -> Vec<(ControlMessage, String)> {
    let command = Command::TopicDeleted { topic: TopicNumber(3) };
    let proposed = |outcome| ControlMessage::Proposed { ticket: 9, outcome };
    let (index, term) = (LogIndex(5), Term(2));
    let all = [
        (ControlMessage::Propose { ticket: 9, command }, "01020900000000000000050103000000"),
        (
            proposed(Outcome::Taken { index, term }),
            "0103090000000000000001050000000000000002000000",
        ),
        (proposed(Outcome::Refused { after: index }), "01030900000000000000020500000000000000"),
        (proposed(Outcome::NotNow), "0103090000000000000003"),
    ];
    all.map(|(message, hex)| (message, hex.to_owned())).into()
}

fn golden_of_echoes() -> Vec<(ControlMessage, String)> {
    let sent = base::Instant(7);
    let all = [
        (ControlMessage::Echo { sent }, "01170700000000000000"),
        (ControlMessage::Echoed { sent }, "01180700000000000000"),
    ];
    all.map(|(message, hex)| (message, hex.to_owned())).into()
}

fn golden() -> Vec<(ControlMessage, String)> {
    let raft = |body, hex: &str| {
        let sender = Boot { journal: 7, boot: Incarnation(2) };
        let message = RaftMessage { sender, receiver: 8, term: Term(3), body };
        (ControlMessage::Raft(message), format!("{RAFT}{hex}"))
    };
    let position = Position { index: LogIndex(5), term: Term(2) };
    let at = LogIndex;
    let append = RaftBody::Append {
        previous: position,
        committed: at(4),
        entries: vec![vec![0xaa, 0xbb], vec![0xcc]],
    };
    vec![
        raft(RaftBody::Present { round: 9, last: at(5) }, "0109000000000000000500000000000000"),
        raft(RaftBody::Seen { round: 9, last: at(5) }, "0209000000000000000500000000000000"),
        raft(
            RaftBody::AskVote { trial: true, urgent: false, last: position },
            "030100050000000000000002000000",
        ),
        raft(RaftBody::Vote { trial: false, granted: true }, "040001"),
        raft(
            append,
            concat!("05050000000000000002000000", "04000000000000000200000002000000aabb01000000cc"),
        ),
        raft(RaftBody::Appended { count: 9, matched: at(5) }, "0609000000000000000500000000000000"),
        raft(
            RaftBody::Missing { count: 9, previous: at(6), last: at(5), retry: at(3) },
            concat!("07090000000000000006000000000000000500000000000000", "0300000000000000"),
        ),
    ]
}

fn all_golden() -> Vec<(ControlMessage, String)> {
    [golden(), golden_of_proposals(), golden_of_echoes()].concat()
}

#[test]
fn messages_have_these_bytes() {
    for (message, expected) in all_golden() {
        assert_eq!(hex(&message.encode()), expected, "{message:?}");
    }
}

#[test]
fn every_proper_prefix_and_every_longer_message_is_refused() {
    for (message, _) in all_golden() {
        let bytes = message.encode();
        assert_eq!(ControlMessage::decode(&bytes).as_ref(), Ok(&message));
        for len in 0..bytes.len() {
            assert!(ControlMessage::decode(&bytes[..len]).is_err(), "{len} of {message:?}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(ControlMessage::decode(&longer), Err(DecodeError::Trailing { bytes: 1 }));
    }
}

#[test]
fn a_message_of_another_version_or_beyond_the_bound_is_refused() {
    let (message, _) = golden().remove(0);
    let mut bytes = message.encode();
    bytes[0] = 2;
    let refused = DecodeError::UnknownVersion { kind: 1, version: 2 };
    assert_eq!(ControlMessage::decode(&bytes), Err(refused));
    let bytes = vec![1; CONTROL_MESSAGE_BYTES_MAX + 1];
    let refused = DecodeError::TooLong { bytes: bytes.len() };
    assert_eq!(ControlMessage::decode(&bytes), Err(refused));
}

proptest! {
    /// What decodes encodes to the same bytes: no two spellings of one message, and no panic.
    #[test]
    fn arbitrary_bytes_are_refused_or_canonical(
        which in any::<prop::sample::Index>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let golden = all_golden();
        let mut bytes = which.get(&golden).0.encode();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(message) = ControlMessage::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }
}
