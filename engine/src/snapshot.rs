//! A partition's control state in one entry: what is carried forward so that the journal's start can
//! pass everything the partition ever said.
//!
//! ```text
//!   head │ reigns × 12 B │ gaps × 16 B │ promised epoch u32, if flagged │ producers
//!
//!   head: log start u64, log end u64, committed u64, born u64, last append ms i64,
//!         opened epoch u32 (all ones: none), reigns u32, gaps u32, producers u32,
//!         halt: from u64, to u64 (all ones: not known), bin u32, frame or position u64,
//!         cause u8 (0 none, 1 frame, 2 extent, 3 hole), tail suspect u8,
//!         flags u8 (1 replicated, 2 rebuilding, 4 promised), zero u8
//! ```
//! A snapshot holds the effect of every entry before it, so replay lets it replace whatever it had
//! pieced together. Little-endian.

use base::{
    Committed, Epoch, EpochHistory, FileId, FileKind, LogEnd, LogStart, Offset, Reign, Seq, ShardId,
};
use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::halt::{Halt, HaltCause};
use crate::partition::{Gap, Partition};
use crate::partitions::Slot;
use crate::producers::Producers;
use crate::{Mutant, Planted};

const NO_EPOCH: u32 = u32::MAX;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    log_start: U64,
    log_end: U64,
    committed: U64,
    born: U64,
    last_append_ms: I64,
    opened: U32,
    reigns: U32,
    gaps: U32,
    producers: U32,
    halt: HaltBytes,
    flags: u8,
    zero: u8,
}

const REPLICATED: u8 = 1;
const REBUILDING: u8 = 2;
const PROMISED: u8 = 4;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct HaltBytes {
    from: U64,
    to: U64,
    bin: U32,
    place: U64,
    cause: u8,
    tail_suspect: u8,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ReignBytes {
    epoch: U32,
    start: U64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct GapBytes {
    from: U64,
    to: U64,
}

/// Writes down `partition` and its producers into `out`, which is cleared first: at most `max` bytes,
/// for which the producers that came first may be left out.
pub(crate) fn encode(
    partition: &Partition,
    slot: Slot,
    producers: &Producers,
    max: u32,
    out: &mut Vec<u8>,
) {
    out.clear();
    out.resize(size_of::<Head>(), 0);
    for reign in partition.history.reigns() {
        let bytes = ReignBytes { epoch: reign.epoch.0.into(), start: reign.start.0.into() };
        out.extend_from_slice(bytes.as_bytes());
    }
    for gap in &partition.gaps {
        let bytes = GapBytes { from: gap.from.0.into(), to: gap.to.0.into() };
        out.extend_from_slice(bytes.as_bytes());
    }
    let flags = flags(partition, producers.planted());
    if flags & PROMISED != 0 {
        out.extend_from_slice(U32::from(partition.promised.0).as_bytes());
    }
    let producers = producers.encode(slot, max as usize, out);
    let head = Head {
        log_start: partition.log_start.0.0.into(),
        log_end: partition.log_end.0.0.into(),
        committed: partition.committed.0.0.into(),
        born: partition.born.0.into(),
        last_append_ms: partition.last_append_ms.into(),
        opened: partition.history.opened().map_or(NO_EPOCH, |epoch| epoch.0).into(),
        reigns: (partition.history.reigns().len() as u32).into(),
        gaps: (partition.gaps.len() as u32).into(),
        producers: producers.into(),
        halt: HaltBytes::new(partition.halt, partition.tail_suspect),
        flags,
        zero: 0,
    };
    out[..size_of::<Head>()].copy_from_slice(head.as_bytes());
}

fn flags(partition: &Partition, planted: Planted) -> u8 {
    let promised = Epoch(0) < partition.promised && !planted.is(Mutant::ForgetCarriedPromise);
    [
        (partition.settings.replicated, REPLICATED),
        (partition.rebuilding, REBUILDING),
        (promised, PROMISED),
    ]
    .into_iter()
    .fold(0, |flags, (is, flag)| if is { flags | flag } else { flags })
}

/// Puts the state that [`encode`] wrote in the place of the partition's. `None` if the bytes are no
/// snapshot: the journal's checksums held, so another build wrote them.
pub(crate) fn restore(
    partition: &mut Partition,
    slot: Slot,
    producers: &mut Producers,
    shard: ShardId,
    bytes: &[u8],
) -> Option<()> {
    let (head, rest) = Head::ref_from_prefix(bytes).ok()?;
    let count = |field: U32| field.get() as usize;
    let (reigns, rest) =
        <[ReignBytes]>::ref_from_prefix_with_elems(rest, count(head.reigns)).ok()?;
    let (gaps, rest) = <[GapBytes]>::ref_from_prefix_with_elems(rest, count(head.gaps)).ok()?;
    let (promised, rest) = if head.flags & PROMISED == 0 {
        (0, rest)
    } else {
        let (promised, rest) = U32::ref_from_prefix(rest).ok()?;
        (promised.get(), rest)
    };
    let reign = |bytes: &ReignBytes| Reign {
        epoch: Epoch(bytes.epoch.get()),
        start: Offset(bytes.start.get()),
    };
    let opened = Some(head.opened.get()).filter(|epoch| *epoch != NO_EPOCH).map(Epoch);
    partition.history = EpochHistory::restore(reigns.iter().map(reign).collect(), opened)?;
    let gap = |bytes: &GapBytes| Gap { from: Offset(bytes.from.get()), to: Offset(bytes.to.get()) };
    partition.gaps = gaps.iter().map(gap).collect();
    partition.log_start = LogStart(Offset(head.log_start.get()));
    partition.log_end = LogEnd(Offset(head.log_end.get()));
    partition.committed = Committed(Offset(head.committed.get()));
    partition.born = Seq(head.born.get());
    partition.last_append_ms = head.last_append_ms.get();
    partition.halt = head.halt.decode(shard);
    partition.tail_suspect = head.halt.tail_suspect != 0;
    partition.promised = Epoch(promised);
    partition.rebuilding = head.flags & REBUILDING != 0;
    partition.settings.replicated = head.flags & REPLICATED != 0;
    producers.restore(slot, head.producers.get(), rest)
}

const NOT_KNOWN: u64 = u64::MAX;

impl HaltBytes {
    fn new(halt: Option<Halt>, tail_suspect: bool) -> Self {
        let (cause, bin, place) = match halt.map(|halt| halt.cause) {
            None => (0, 0, 0),
            Some(HaltCause::Frame(seq)) => (1, 0, seq.0),
            Some(HaltCause::Extent { file, pos }) => (2, bin_of(file), pos),
            Some(HaltCause::Hole) => (3, 0, 0),
        };
        let to = halt.and_then(|halt| halt.to);
        Self {
            from: halt.map_or(0, |halt| halt.from.0).into(),
            to: to.map_or(NOT_KNOWN, |to| to.0).into(),
            bin: bin.into(),
            place: place.into(),
            cause,
            tail_suspect: u8::from(tail_suspect),
        }
    }

    fn decode(&self, shard: ShardId) -> Option<Halt> {
        let cause = match self.cause {
            0 => return None,
            1 => HaltCause::Frame(Seq(self.place.get())),
            2 => {
                let file = FileId { shard, kind: FileKind::Bin(self.bin.get()) };
                HaltCause::Extent { file, pos: self.place.get() }
            }
            _ => HaltCause::Hole,
        };
        let to = Some(self.to.get()).filter(|to| *to != NOT_KNOWN).map(Offset);
        Some(Halt { cause, from: Offset(self.from.get()), to })
    }
}

fn bin_of(file: FileId) -> u32 {
    match file.kind {
        FileKind::Bin(bin) => bin,
        FileKind::Segment(_) => unreachable!("extents stand in bins"),
    }
}

#[cfg(test)]
mod tests {
    use base::{PartitionId, TopicNumber};

    use super::*;
    use crate::PartitionSettings;

    fn partition() -> Partition {
        let id = PartitionId::new(TopicNumber(1), 2);
        Partition::new(id, PartitionSettings::default())
    }

    #[test]
    fn a_snapshot_replaces_all_state() {
        let mut before = partition();
        before.history.open(Epoch(1), Offset(0));
        before.history.open(Epoch(4), Offset(9));
        before.gaps.push(Gap { from: Offset(3), to: Offset(5) });
        before.log_start = LogStart(Offset(2));
        before.log_end = LogEnd(Offset(11));
        before.committed = Committed(Offset(10));
        (before.born, before.last_append_ms) = (Seq(77), 123);
        let file = FileId { shard: ShardId(0), kind: FileKind::Bin(3) };
        let cause = HaltCause::Extent { file, pos: 8192 };
        before.halt = Some(Halt { cause, from: Offset(7), to: None });
        before.tail_suspect = true;
        (before.promised, before.rebuilding) = (Epoch(6), true);
        before.settings.replicated = true;
        let mut producers = Producers::new(9, Planted::default());
        let mut bytes = vec![1; 3];
        encode(&before, Slot::at(0), &producers, 1 << 20, &mut bytes);

        let mut after = partition();
        after.history.open(Epoch(9), Offset(0));
        restore(&mut after, Slot::at(0), &mut producers, ShardId(0), &bytes).unwrap();
        assert_eq!(after.history, before.history);
        assert_eq!(after.gaps, before.gaps);
        assert_eq!((after.log_start, after.log_end), (before.log_start, before.log_end));
        assert_eq!((after.committed, after.born), (before.committed, before.born));
        assert_eq!((after.halt, after.tail_suspect), (before.halt, true));
        assert_eq!(after.last_append_ms, 123);
        assert_eq!((after.promised, after.rebuilding), (Epoch(6), true));
        assert!(after.settings.replicated);
        for len in 0..bytes.len() {
            let short = restore(&mut after, Slot::at(0), &mut producers, ShardId(0), &bytes[..len]);
            assert!(short.is_none(), "{len} bytes");
        }
    }

    #[test]
    fn a_snapshot_from_before_there_were_replicas_reads_as_ever() {
        let mut before = partition();
        before.history.open(Epoch(4), Offset(9));
        before.log_end = LogEnd(Offset(11));
        let mut producers = Producers::new(9, Planted::default());
        let mut bytes = Vec::new();
        encode(&before, Slot::at(0), &producers, 1 << 20, &mut bytes);
        assert_eq!(bytes.len(), size_of::<Head>() + size_of::<ReignBytes>(), "not one byte more");
        assert_eq!(bytes[size_of::<Head>() - 2..size_of::<Head>()], [0, 0]);
        let mut after = partition();
        (after.promised, after.rebuilding) = (Epoch(6), true);
        restore(&mut after, Slot::at(0), &mut producers, ShardId(0), &bytes).unwrap();
        assert_eq!((after.promised, after.rebuilding), (Epoch(0), false));
        assert!(!after.settings.replicated);
    }
}
