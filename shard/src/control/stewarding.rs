//! The steward's place: between the cluster log, other control cores and the shards of this node.
//!
//! ```text
//!   Alive, Replica{Opened, CaughtUp, HandOver, Fenced} ─▶ ┌─────────┐ ─▶ Fence ─▶ data cores
//!   FromPeer{Heartbeat, Fence, Reports, …} ─────────────▶ │ Steward │ ─▶ ToPeer
//!   role and state of the cluster log ──────────────────▶ └─────────┘ ─▶ proposals ─▶ cluster log
//! ```
//! A node without peers has no use for it.

use base::{NodeId, Now, Output, ShardId};
use replication::control_message::{Fence, FenceAnswers};
use replication::elector::Order;
use replication::replica::{Event, Fenced};
use replication::steward::{Role, Stewarding};
use replication::{
    CaughtUp, ClusterLog, Command, ControlMessage, HandOver, Opened, Proposal, Steward, Term,
};

use super::wishes::Asker;
use super::{ControlShard, ShardProgress};
use crate::mail::{Mail, Vitals};

/// News that nobody fetches beyond these are dropped, the oldest first.
const NEWS_MAX: usize = 1_000;

/// What operators should hear of partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The control leader's word on an election: one that halts, or one that has lost records.
    Election(Order),
    /// A shard of this node has truncated records that no quorum held, or contradicts its leader.
    Replica(ShardId, Event),
}

impl ControlShard {
    /// Elections, suspicions and moves, as far as this node knows.
    #[must_use]
    pub fn steward(&self) -> &Steward {
        &self.steward
    }

    /// The next thing that operators should hear of.
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// Whether no shard of this node leads a partition that another could lead. After
    /// [`Mail::Leave`] that comes true in time, if the cluster log has a leader.
    #[must_use]
    pub fn has_left(&self) -> bool {
        let state = self.log.snapshot();
        let mut partitions = state.topics().iter().flat_map(|topic| &topic.partitions);
        !partitions.any(|partition| {
            let leader = partition.leader.map(|leader| leader.placement);
            let leads = leader.is_some_and(|at| at.node == self.settings.node.node);
            let is_heir = |at| Some(at) != leader && partition.counts(at) && state.is_up(at);
            leads && partition.members().any(is_heir)
        })
    }

    /// Goes on with elections and moves, and with what the control leader is told.
    pub(super) fn advance_steward(&mut self, now: Now) {
        if self.settings.peers.is_empty() {
            return;
        }
        self.steward.become_role(role_in(&self.log));
        let committed = self.log.snapshot();
        self.steward.turn(now.mono, &committed, self.log.proposed());
        while let Some(output) = self.steward.poll() {
            match output {
                Stewarding::Send { to, message } => self.tell(to, message),
                Stewarding::Fence(fence) => self.hold_fence(fence),
                // Whoever proposed it looks again.
                Stewarding::Propose(command) => {
                    let _ = self.log.propose(&Proposal::Decree(command));
                }
                Stewarding::Tell(order) => self.add_news(News::Election(order)),
            }
        }
        for fence in core::mem::take(&mut self.fences) {
            if self.is_due(&fence) {
                self.pass_fence(fence);
            } else {
                self.fences.push(fence);
            }
        }
    }

    pub(super) fn take_steward_message(&mut self, now: Now, from: NodeId, message: ControlMessage) {
        if let ControlMessage::Died(_) = message {
            self.log.node_died(now.mono, from);
        }
        self.steward.handle(now.mono, from, message, self.log.proposed());
    }

    /// A shard of this node does its work, and has heard from others.
    pub(super) fn take_vitals(&mut self, now: Now, vitals: Vitals) {
        let Vitals { shard, boot, slow, heard } = vitals;
        if matches!(self.shards[usize::from(shard.0)], ShardProgress::Failed(_)) {
            return;
        }
        self.steward.beat(now.mono, shard, boot, slow);
        for (from, boot, at) in heard {
            self.steward.heard(at, from, boot);
        }
    }

    /// A shard of this node says something of its replicas.
    pub(super) fn take_event(&mut self, shard: ShardId, event: Event) {
        match event {
            Event::Opened { partition, epoch } => {
                self.steward.opened(Opened { partition, epoch });
            }
            Event::CaughtUp { partition, epoch, replica, boot } => {
                self.steward.caught_up(CaughtUp { partition, epoch, replica, boot });
            }
            Event::HandOver { partition, epoch, to, log_end: _ } => {
                self.steward.handed_over(HandOver { partition, epoch, to });
            }
            Event::Fenced(Fenced { token, seq: _, boot, answers }) => {
                let term = Term(u32::try_from(token).expect("fences are named by their term"));
                self.steward.fenced(FenceAnswers { term, shard, boot, answers });
            }
            Event::Diverged { .. } | Event::Contradiction { .. } => {
                self.add_news(News::Replica(shard, event));
            }
        }
    }

    /// A shard of this node can serve no more: what it led is to be led by others.
    pub(super) fn give_up_shard(&mut self, now: Now, shard: ShardId, reason: String) {
        self.shards[usize::from(shard.0)] = ShardProgress::Failed(reason);
        let Some(boot) = self.steward.failed(shard) else { return };
        if !self.settings.peers.is_empty() {
            let node = self.settings.node.node;
            let fenced = Proposal::Decree(Command::ShardFenced { node, shard, boot });
            self.propose(now, Asker::Nobody, vec![fenced], false);
        }
    }

    /// A fence that is asked again takes the place of the one before.
    fn hold_fence(&mut self, fence: Fence) {
        let is_same =
            |other: &Fence| (other.shard, &other.promises) == (fence.shard, &fence.promises);
        self.fences.retain(|other| other.term == fence.term && !is_same(other));
        self.fences.push(fence);
    }

    /// Whether the shard knows what the fence is about, and that its own boot may speak: what it says
    /// before that counts as unproven, and it would not be asked again.
    fn is_due(&self, fence: &Fence) -> bool {
        let shard = usize::from(fence.shard.0);
        let Some(ShardProgress::Booting(booted)) = self.shards.get(shard) else { return false };
        let core = self.homes[shard].and_then(|core| self.cores.get(usize::from(core.0)));
        core.is_some_and(|core| fence.index.max(*booted) <= core.applied)
    }

    /// To the core that hosts the shard.
    fn pass_fence(&mut self, fence: Fence) {
        let shard = fence.shard;
        let Some(to) = self.homes.get(usize::from(shard.0)).copied().flatten() else { return };
        let token = u64::from(fence.term.0);
        let mail = Mail::Fence { shard, token, promises: fence.promises };
        self.outputs.push_back(Output::Mail { to, mail });
    }

    fn add_news(&mut self, news: News) {
        if NEWS_MAX <= self.news.len() {
            self.news.pop_front();
        }
        self.news.push_back(news);
    }
}

fn role_in(log: &ClusterLog) -> Role {
    match log.leader() {
        _ if log.is_leader() => Role::Leads(log.term()),
        Some(leader) => Role::Follows(leader),
        None => Role::Alone,
    }
}
