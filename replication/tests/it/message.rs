//! The messages between data shards: they survive the wire, and no bytes hurt who reads them.

use base::{
    Committed, Epoch, Incarnation, LogEnd, LogStart, NodeId, Offset, PartitionId, Reign, ShardId,
    TopicNumber,
};
use proptest::collection::vec;
use proptest::prelude::*;
use replication::node::Boot;
use replication::replica::message::{
    AppendHeader, EpochOpen, FRAME_BYTES_MAX, Hello, Nack, NackCause, Opening, VERSIONS, Versions,
    Watermark,
};
use replication::replica::{Frame, Message, StreamId, StreamSeq, split_frame};
use replication::{DecodeError, LogIndex, Placement, Uuid};

fn offset() -> impl Strategy<Value = Offset> {
    (0..=i64::MAX as u64).prop_map(Offset)
}

fn partition() -> impl Strategy<Value = PartitionId> {
    any::<(u32, u32)>().prop_map(|(topic, index)| PartitionId::new(TopicNumber(topic), index))
}

fn boot() -> impl Strategy<Value = Boot> {
    any::<(u64, u32)>().prop_map(|(journal, boot)| Boot { journal, boot: Incarnation(boot) })
}

fn placement() -> impl Strategy<Value = Placement> {
    any::<(u16, u16)>()
        .prop_map(|(node, shard)| Placement { node: NodeId(node), shard: ShardId(shard) })
}

fn history() -> impl Strategy<Value = Vec<Reign>> {
    vec((1u32..9, 1u64..99), 0..6).prop_map(|steps| {
        let mut at = (0, 0);
        let rise = |(epoch, start): (u32, u64)| {
            at = (at.0 + epoch, at.1 + start);
            Reign { epoch: Epoch(at.0), start: Offset(at.1) }
        };
        steps.into_iter().map(rise).collect()
    })
}

fn hello() -> impl Strategy<Value = Hello> {
    let ids = (any::<[u8; 16]>(), placement(), placement(), boot());
    let rest = (any::<(u16, u16)>(), any::<(u64, u64)>(), any::<[u8; 16]>());
    (ids, rest).prop_map(|((cluster, from, to, boot), ((min, max), (stream, index), challenge))| {
        Hello {
            versions: Versions { min, max },
            cluster: Uuid(cluster),
            from,
            to,
            boot,
            stream: StreamId(stream),
            cluster_index: LogIndex(index),
            challenge,
        }
    })
}

fn epoch_open() -> impl Strategy<Value = EpochOpen> {
    let opening = proptest::option::of((history(), offset()));
    let ends = (offset(), offset(), offset(), offset());
    (any::<(u64, u64, u32, u32)>(), any::<(u32, u64)>(), partition(), ends, opening).prop_map(
        |((stream, seq, epoch, reign), (config_version, index), partition, ends, opening)| {
            EpochOpen {
                stream: StreamId(stream),
                seq: StreamSeq(seq),
                partition,
                epoch: Epoch(epoch),
                reign: Reign { epoch: Epoch(reign), start: ends.0 },
                config_version,
                cluster_index: LogIndex(index),
                log_start: LogStart(ends.1),
                committed: Committed(ends.2),
                acked: ends.3,
                opening: opening.map(|(history, end)| Opening { history, log_end: LogEnd(end) }),
            }
        },
    )
}

fn append_header() -> impl Strategy<Value = AppendHeader> {
    (any::<(u64, u64, u32, u32)>(), partition(), offset(), offset(), offset()).prop_map(
        |((stream, seq, epoch, last), partition, from, committed, log_start)| AppendHeader {
            stream: StreamId(stream),
            seq: StreamSeq(seq),
            partition,
            epoch: Epoch(epoch),
            previous: (Epoch(last), from),
            committed: Committed(committed),
            log_start: LogStart(log_start),
        },
    )
}

fn watermark() -> impl Strategy<Value = Watermark> {
    (partition(), any::<u32>(), offset(), offset()).prop_map(
        |(partition, epoch, committed, log_start)| Watermark {
            partition,
            epoch: Epoch(epoch),
            committed: Committed(committed),
            log_start: LogStart(log_start),
        },
    )
}

fn nack() -> impl Strategy<Value = Nack> {
    use NackCause::{Busy, Deposed, Halted, Position, Unknown};
    let cause = prop_oneof![Just(Position), Just(Busy), Just(Deposed), Just(Halted), Just(Unknown)];
    (any::<(u64, u64, u32, bool)>(), boot(), partition(), cause, offset(), history()).prop_map(
        |((stream, seq, promised, proven), boot, partition, cause, end, history)| Nack {
            stream: StreamId(stream),
            boot,
            seq: StreamSeq(seq),
            partition,
            cause,
            promised: Epoch(promised),
            log_end: LogEnd(end),
            proven,
            history,
        },
    )
}

/// Frames of every kind.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let encoded = |message: Message<'_>| {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    };
    prop_oneof![
        hello().prop_map(move |hello| encoded(Message::Hello(hello))),
        any::<[u8; 32]>().prop_map(move |response| encoded(Message::Proof { response })),
        epoch_open().prop_map(move |open| encoded(Message::EpochOpen(open))),
        (append_header(), vec(any::<u8>(), 0..200)).prop_map(move |(header, batches)| encoded(
            Message::Append { header, batches: &batches }
        )),
        (any::<(u64, u64)>(), vec(watermark(), 0..5)).prop_map(
            move |((stream, last), watermarks)| encoded(Message::Heartbeat {
                stream: StreamId(stream),
                last: StreamSeq(last),
                watermarks
            })
        ),
        (any::<(u64, u64, u32)>(), partition()).prop_map(
            move |((stream, seq, epoch), partition)| encoded(Message::Vouch {
                stream: StreamId(stream),
                seq: StreamSeq(seq),
                partition,
                epoch: Epoch(epoch)
            })
        ),
        (any::<(u64, u64)>(), boot()).prop_map(move |((stream, seq), boot)| encoded(
            Message::Ack { stream: StreamId(stream), boot, seq: StreamSeq(seq) }
        )),
        nack().prop_map(move |nack| encoded(Message::Nack(nack))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn a_message_survives_the_wire(frame in frame(), behind in vec(any::<u8>(), 0..5)) {
        let bytes = [&frame[..], &behind].concat();
        let Frame { body, rest } = split_frame(&bytes).unwrap().unwrap();
        prop_assert_eq!(rest, &behind[..]);
        let mut again = Vec::new();
        Message::decode(body).unwrap().encode(&mut again);
        prop_assert_eq!(again, frame);
    }

    #[test]
    fn a_cut_frame_waits_and_a_cut_body_is_refused(frame in frame(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(frame.len());
        prop_assert_eq!(split_frame(&frame[..cut]), Ok(None));
        let body = &frame[4..];
        if cut < body.len() && !matches!(Message::decode(body), Ok(Message::Append { .. })) {
            prop_assert!(Message::decode(&body[..cut]).is_err());
        }
    }

    /// What decodes at all encodes to the very bytes it came from: nothing is guessed.
    #[test]
    fn mutated_bytes_never_hurt(
        frame in frame(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut body = frame[4..].to_vec();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if let Ok(message) = Message::decode(&body) {
            let mut again = Vec::new();
            message.encode(&mut again);
            prop_assert_eq!(&again[4..], &body[..]);
        }
    }

    #[test]
    fn random_bytes_never_hurt(kind in 0u8..10, bytes in vec(any::<u8>(), 0..300)) {
        let _ = split_frame(&bytes);
        let _ = Message::decode(&[&[kind], &bytes[..]].concat());
    }
}

#[test]
fn a_count_beyond_the_bytes_takes_no_memory() {
    let mut frame = Vec::new();
    let (stream, last) = (StreamId(1), StreamSeq(2));
    Message::Heartbeat { stream, last, watermarks: Vec::new() }.encode(&mut frame);
    let count_at = frame.len() - 4;
    frame[count_at..].copy_from_slice(&u32::MAX.to_le_bytes());
    let claimed = DecodeError::Count { claimed: u32::MAX, bytes: 0 };
    assert_eq!(Message::decode(&frame[4..]), Err(claimed));
    let long = (FRAME_BYTES_MAX as u32 + 1).to_be_bytes();
    assert_eq!(split_frame(&long), Err(DecodeError::TooLong { bytes: FRAME_BYTES_MAX + 1 }));
}

#[test]
fn an_append_is_the_same_with_and_without_its_batches_at_hand() {
    let header = AppendHeader {
        stream: StreamId(1),
        seq: StreamSeq(2),
        partition: PartitionId::new(TopicNumber(3), 4),
        epoch: Epoch(5),
        previous: (Epoch(5), Offset(6)),
        committed: Committed(Offset(7)),
        log_start: LogStart(Offset(0)),
    };
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    Message::Append { header, batches: b"batches" }.encode(&mut whole);
    header.encode(7, &mut parts);
    parts.extend_from_slice(b"batches");
    assert_eq!(whole, parts);
}

#[test]
fn the_newest_common_version_is_spoken() {
    let versions = |min, max| Versions { min, max };
    assert_eq!(versions(1, 3).agree(versions(2, 5)), Some(3));
    assert_eq!(versions(4, 5).agree(versions(1, 3)), None);
    assert_eq!(VERSIONS.agree(VERSIONS), Some(VERSIONS.max));
}
