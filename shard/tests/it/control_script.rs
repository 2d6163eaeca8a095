//! A data core as the control shard sees it: logs without bytes, replicated at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{
    Committed, CoreId, Durable, Epoch, Incarnation, Instant, LogEnd, LogStart, Offset, PartitionId,
    Reign, Seq, ShardId,
};
use replication::control_message::Slow;
use replication::replica::{Event, FenceAnswer, Fenced, LogView, Proof};
use replication::{Boot, ClusterState, Leader, Partition, Placement, Planted};
use shard::{Mail, Vitals};

/// See the module's description.
pub(crate) struct Script {
    pub(crate) at: Placement,
    pub(crate) boot: Boot,
    pub(crate) logs: BTreeMap<PartitionId, Log>,
    state: Option<Arc<ClusterState>>,
    /// It answers nothing and does nothing.
    pub(crate) is_frozen: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Log {
    reigns: Vec<Reign>,
    end: u64,
    promised: Epoch,
    opened: Option<Epoch>,
    committed: u64,
    pub(crate) proof: Proof,
    /// The epoch in which it leads.
    reign: Option<Epoch>,
    /// What was said of this reign: that it is open, that it ended.
    told: (bool, bool),
}

impl Default for Log {
    fn default() -> Self {
        Self {
            reigns: Vec::new(),
            end: 0,
            promised: Epoch(0),
            opened: None,
            committed: 0,
            proof: Proof::Clean,
            reign: None,
            told: (false, false),
        }
    }
}

impl Script {
    pub(crate) fn new(at: Placement, journal: u64) -> Self {
        let boot = Boot { journal, boot: Incarnation(0) };
        Self { at, boot, logs: BTreeMap::new(), state: None, is_frozen: false }
    }

    /// A start: leadership is volatile.
    pub(crate) fn start(&mut self) -> Mail {
        self.boot.boot.0 += 1;
        (self.state, self.is_frozen) = (None, false);
        for log in self.logs.values_mut() {
            (log.reign, log.committed) = (None, 0);
        }
        let Boot { journal, boot } = self.boot;
        Mail::Booted { shard: ShardId(0), journal, boot }
    }

    /// Its logs cannot be proven any more, and have lost all but `end` records.
    pub(crate) fn damage(&mut self, end: u64) {
        for log in self.logs.values_mut() {
            log.proof = Proof::Suspect;
            log.truncate(end);
        }
    }

    pub(crate) fn take(&mut self, mail: Mail) -> Vec<Mail> {
        match mail {
            _ if self.is_frozen => Vec::new(),
            Mail::Snapshot(state) => {
                self.conform(&state);
                let version = state.version();
                self.state = Some(state);
                vec![Mail::Applied { core: CoreId(0), version }]
            }
            Mail::Fence { shard, token, promises } => {
                let known = self.state.as_ref().and_then(|state| state.shard(self.at).ok()?.boot);
                assert_eq!(known, Some(self.boot), "a shard is asked once its boot is known to it");
                let answers = promises.iter().filter_map(|one| self.promise(*one)).collect();
                let fenced = Fenced { token, seq: Seq(1), boot: self.boot, answers };
                vec![Mail::Replica { shard, event: Event::Fenced(fenced) }]
            }
            Mail::Serve => Vec::new(),
            other => panic!("no mail for a data core: {other:?}"),
        }
    }

    fn conform(&mut self, state: &ClusterState) {
        let own = Leader { placement: self.at, boot: self.boot };
        if state.shard(self.at).is_ok_and(|shard| shard.boot != Some(self.boot)) {
            return;
        }
        for topic in state.topics().iter() {
            for (id, partition) in topic.partition_ids().zip(&topic.partitions) {
                if !partition.has_member(self.at) {
                    self.logs.remove(&id);
                    continue;
                }
                let log = self.logs.entry(id).or_default();
                let epoch = partition.epoch;
                log.reign = log.reign.filter(|reign| epoch <= *reign);
                let is_free = log.promised <= epoch && log.opened < Some(epoch);
                if partition.leader == Some(own) && is_free {
                    log.promised = epoch;
                    log.open(Reign { epoch, start: Offset(log.end) });
                    (log.reign, log.told) = (Some(epoch), (false, false));
                }
            }
        }
    }

    fn promise(&mut self, (id, epoch): (PartitionId, Epoch)) -> Option<FenceAnswer> {
        let log = self.logs.get_mut(&id)?;
        log.promised = log.promised.max(epoch);
        log.reign = log.reign.filter(|reign| log.promised <= *reign);
        Some(FenceAnswer::new(Planted::default(), id, log.view(), &log.reigns))
    }

    fn partition(&self, id: PartitionId) -> Option<&Partition> {
        self.state.as_ref()?.topics().partition(id)
    }

    pub(crate) fn end(&self, id: PartitionId) -> u64 {
        self.logs[&id].end
    }

    /// The epoch in which it leads a partition.
    pub(crate) fn reigns(&self, id: PartitionId) -> Option<Epoch> {
        self.logs.get(&id)?.reign
    }

    /// Appends a record to all that it leads and is not to hand over: the partitions that it leads.
    pub(crate) fn append(&mut self) -> Vec<PartitionId> {
        if self.is_frozen {
            return Vec::new();
        }
        let leads = |log: &Log| log.reign.is_some();
        let led: Vec<_> =
            self.logs.iter().filter(|(_, log)| leads(log)).map(|(id, _)| *id).collect();
        for id in &led {
            let stops = self.partition(*id).is_some_and(|partition| partition.successor.is_some());
            if let Some(log) = self.logs.get_mut(id).filter(|_| !stops) {
                log.end += 1;
            }
        }
        led
    }

    /// Takes all that the leader has; whether it acks.
    pub(crate) fn follow(&mut self, id: PartitionId, leader: &Log) -> bool {
        let own = self.state.as_ref().and_then(|state| state.shard(self.at).ok()?.boot);
        let is_known = own == Some(self.boot) && !self.is_frozen;
        let Some(log) = self.logs.get_mut(&id).filter(|_| is_known) else { return false };
        let epoch = leader.reign.expect("only leaders are followed");
        if epoch < log.promised || log.reign.is_some_and(|own| epoch <= own) {
            return false;
        }
        (log.promised, log.reign) = (epoch, None);
        log.reigns.clone_from(&leader.reigns);
        (log.end, log.opened, log.proof) = (leader.end, leader.opened, Proof::Clean);
        true
    }

    /// How far a partition that it leads is committed, and what is to be said of it.
    pub(crate) fn count(
        &mut self,
        id: PartitionId,
        acked: &[Placement],
        boots: &BTreeMap<Placement, Boot>,
    ) -> (Option<u64>, Vec<Mail>) {
        let partition = *self.partition(id).expect("it leads it");
        let log = self.logs.get_mut(&id).expect("it leads it");
        let epoch = log.reign.expect("it leads");
        if partition.epoch != epoch || !partition.is_quorum(|member| acked.contains(&member)) {
            return (None, Vec::new());
        }
        log.committed = log.end;
        let mut events = Vec::new();
        if !core::mem::replace(&mut log.told.0, true) {
            events.push(Event::Opened { partition: id, epoch });
        }
        for replica in acked.iter().filter(|replica| partition.learners.contains(replica)) {
            let (replica, boot) = (*replica, boots[replica]);
            events.push(Event::CaughtUp { partition: id, epoch, replica, boot });
        }
        if let Some(to) = partition.successor.filter(|to| acked.contains(to))
            && !core::mem::replace(&mut log.told.1, true)
        {
            let log_end = LogEnd(Offset(log.end));
            events.push(Event::HandOver { partition: id, epoch, to, log_end });
        }
        let shard = self.at.shard;
        let mails = events.into_iter().map(|event| Mail::Replica { shard, event });
        (Some(log.committed), mails.collect())
    }

    pub(crate) fn sign_of_life(&self, heard: Vec<(Placement, Boot, Instant)>) -> Option<Mail> {
        let (shard, boot, slow) = (self.at.shard, self.boot, Slow::default());
        (!self.is_frozen).then_some(Mail::Alive(Vitals { shard, boot, slow, heard }))
    }
}

impl Log {
    fn open(&mut self, reign: Reign) {
        self.reigns.push(reign);
        self.opened = self.opened.max(Some(reign.epoch));
    }

    fn truncate(&mut self, end: u64) {
        self.end = self.end.min(end);
        self.reigns.retain(|reign| reign.start.0 <= end);
        self.committed = self.committed.min(end);
    }

    fn view(&self) -> LogView {
        let end = Offset(self.end);
        LogView {
            log_start: LogStart(Offset::ZERO),
            log_end: LogEnd(end),
            durable: Durable(end),
            committed: Committed(Offset(self.committed)),
            promised: self.promised,
            opened: self.opened,
            proof: self.proof,
        }
    }
}
