//! The bytes of what control cores say about partitions, as version 1 wrote them.

use base::{
    Committed, Durable, Epoch, Incarnation, LogEnd, LogStart, NodeId, Offset, PartitionId, ShardId,
    TopicNumber,
};
use proptest::prelude::*;
use replication::control_message::{
    Beat, Fence, FenceAnswers, Heartbeat, PreFence, PreFenceAnswer, Reports, Slow,
};
use replication::replica::{FenceAnswer, LogView, Proof};
use replication::{
    Boot, CONTROL_MESSAGE_BYTES_MAX, CaughtUp, ControlMessage, DecodeError, HandOver, LogIndex,
    Opened, Placement, Term,
};

const PARTITION: PartitionId = PartitionId::new(TopicNumber(3), 1);
const AT: Placement = Placement { node: NodeId(1), shard: ShardId(2) };
const BOOT: Boot = Boot { journal: 4, boot: Incarnation(5) };

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn view() -> LogView {
    LogView {
        log_start: LogStart(Offset(1)),
        log_end: LogEnd(Offset(9)),
        durable: Durable(Offset(8)),
        committed: Committed(Offset(7)),
        promised: Epoch(6),
        opened: None,
        proof: Proof::Suspect,
    }
}

fn golden() -> Vec<(ControlMessage, &'static str)> {
    let fence = Fence {
        term: Term(2),
        index: LogIndex(7),
        shard: ShardId(2),
        fenced: vec![(AT, BOOT)],
        promises: vec![(PARTITION, Epoch(6))],
    };
    let answer = FenceAnswer { partition: PARTITION, last_epoch: Some(Epoch(5)), view: view() };
    let answers =
        FenceAnswers { term: Term(2), shard: ShardId(2), boot: BOOT, answers: vec![answer] };
    let slow = Slow { disk: true, net: false };
    let beat = Beat { shard: ShardId(2), boot: BOOT, silent_ms: 9, slow };
    let epoch = Epoch(6);
    let reports = Reports {
        opened: vec![Opened { partition: PARTITION, epoch }],
        caught_up: vec![CaughtUp { partition: PARTITION, epoch, replica: AT, boot: BOOT }],
        handed_over: vec![HandOver { partition: PARTITION, epoch, to: AT }],
    };
    vec![
        (
            ControlMessage::Fence(fence),
            concat!(
                "01100200000007000000000000000200",
                "01000000010002000400000000000000050000",
                "0001000000030000000100000006000000"
            ),
        ),
        (
            ControlMessage::FenceAnswers(answers),
            concat!(
                "0111020000000200040000000000000005000000",
                "0100000003000000010000000105000000",
                "0100000000000000090000000000000008000000000000000700000000000000",
                "060000000002"
            ),
        ),
        (
            ControlMessage::PreFence(PreFence { suspect: AT, boot: BOOT, round: 8 }),
            "0112010002000400000000000000050000000800000000000000",
        ),
        (
            ControlMessage::PreFenceAnswer(PreFenceAnswer {
                suspect: AT,
                round: 8,
                heard_ms: Some(9),
            }),
            "01130100020008000000000000000109000000",
        ),
        (
            ControlMessage::Heartbeat(Heartbeat { beats: vec![beat], leaves: false }),
            "011401000000020004000000000000000500000009000000010000",
        ),
        (
            ControlMessage::Died(vec![(ShardId(2), BOOT)]),
            "0115010000000200040000000000000005000000",
        ),
        (
            ControlMessage::Reports(reports),
            concat!(
                "0116010000000300000001000000060000000100000003000000010000000600000001000200",
                "04000000000000000500000001000000030000000100000006000000",
                "01000200"
            ),
        ),
    ]
}

#[test]
fn messages_about_partitions_have_these_bytes() {
    for (message, expected) in golden() {
        assert_eq!(hex(&message.encode()), expected, "{message:?}");
    }
}

#[test]
fn their_prefixes_and_longer_ones_are_refused() {
    for (message, _) in golden() {
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
fn the_largest_fence_and_its_answer_fit_a_message() {
    let partitions = (0..replication::control_message::FENCE_PARTITIONS_MAX as u32)
        .map(|index| PartitionId::new(TopicNumber(3), index));
    let answer = |partition| FenceAnswer {
        partition,
        last_epoch: Some(Epoch(5)),
        view: LogView { opened: Some(Epoch(6)), ..view() },
    };
    let answers = FenceAnswers {
        term: Term(2),
        shard: ShardId(2),
        boot: BOOT,
        answers: partitions.map(answer).collect(),
    };
    assert!(ControlMessage::FenceAnswers(answers).encode().len() < CONTROL_MESSAGE_BYTES_MAX);
}

proptest! {
    #[test]
    fn arbitrary_bytes_about_partitions_are_refused_or_canonical(
        which in any::<prop::sample::Index>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = which.get(&golden()).0.encode();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(message) = ControlMessage::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }
}
