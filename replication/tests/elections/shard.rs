//! A shard with one partition, as simple as can be: its log, what it promised, and whom it believes.

use std::sync::Arc;

use base::{Committed, Durable, Epoch, LogEnd, LogStart, Offset, PartitionId, Reign};
use replication::control_message::{Fence, FenceAnswers};
use replication::replica::{FenceAnswer, LogView, Proof};
use replication::{Boot, ClusterState, Leader, Partition, Placement, Planted};

/// A record: the epoch it was appended in, and a number that no other record has.
pub type Record = (Epoch, u64);

#[derive(Debug)]
pub struct Shard {
    pub at: Placement,
    pub boot: Boot,
    pub up: bool,
    pub records: Vec<Record>,
    pub reigns: Vec<Reign>,
    pub opened: Option<Epoch>,
    pub promised: Epoch,
    pub proof: Proof,
    /// The epoch in which this boot leads.
    pub reign: Option<Epoch>,
    /// The state of the cluster, as far as this shard has heard.
    pub seen: Arc<ClusterState>,
    /// As leader: how far each follower is, in this reign.
    pub acked: Vec<(Placement, usize)>,
    /// What it knows to be committed.
    pub committed: usize,
}

impl Shard {
    pub fn new(at: Placement, boot: Boot, seen: Arc<ClusterState>) -> Self {
        Self {
            at,
            boot,
            up: true,
            records: Vec::new(),
            reigns: Vec::new(),
            opened: None,
            promised: Epoch(0),
            proof: Proof::Clean,
            reign: None,
            seen,
            acked: Vec::new(),
            committed: 0,
        }
    }

    /// A start: leadership is volatile, the rest is what the disk has kept.
    pub fn restart(&mut self, proof: Proof, keep: usize) {
        self.boot.boot.0 += 1;
        (self.reign, self.up, self.committed) = (None, true, 0);
        self.acked.clear();
        if proof == Proof::Suspect || self.proof.holds() {
            self.proof = proof;
        }
        self.truncate(keep);
    }

    /// A new disk under the old name.
    pub fn replace_disk(&mut self) {
        let boot = Boot { journal: self.boot.journal + 1, boot: base::Incarnation(1) };
        *self = Self::new(self.at, boot, Arc::clone(&self.seen));
    }

    /// Whether the cluster log knows this boot, as far as the shard has heard: before that it says
    /// nothing.
    pub fn is_known(&self) -> bool {
        self.up && self.seen.shard(self.at).is_ok_and(|shard| shard.boot == Some(self.boot))
    }

    pub fn partition(&self, id: PartitionId) -> Option<Partition> {
        self.seen.topics().partition(id).copied()
    }

    /// Begins to lead if the state says so. Whether it began just now.
    pub fn lead(&mut self, id: PartitionId) -> bool {
        let Some(partition) = self.partition(id).filter(|_| self.is_known()) else { return false };
        if self.reign.is_some_and(|reign| reign < partition.epoch) {
            self.reign = None;
        }
        let own = Leader { placement: self.at, boot: self.boot };
        let free = self.opened < Some(partition.epoch) && self.promised <= partition.epoch;
        if partition.leader != Some(own) || !free {
            return false;
        }
        self.promised = partition.epoch;
        self.open(Reign { epoch: partition.epoch, start: self.end() });
        self.reign = Some(partition.epoch);
        self.acked.clear();
        true
    }

    pub fn end(&self) -> Offset {
        Offset(self.records.len() as u64)
    }

    /// The start of its own reign.
    pub fn start(&self) -> usize {
        self.reigns.last().map_or(0, |reign| reign.start.0 as usize)
    }

    /// Follows `leader` and copies up to `more` records beyond what the two share. `None` if it
    /// listens to nobody who leads in that epoch.
    pub fn follow(&mut self, leader: &Self, more: usize) -> Option<usize> {
        let epoch = leader.reign?;
        if !self.is_known() || epoch < self.promised {
            return None;
        }
        self.promised = epoch;
        self.reign = None;
        let same = self.records.iter().zip(&leader.records).take_while(|(a, b)| a == b).count();
        self.truncate(same);
        let until = leader.records.len().min(same + more);
        self.records.extend_from_slice(&leader.records[same..until]);
        self.reigns.retain(|reign| leader.reigns.contains(reign));
        for reign in &leader.reigns {
            if reign.start <= self.end() && self.reigns.last().map(|r| r.epoch) < Some(reign.epoch)
            {
                self.open(*reign);
            }
        }
        let joined = self.reigns.last().is_some_and(|reign| reign.epoch == epoch);
        if !self.proof.holds() && self.records.len() == leader.records.len() && joined {
            self.proof = Proof::Clean;
        }
        joined.then_some(self.records.len())
    }

    pub fn answer(&mut self, planted: Planted, fence: &Fence) -> Option<FenceAnswers> {
        if !self.is_known() || self.seen.version() < fence.index {
            return None;
        }
        let mut answers = Vec::new();
        for (partition, epoch) in &fence.promises {
            self.promised = self.promised.max(*epoch);
            self.reign = self.reign.filter(|reign| self.promised <= *reign);
            answers.push(FenceAnswer::new(planted, *partition, self.view(), &self.reigns));
        }
        Some(FenceAnswers { term: fence.term, shard: self.at.shard, boot: self.boot, answers })
    }

    fn view(&self) -> LogView {
        LogView {
            log_start: LogStart(Offset::ZERO),
            log_end: LogEnd(self.end()),
            durable: Durable(self.end()),
            committed: Committed(Offset(self.committed as u64)),
            promised: self.promised,
            opened: self.opened,
            proof: self.proof,
        }
    }

    fn open(&mut self, reign: Reign) {
        self.reigns.push(reign);
        self.opened = self.opened.max(Some(reign.epoch));
    }

    fn truncate(&mut self, end: usize) {
        self.records.truncate(end);
        let end = self.end();
        // A reign that begins at the end and is empty stays: it was opened, and nothing of it is gone.
        self.reigns.retain(|reign| reign.start <= end);
        self.committed = self.committed.min(end.0 as usize);
    }
}
