//! The verbs of a replica, as a world of several would use them: any order, good and bad words.

use base::batch::sequenced_prefix;
use base::{Batch, Committed, Epoch, LogEnd, Offset, PartitionId, Reign};
use engine::{AppendError, Proof, Refused};

use super::World;
use super::common;
use super::expected::Event;

impl World {
    /// A quorum says that some of it is committed, durable here or not.
    pub(crate) fn commit(&mut self, id: PartitionId) {
        let committed = self.rig().engine.committed(id).unwrap().0.0;
        let batches = self.now[&id].batches.values();
        let ends: Vec<u64> = batches.map(|(end, _)| *end).filter(|end| committed < *end).collect();
        if ends.is_empty() {
            return;
        }
        let index = match self.below(2) {
            0 => ends.len() - 1,
            _ => self.below(ends.len() as u64) as usize,
        };
        self.rig().engine.commit(id, Committed(Offset(ends[index])));
        let told = self.told.entry(id).or_default();
        *told = ends[index].max(*told);
    }

    /// A fence: some partitions, one entry.
    pub(crate) fn promise(&mut self) {
        let mut promises = Vec::new();
        for (id, model) in self.now.clone() {
            if self.below(3) == 0 {
                let epoch = (model.heard_from() + self.below(4) as u32).saturating_sub(1);
                promises.push((id, Epoch(epoch)));
            }
        }
        promises.push((common::id(u32::MAX), Epoch(1)));
        let rig = self.rig();
        let Ok(seq) = rig.engine.promise(rig.now, &promises) else { return };
        for (id, epoch) in promises {
            if self.now.contains_key(&id) {
                self.note(seq, id, Event::Promised(epoch.0));
                self.done.promises += 1;
            }
        }
        self.check_promises();
    }

    /// The newest reign that the partition knows.
    fn last_reign(&mut self, id: PartitionId) -> u32 {
        let model = &self.now[&id];
        if model.start < model.end {
            return model.last_reign();
        }
        // Of an empty log it depends on when the log start moved.
        let reigns = self.rig().engine.epochs(id).unwrap().reigns();
        reigns.last().map_or(0, |reign| reign.epoch.0)
    }

    /// A leader says that a reign begins, where it does or where it does not.
    pub(crate) fn follow(&mut self, id: PartitionId) {
        self.follow_log_start(id);
        let model = self.now[&id].clone();
        let last = self.last_reign(id);
        let leader = (model.heard_from() + self.below(4) as u32).saturating_sub(1);
        let epoch = last + 1 + self.below(3) as u32;
        let start = model.end + self.below(8).saturating_sub(6) * 5;
        let reign = Reign { epoch: Epoch(epoch), start: Offset(start) };
        let seed = self.seed;
        let rig = self.rig();
        match rig.engine.follow_epoch(rig.now, id, Epoch(leader), reign) {
            Ok(seq) => {
                assert_eq!(
                    start, model.end,
                    "seed {seed}: {id} knows {reign:?} without its prefix"
                );
                assert!(epoch <= leader, "seed {seed}: {leader} cannot know {epoch}");
                assert!(model.heard_from() <= leader, "seed {seed}: {id} hears {leader}");
                self.note(seq, id, Event::Opened(epoch));
            }
            Err(Refused::Gap { log_end }) => {
                assert_eq!(log_end, LogEnd(Offset(model.end)), "seed {seed}");
                assert!(start != model.end || leader < epoch, "seed {seed}: {id}: {reign:?}");
            }
            Err(Refused::Fenced { promised }) => {
                assert_eq!(promised.0, model.heard_from(), "seed {seed}: {id}");
                // Its own reign is not followed either.
                assert!(leader <= promised.0, "seed {seed}: {id} does not hear {leader}");
            }
            Err(Refused::Busy) => {}
            Err(refused) => panic!("seed {seed}: {id} follows {reign:?}: {refused}"),
        }
    }

    /// A leader sends one to three batches; what was sent before may come again.
    pub(crate) fn replicate(&mut self, id: PartitionId) {
        self.follow_log_start(id);
        let model = self.now[&id].clone();
        let epoch = self.last_reign(id);
        if epoch == 0 {
            return self.follow(id);
        }
        let leader = (model.heard_from() + self.below(3) as u32).saturating_sub(1);
        let idempotent = self.below(2) == 0;
        let (mut bytes, mut events) = (Vec::new(), Vec::new());
        let (mut base, mut sequence) = (model.end, model.sequence);
        if let Some((_, (_, last))) = model.batches.last_key_value()
            && model.start < model.end
            && self.below(3) == 0
        {
            bytes.extend_from_slice(last);
        }
        for _ in 0..1 + self.below(3) {
            let value = vec![self.below(256) as u8; 1 + self.below(500) as usize];
            let mut batch = match idempotent {
                true => common::producer_batch(&[&value], 77, 0, sequence),
                false => common::batch(&[&value], self.rig().now.wall.0),
            };
            let parsed = Batch::parse(&batch).unwrap();
            let prefix = sequenced_prefix(&parsed, Offset(base), Epoch(epoch));
            batch[..16].copy_from_slice(&prefix);
            bytes.extend_from_slice(&batch);
            events.push(Event::Appended { base, count: 1, bytes: batch, idempotent });
            (base, sequence) = (base + 1, sequence + 1);
        }
        let rig = self.rig();
        let answer = rig.engine.append_replica(rig.now, id, Epoch(leader), &bytes);
        self.replicated(id, leader, answer, events);
    }

    fn replicated(
        &mut self,
        id: PartitionId,
        leader: u32,
        answer: Result<base::Seq, AppendError>,
        events: Vec<Event>,
    ) {
        let (seed, heard) = (self.seed, self.now[&id].heard_from());
        match answer {
            Ok(_) | Err(AppendError::Busy | AppendError::DiskFull) => {}
            Err(AppendError::Fenced { promised }) => {
                assert!(leader <= promised.0 && promised.0 == heard, "seed {seed}: {id}");
                return;
            }
            Err(error) => panic!("seed {seed}: {id} is sent batches: {error}"),
        }
        let end = self.rig().engine.log_end(id).unwrap().0.0;
        let seq = self.rig().engine.newest_seq();
        for event in events {
            let Event::Appended { base, .. } = event else { unreachable!("only appends") };
            // Without room only the first of them may be there.
            if base < end {
                assert!(heard <= leader, "seed {seed}: {id} listens to {leader}");
                self.note(seq, id, event);
                self.done.replicated += 1;
            } else {
                assert!(answer.is_err(), "seed {seed}: {id} left out {base}");
            }
        }
    }

    /// A replica gives its records up, or has them all again.
    pub(crate) fn start_over(&mut self, id: PartitionId) {
        self.follow_log_start(id);
        let model = self.now[&id].clone();
        if model.rebuilding && self.below(2) == 0 {
            let rig = self.rig();
            if let Ok(seq) = rig.engine.vouch(rig.now, id) {
                self.note(seq, id, Event::Vouched);
            }
            return;
        }
        let at = model.start + self.below(2 * (model.end - model.start) + 2);
        let keep_proof = self.below(2) == 0;
        let rig = self.rig();
        let rebuilding = !keep_proof || model.rebuilding;
        if let Ok(seq) = rig.engine.start_over(rig.now, id, Offset(at), keep_proof) {
            self.note(seq, id, Event::StartedOver { at, rebuilding });
            self.done.started_over += 1;
            let told = self.told.entry(id).or_default();
            *told = at.max(*told);
        }
    }

    /// What was promised, opened and given up is known, and nothing passes for committed that was
    /// not said to be.
    pub(crate) fn check_replica(&mut self, id: PartitionId) {
        let (seed, model) = (self.seed, self.now[&id].clone());
        let told = self.told.get(&id).copied().unwrap_or_default();
        let alone = self.is_alone();
        let engine = &self.rig().engine;
        let committed = engine.committed(id).unwrap().0.0;
        assert!(alone || committed <= told, "seed {seed}: {id}: {committed} is not committed");
        let proof = engine.proof(id).unwrap();
        assert_eq!(proof == Proof::Rebuilding, model.rebuilding, "seed {seed}: {id}: {proof:?}");
        for (base, (end, bytes)) in &model.batches {
            let epoch = Batch::parse(bytes).unwrap().epoch();
            if model.start < *end {
                let at = engine.epochs(id).unwrap().at(Offset(model.start.max(*base)));
                assert_eq!(at, Some(epoch), "seed {seed}: {id} at {base}");
            }
        }
    }

    pub(crate) fn check_promises(&mut self) {
        for (id, model) in self.now.clone() {
            let promised = self.rig().engine.promised(id).unwrap().0;
            assert_eq!(promised, model.heard_from(), "seed {}: {id} promised", self.seed);
        }
    }
}
