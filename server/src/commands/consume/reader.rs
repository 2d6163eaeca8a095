//! Fetches: one under way at each leader, records handed out as they come.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use base::batch::{Record, records};
use base::{Batch, BatchError};
use net::api::fetch;
use net::{ErrorCode, ReplyTo, each};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::position::Position;
use crate::client::compression::Codec;
use crate::client::{ClientError, Cluster, offsets};

/// A fetch that finds nothing is answered after this long.
const MAX_WAIT: Duration = Duration::from_millis(500);
const FETCH_BYTES_MAX: i32 = 50 << 20;
const PARTITION_BYTES_MAX: i32 = 4 << 20;
/// Between two attempts while a partition changes its leader.
const RETRY: Duration = Duration::from_millis(100);

/// A record and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Consumed<'a> {
    pub(super) partition: i32,
    pub(super) offset: u64,
    /// Since 1970.
    pub(super) timestamp_ms: i64,
    pub(super) record: Record<'a>,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Reader {
    cluster: Cluster,
    topic: String,
    /// Partitions that have not ended.
    cursors: BTreeMap<i32, Cursor>,
    /// Leaders with a fetch under way.
    asked: BTreeMap<i32, ReplyTo>,
    moved: bool,
}

#[derive(Clone, Copy, Debug)]
struct Cursor {
    leader: i32,
    next: i64,
    /// One past the last offset wanted.
    end: i64,
    /// Since when nothing but refusals came.
    refused_since: Option<Instant>,
}

impl Reader {
    /// Finds where each partition begins and ends.
    pub(super) fn start(
        mut cluster: Cluster,
        topic: &str,
        partitions: &[i32],
        from: Position,
        follow: bool,
    ) -> Result<Self, ClientError> {
        let known = cluster.topic(topic, false)?;
        let mut wanted: BTreeMap<i32, i32> = known
            .partitions
            .iter()
            .map(|p| (p.index, p.leader.expect("a topic is taken once all are led")))
            .collect();
        if let Some(partition) = partitions.iter().find(|index| !wanted.contains_key(index)) {
            let (topic, partition) = (topic.to_owned(), *partition);
            return Err(ClientError::NoPartition { topic, partition });
        }
        wanted.retain(|index, _| partitions.is_empty() || partitions.contains(index));
        let starts = starts(&mut cluster, topic, &wanted, from)?;
        let ends = match follow {
            true => BTreeMap::new(),
            false => offsets::find(&mut cluster, topic, &wanted, offsets::LATEST)?,
        };
        let cursor = |(index, leader): (i32, i32)| {
            let end = ends.get(&index).copied().unwrap_or(i64::MAX);
            (index, Cursor { leader, next: starts[&index], end, refused_since: None })
        };
        let mut cursors: BTreeMap<_, _> = wanted.into_iter().map(cursor).collect();
        if let Some((index, cursor)) = cursors.iter().find(|(_, c)| c.end < c.next) {
            let subject = format!("reading {topic}-{index} at {}", cursor.next);
            return Err(ClientError::Refused {
                subject,
                code: ErrorCode::OffsetOutOfRange,
                message: None,
            });
        }
        cursors.retain(|_, cursor| cursor.next < cursor.end);
        let asked = BTreeMap::new();
        Ok(Self { cluster, topic: topic.to_owned(), cursors, asked, moved: false })
    }

    /// Whether a partition may still give records.
    pub(super) fn is_reading(&self) -> bool {
        !self.cursors.is_empty()
    }

    /// Waits for one answer and hands its records out, until `take` has had enough.
    pub(super) fn advance(
        &mut self,
        mut take: impl FnMut(Consumed<'_>) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        if self.moved {
            self.find_leaders()?;
        }
        self.ask()?;
        let Some(leader) = self.await_answer()? else { return Ok(()) };
        let to = self.asked.remove(&leader).expect("only leaders that were asked are awaited");
        let patience = self.cluster.patience();
        let connection = self.cluster.broker(leader)?;
        let response = connection.receive::<fetch::RequestView<'_>>(to)?;
        ClientError::check(|| "fetching".to_owned(), response.error_code, None)?;
        for data in response.responses.iter().flat_map(|topic| topic.partitions.iter()) {
            let index = data.partition_index;
            let Some(cursor) = self.cursors.get_mut(&index) else { continue };
            let subject = || format!("reading {}-{index} at {}", self.topic, cursor.next);
            match ClientError::check(subject, data.error_code, None) {
                Ok(()) => cursor.refused_since = None,
                Err(error) => {
                    let since = *cursor.refused_since.get_or_insert_with(Instant::now);
                    if !error.is_passing() || patience < since.elapsed() {
                        return Err(error);
                    }
                    self.moved = true;
                }
            }
            let bytes = data.records.map(net::Records::bytes).unwrap_or_default();
            let flow = cursor.hand_out(&self.topic, index, bytes, &mut take)?;
            if cursor.end <= cursor.next {
                self.cursors.remove(&index);
            }
            if flow.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends a fetch to every leader that has none.
    fn ask(&mut self) -> Result<(), ClientError> {
        let mut leaders = BTreeMap::<i32, Vec<fetch::FetchPartition>>::new();
        for (index, cursor) in &self.cursors {
            if !self.asked.contains_key(&cursor.leader) {
                leaders.entry(cursor.leader).or_default().push(fetch::FetchPartition {
                    partition: *index,
                    fetch_offset: cursor.next,
                    partition_max_bytes: PARTITION_BYTES_MAX,
                    ..Default::default()
                });
            }
        }
        for (leader, partitions) in leaders {
            let topic = fetch::FetchTopic {
                topic: &self.topic,
                topic_id: net::Uuid::ZERO,
                partitions: each(partitions.iter().copied()),
            };
            let to = self.cluster.broker(leader)?.send(fetch_of(topic))?;
            self.asked.insert(leader, to);
        }
        Ok(())
    }

    /// A leader whose answer has begun to arrive.
    fn await_answer(&mut self) -> Result<Option<i32>, ClientError> {
        let leaders: Vec<i32> = self.asked.keys().copied().collect();
        if let [only] = leaders[..] {
            return Ok(Some(only));
        }
        let sockets: Vec<_> =
            leaders.iter().filter_map(|leader| self.cluster.connected(*leader)).collect();
        let mut polled: Vec<_> =
            sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        let wait = Timespec { tv_sec: 1, tv_nsec: 0 };
        // An interrupted wait is one that found nothing.
        let _ = poll(&mut polled, Some(&wait));
        let ready = polled.iter().position(|polled| !polled.revents().is_empty());
        Ok(ready.map(|at| leaders[at]))
    }

    fn find_leaders(&mut self) -> Result<(), ClientError> {
        std::thread::sleep(RETRY);
        let topic = self.cluster.topic(&self.topic, false)?;
        for partition in topic.partitions {
            let leader = partition.leader.expect("a topic is taken once all are led");
            if let Some(cursor) = self.cursors.get_mut(&partition.index) {
                cursor.leader = leader;
            }
        }
        self.moved = false;
        Ok(())
    }
}

fn fetch_of<P: net::List<fetch::FetchPartition>>(
    topic: fetch::FetchTopic<'_, P>,
) -> fetch::Request<'_, [fetch::FetchTopic<'_, P>; 1], net::Empty> {
    fetch::Request {
        cluster_id: None,
        replica_id: -1,
        replica_state: Default::default(),
        max_wait_ms: MAX_WAIT.as_millis() as i32,
        min_bytes: 1,
        max_bytes: FETCH_BYTES_MAX,
        isolation_level: 0,
        session_id: 0,
        session_epoch: -1,
        topics: [topic],
        forgotten_topics_data: net::Empty,
        rack_id: "",
    }
}

fn starts(
    cluster: &mut Cluster,
    topic: &str,
    partitions: &BTreeMap<i32, i32>,
    from: Position,
) -> Result<BTreeMap<i32, i64>, ClientError> {
    let mut find = |timestamp| offsets::find(cluster, topic, partitions, timestamp);
    match from {
        Position::Beginning => find(offsets::EARLIEST),
        Position::End => find(offsets::LATEST),
        Position::Offset(offset) => Ok(partitions.keys().map(|index| (*index, offset)).collect()),
        Position::Last(count) => {
            let (first, mut last) = (find(offsets::EARLIEST)?, find(offsets::LATEST)?);
            for (index, next) in &mut last {
                *next = next.saturating_sub(count).max(first[index]);
            }
            Ok(last)
        }
        Position::Time(ms) => {
            let mut found = find(ms)?;
            // Nothing is that young yet: whatever comes is.
            if found.values().any(|offset| *offset < 0) {
                let last = find(offsets::LATEST)?;
                found.iter_mut().filter(|(_, o)| **o < 0).for_each(|(i, o)| *o = last[i]);
            }
            Ok(found)
        }
    }
}

impl Cursor {
    /// Hands the records of whole batches out, and moves behind what was handed out.
    fn hand_out(
        &mut self,
        topic: &str,
        partition: i32,
        mut bytes: &[u8],
        take: &mut impl FnMut(Consumed<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ClientError> {
        while !bytes.is_empty() {
            let offset = self.next.cast_unsigned();
            let unreadable = |reason: String| ClientError::Batch {
                topic: topic.to_owned(),
                partition,
                offset,
                reason,
            };
            let (batch, rest) = match Batch::parse_sparse_prefix(bytes) {
                Ok(parsed) => parsed,
                // A server may cut the last batch where its limit falls.
                Err(BatchError::Truncated) => break,
                Err(error) => return Err(unreadable(error.to_string())),
            };
            bytes = rest;
            batch.verify_checksum().map_err(|error| unreadable(error.to_string()))?;
            if self.hand_out_batch(partition, batch, take).map_err(unreadable)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            self.next = self.next.max(batch.sparse_end_offset().0.cast_signed());
        }
        Ok(ControlFlow::Continue(()))
    }

    fn hand_out_batch(
        &mut self,
        partition: i32,
        batch: Batch<'_>,
        take: &mut impl FnMut(Consumed<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, String> {
        if batch.is_control() {
            return Ok(ControlFlow::Continue(()));
        }
        let codec = Codec::from_number(batch.codec())
            .ok_or_else(|| format!("codec {} is unknown", batch.codec()))?;
        let plain = codec.decompress(batch.records()).map_err(|error| error.to_string())?;
        let mut count = 0;
        for record in records(&plain) {
            count += 1;
            let offset = batch.base_offset().plus(record.offset_delta.into()).0;
            let is_wanted = (self.next..self.end).contains(&offset.cast_signed());
            let timestamp_ms = if batch.is_log_append_time() {
                batch.max_timestamp()
            } else {
                batch.base_timestamp() + record.timestamp_delta
            };
            if is_wanted && take(Consumed { partition, offset, timestamp_ms, record }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if count != batch.record_count() {
            return Err(format!("record {count} of {} is malformed", batch.record_count()));
        }
        Ok(ControlFlow::Continue(()))
    }
}
