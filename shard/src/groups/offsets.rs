//! Committed offsets of one group: who may commit, what is remembered, and for how long.

use std::collections::BTreeMap;
use std::sync::Arc;

use net::ErrorCode;

use super::ask::{Commit, CommitPartition, FoundOffset, GroupAnswer, Identity, TopicOffsets};
use super::effects::{Context, Then, Write};
use super::group::{Group, State};
use super::mutant::Mutant;
use super::record::{Key, OffsetValue};
use super::subscription::CONSUMER;
use crate::mail::Asker;

impl Group {
    /// Remembers offsets; answered when they are committed.
    pub(super) fn commit(&mut self, cx: &mut Context<'_>, to: Asker, commit: Commit) {
        let may = self.may_commit(cx, &commit.who);
        let mut codes = Vec::with_capacity(commit.partitions.len());
        let mut offsets = Vec::new();
        for partition in commit.partitions {
            let checked = may.and_then(|()| self.check_partition(cx, &partition));
            codes.push(checked.err().unwrap_or(ErrorCode::None));
            if checked.is_ok() {
                let committed_ms = cx.now.wall.0;
                let value = OffsetValue {
                    offset: partition.offset,
                    leader_epoch: partition.leader_epoch,
                    metadata: partition.metadata.into(),
                    committed_ms,
                    expires_ms: commit.retention_ms.map(|kept| committed_ms.saturating_add(kept)),
                };
                offsets.push((partition.topic, partition.index, value));
            }
        }
        if offsets.is_empty() {
            return cx.answer(to, GroupAnswer::Committed(codes));
        }
        let record = |(topic, partition, value): &(Arc<str>, i32, OffsetValue)| {
            let key = Key::Offset { group: &self.id, topic, partition: *partition };
            (key.encode(), Some(value.encode()))
        };
        let records = offsets.iter().map(record).collect();
        let mut waiting = Some((to, codes));
        if cx.planted.is(Mutant::OffsetsBeforeDurable) {
            self.remember(&offsets);
            if let Some((to, codes)) = waiting.take() {
                cx.answer(to, GroupAnswer::Committed(codes));
            }
        }
        self.writing += 1;
        let then = Then::Committed { offsets, to: waiting };
        cx.write(Write { group: Arc::clone(&self.id), records, then });
    }

    /// A member of this generation may, or, while there are no members, anyone who claims to be none.
    fn may_commit(&mut self, cx: &mut Context<'_>, who: &Identity) -> Result<(), ErrorCode> {
        match self.state {
            State::Dead => return Err(ErrorCode::CoordinatorNotAvailable),
            State::Empty if who.generation < 0 && who.member.is_empty() => return Ok(()),
            State::Empty | State::Preparing(_) | State::Completing | State::Stable => {}
        }
        self.check_member(cx, who)?;
        if self.state == State::Completing {
            // Its partitions may be another's by now.
            return Err(ErrorCode::RebalanceInProgress);
        }
        self.touch(cx, &who.member);
        Ok(())
    }

    fn check_partition(
        &self,
        cx: &Context<'_>,
        partition: &CommitPartition,
    ) -> Result<(), ErrorCode> {
        if let Some(code) = partition.refused {
            return Err(code);
        }
        if cx.settings.offset_metadata_bytes_max < partition.metadata.len() {
            return Err(ErrorCode::OffsetMetadataTooLarge);
        }
        if cx.settings.offsets_max <= self.offsets.len() {
            let key = (Arc::clone(&partition.topic), partition.index);
            if !self.offsets.contains_key(&key) {
                return Err(ErrorCode::InvalidCommitOffsetSize);
            }
        }
        Ok(())
    }

    pub(super) fn remember(&mut self, offsets: &[(Arc<str>, i32, OffsetValue)]) {
        for (topic, partition, value) in offsets {
            self.offsets.insert((Arc::clone(topic), *partition), value.clone());
        }
    }

    /// The offsets of these partitions, or all.
    pub(super) fn find(&self, topics: Option<Vec<(String, Vec<i32>)>>) -> Vec<TopicOffsets> {
        let Some(topics) = topics else { return self.find_all() };
        let one = |(name, partitions): (String, Vec<i32>)| {
            let name: Arc<str> = name.into();
            let found = |index| {
                let value = self.offsets.get(&(Arc::clone(&name), index));
                (index, value.map_or_else(FoundOffset::default, found))
            };
            let found = partitions.into_iter().map(found).collect();
            (name, found)
        };
        topics.into_iter().map(one).collect()
    }

    fn find_all(&self) -> Vec<TopicOffsets> {
        let mut topics: Vec<TopicOffsets> = Vec::new();
        for ((topic, partition), value) in &self.offsets {
            let found = (*partition, found(value));
            match topics.last_mut() {
                Some((last, partitions)) if last == topic => partitions.push(found),
                _ => topics.push((Arc::clone(topic), vec![found])),
            }
        }
        topics
    }

    /// Forgets offsets, except of topics that members are subscribed to.
    pub(super) fn delete_offsets(
        &mut self,
        cx: &mut Context<'_>,
        to: Asker,
        partitions: &[(String, i32)],
    ) -> Result<(), ErrorCode> {
        match self.state {
            State::Dead => return Err(ErrorCode::GroupIdNotFound),
            State::Empty => {}
            _ if *self.protocol_type == *CONSUMER => {}
            _ => return Err(ErrorCode::NonEmptyGroup),
        }
        let code = |topic: &str| {
            let subscribed = self.is_subscribed(topic);
            if subscribed { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None }
        };
        let mut by_topic: BTreeMap<&str, ErrorCode> = BTreeMap::new();
        for (topic, _) in partitions {
            by_topic.entry(topic).or_insert_with(|| code(topic));
        }
        let codes: Vec<ErrorCode> =
            partitions.iter().map(|(topic, _)| by_topic[&**topic]).collect();
        let offsets = partitions.iter().zip(&codes).filter(|(_, code)| code.is_ok());
        let offsets = offsets.map(|((topic, index), _)| (topic.as_str().into(), *index));
        self.forget(cx, offsets.collect(), Some((to, codes)));
        Ok(())
    }

    /// Writes that these offsets are forgotten.
    pub(super) fn forget(
        &mut self,
        cx: &mut Context<'_>,
        offsets: Vec<(Arc<str>, i32)>,
        to: Option<(Asker, Vec<ErrorCode>)>,
    ) {
        let held: Vec<(Arc<str>, i32)> =
            offsets.into_iter().filter(|offset| self.offsets.contains_key(offset)).collect();
        if held.is_empty() {
            if let Some((to, codes)) = to {
                cx.answer(to, GroupAnswer::OffsetsDeleted(Ok(codes)));
            }
            return;
        }
        let records = held.iter().map(|(topic, partition)| {
            (Key::Offset { group: &self.id, topic, partition: *partition }.encode(), None)
        });
        let records = records.collect();
        self.writing += 1;
        let then = Then::Forgotten { offsets: held, to };
        cx.write(Write { group: Arc::clone(&self.id), records, then });
    }

    /// The offsets whose time is over. Those of a group with members are kept, unless the client said
    /// for how long.
    pub(super) fn expired(&self, now_ms: i64, retention_ms: i64) -> Vec<(Arc<str>, i32)> {
        let is_over = |(topic, _): &(Arc<str>, i32), value: &OffsetValue| match value.expires_ms {
            Some(expires_ms) => expires_ms <= now_ms,
            // A group that never had members is as old as each of its offsets.
            None if self.protocol_type.is_empty() => value.committed_ms + retention_ms <= now_ms,
            None if self.state == State::Empty => {
                self.since_ms.max(value.committed_ms) + retention_ms <= now_ms
            }
            None => {
                self.state == State::Stable
                    && *self.protocol_type == *CONSUMER
                    && !self.is_subscribed(topic)
                    && value.committed_ms + retention_ms <= now_ms
            }
        };
        let over = self.offsets.iter().filter(|(key, value)| is_over(key, value));
        over.map(|(key, _)| key.clone()).collect()
    }
}

fn found(value: &OffsetValue) -> FoundOffset {
    FoundOffset {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: Arc::clone(&value.metadata),
    }
}
