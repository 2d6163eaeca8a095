//! A modelled control plane: the cluster log as one omniscient list of states, and an elector.

use std::collections::{BTreeMap, BTreeSet};

use base::{Epoch, PartitionId};
use replication::node::Boot;
use replication::replica::{Assignment, Config, Event, FenceAnswer, Fenced};
use replication::{LogIndex, Placement};

use crate::ledger::Ledger;

/// Known mistakes of a control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// H1: elects by the epoch of the last record instead of the last opened one.
    ElectByLastRecord,
    /// H1, too: elects the longest log, whatever its epochs.
    ElectByLength,
    /// H4: takes answers of logs that are not proven.
    CountDamaged,
    /// H6: replaces replicas in one step.
    ReplaceAtOnce,
    /// H7: does not see that a disk was replaced.
    TrustReplacedDisk,
    /// Elects by the answers of fewer than a quorum.
    ElectByMinority,
}

impl Flaw {
    pub const ALL: &'static [Self] = &[
        Self::ElectByLastRecord,
        Self::ElectByLength,
        Self::CountDamaged,
        Self::ReplaceAtOnce,
        Self::TrustReplacedDisk,
        Self::ElectByMinority,
    ];
}

#[derive(Clone, Debug)]
pub struct Part {
    pub epoch: Epoch,
    pub leader: Option<(Placement, Boot)>,
    pub opened: Option<Epoch>,
    pub config: Config,
    pub target: Option<Vec<Placement>>,
}

#[derive(Clone, Debug, Default)]
struct Election {
    epochs: BTreeMap<PartitionId, Epoch>,
    answers: BTreeMap<(PartitionId, Placement), (Boot, FenceAnswer)>,
}

/// What the elector tells a shard.
#[derive(Clone, Debug)]
pub struct FenceOrder {
    pub to: Placement,
    pub token: u64,
    pub promises: Vec<(PartitionId, Epoch)>,
}

#[derive(Debug)]
pub struct Control {
    pub parts: BTreeMap<PartitionId, Part>,
    boots: BTreeMap<Placement, Boot>,
    /// Every version of the state, the first at index 1.
    versions: Vec<Vec<Assignment>>,
    elections: BTreeMap<u64, Election>,
    pub insync_min: u16,
    pub flaw: Option<Flaw>,
    tokens: u64,
}

impl Control {
    pub fn new(flaw: Option<Flaw>) -> Self {
        Self {
            parts: BTreeMap::new(),
            boots: BTreeMap::new(),
            versions: Vec::new(),
            elections: BTreeMap::new(),
            insync_min: 1,
            flaw,
            tokens: 0,
        }
    }

    pub fn create(&mut self, ledger: &mut Ledger, id: PartitionId, replicas: Vec<Placement>) {
        let config = Config { replicas, ..Config::default() };
        let (epoch, leader, opened, target) = (Epoch(0), None, None, None);
        self.parts.insert(id, Part { epoch, leader, opened, config, target });
        self.commit(ledger);
    }

    pub fn index(&self) -> LogIndex {
        LogIndex(self.versions.len() as u64)
    }

    /// What shard `at` is to know at `index`.
    pub fn assignments(&self, at: Placement, index: LogIndex) -> Vec<Assignment> {
        let version = &self.versions[index.0 as usize - 1];
        version.iter().filter(|own| own.config.members().contains(&at)).cloned().collect()
    }

    fn commit(&mut self, ledger: &mut Ledger) {
        let assignment = |(id, part): (&PartitionId, &Part)| Assignment {
            partition: *id,
            epoch: part.epoch,
            leader: part.leader,
            opened: part.opened,
            config: part.config.clone(),
            insync_min: self.insync_min,
        };
        self.versions.push(self.parts.iter().map(assignment).collect());
        for (id, part) in &self.parts {
            ledger.configured(*id, part.epoch, &part.config);
            if let Some(leader) = part.leader {
                ledger.chosen(*id, part.epoch, leader);
            }
        }
    }

    /// A shard started. Its disk is another than before, or older: what it acked may be gone.
    pub fn booted(&mut self, ledger: &mut Ledger, at: Placement, boot: Boot, is_replaced: bool) {
        self.boots.insert(at, boot);
        if is_replaced && self.flaw != Some(Flaw::TrustReplacedDisk) {
            for part in self.parts.values_mut() {
                if part.config.members().contains(&at) && !part.config.learners.contains(&at) {
                    part.config.learners.push(at);
                }
            }
        }
        self.commit(ledger);
    }

    /// Deposes the leaders of `ids`, or goes on with their elections.
    pub fn elect(&mut self, ledger: &mut Ledger, ids: &[PartitionId]) -> Vec<FenceOrder> {
        self.tokens += 1;
        let token = self.tokens;
        let mut election = Election::default();
        let mut members = BTreeSet::new();
        for id in ids {
            let part = self.parts.get_mut(id).unwrap();
            if part.leader.take().is_some() || part.epoch == Epoch(0) {
                part.epoch = Epoch(part.epoch.0 + 1);
            }
            election.epochs.insert(*id, part.epoch);
            members.extend(part.config.members());
        }
        self.commit(ledger);
        let order = |to: Placement| {
            let holds =
                |(id, _): &(&PartitionId, &Epoch)| self.parts[*id].config.members().contains(&to);
            let promises = election.epochs.iter().filter(holds).map(|(id, e)| (*id, *e)).collect();
            FenceOrder { to, token, promises }
        };
        let orders = members.into_iter().map(order).collect();
        self.elections.insert(token, election);
        orders
    }

    /// A fence was answered. `last_record` says of which epoch the last record is.
    pub fn fenced(
        &mut self,
        ledger: &mut Ledger,
        from: Placement,
        fenced: &Fenced,
        last_record: impl Fn(PartitionId) -> Option<Epoch>,
    ) {
        let Some(election) = self.elections.get_mut(&fenced.token) else { return };
        for answer in &fenced.answers {
            let mut answer = *answer;
            if self.flaw == Some(Flaw::ElectByLastRecord) {
                answer.last_epoch = last_record(answer.partition);
            }
            election.answers.insert((answer.partition, from), (fenced.boot, answer));
        }
        let epochs: Vec<_> = election.epochs.clone().into_iter().collect();
        let election = election.clone();
        for (id, epoch) in epochs {
            let part = &self.parts[&id];
            if (part.epoch, part.leader) == (epoch, None)
                && let Some(leader) = self.choose(&election, id)
            {
                let part = self.parts.get_mut(&id).unwrap();
                part.leader = Some(leader);
                self.commit(ledger);
                ledger.mark("elections");
            }
        }
    }

    fn choose(&self, election: &Election, id: PartitionId) -> Option<(Placement, Boot)> {
        let part = &self.parts[&id];
        let counted = |at: Placement| {
            let (boot, answer) = election.answers.get(&(id, at))?;
            let is_current = self.boots.get(&at) == Some(boot);
            let is_proven = answer.view.proof.holds() || self.flaw == Some(Flaw::CountDamaged);
            (is_current && is_proven && part.epoch <= answer.view.promised).then_some(answer)
        };
        let is_quorum = part.config.quorum_of(1, |at| counted(at).map(|_| ())).is_some();
        if !is_quorum && self.flaw != Some(Flaw::ElectByMinority) {
            return None;
        }
        let rank = |answer: &FenceAnswer| {
            let epoch = answer.last_epoch.filter(|_| self.flaw != Some(Flaw::ElectByLength));
            (epoch, answer.view.log_end)
        };
        let Config { replicas, incoming, learners, .. } = &part.config;
        // While joint, the old config is left only under a leader of the new one.
        let eligible = incoming.as_ref().unwrap_or(replicas);
        let voters = replicas.iter().chain(eligible).filter(|at| !learners.contains(at));
        let best = voters.filter_map(|at| counted(*at)).map(rank).max()?;
        let may_lead = |at: &&Placement| {
            !learners.contains(at) && counted(**at).is_some_and(|answer| rank(answer) == best)
        };
        let winner = eligible.iter().chain(replicas).find(may_lead)?;
        Some((*winner, self.boots[winner]))
    }

    /// What a shard of that boot has to say.
    pub fn event(&mut self, ledger: &mut Ledger, from: (Placement, Boot), event: &Event) {
        match event {
            Event::Opened { partition, epoch } => self.opened(*partition, *epoch, from),
            Event::CaughtUp { partition, replica, boot, .. } => {
                if self.boots.get(replica) == Some(boot) {
                    let learners = &mut self.parts.get_mut(partition).unwrap().config.learners;
                    learners.retain(|at| at != replica);
                    ledger.mark("caught up");
                }
            }
            Event::HandOver { partition, epoch, to, .. } => {
                let part = self.parts.get_mut(partition).unwrap();
                let is_valid = part.epoch == *epoch
                    && part.leader == Some(from)
                    && part.config.replicas.contains(to)
                    && !part.config.learners.contains(to);
                if is_valid {
                    part.epoch = Epoch(epoch.0 + 1);
                    part.leader = Some((*to, self.boots[to]));
                    ledger.mark("hand-overs");
                }
            }
            Event::Fenced(_) | Event::Diverged { .. } | Event::Contradiction { .. } => return,
        }
        self.commit(ledger);
    }

    fn opened(&mut self, id: PartitionId, epoch: Epoch, from: (Placement, Boot)) {
        let part = self.parts.get_mut(&id).unwrap();
        if part.epoch != epoch || part.leader != Some(from) {
            return;
        }
        part.opened = Some(epoch);
        if let Some(incoming) = part.config.incoming.clone().filter(|own| own.contains(&from.0)) {
            part.config.learners.retain(|at| incoming.contains(at));
            (part.config.replicas, part.config.incoming) = (incoming, None);
            part.config.version += 1;
        }
    }

    /// Begins a move, or takes the next step of one.
    pub fn reassign(&mut self, ledger: &mut Ledger, id: PartitionId, target: Vec<Placement>) {
        let flaw = self.flaw;
        let part = self.parts.get_mut(&id).unwrap();
        if part.config.incoming.is_some() {
            return;
        }
        let Some(target) = part.target.clone() else {
            for joining in &target {
                let is_known = part.config.members().contains(joining);
                if !is_known && flaw != Some(Flaw::ReplaceAtOnce) {
                    part.config.learners.push(*joining);
                }
            }
            part.target = Some(target);
            return self.commit(ledger);
        };
        let is_ready = !target.iter().any(|at| part.config.learners.contains(at));
        if is_ready && part.leader.is_some_and(|(at, _)| target.contains(&at)) {
            part.target = None;
            part.epoch = Epoch(part.epoch.0 + 1);
            if flaw == Some(Flaw::ReplaceAtOnce) {
                part.config.replicas = target;
            } else {
                part.config.incoming = Some(target);
            }
            ledger.mark("config changes");
            self.commit(ledger);
        }
    }

    /// Where a leader is, or nobody.
    pub fn leader(&self, id: PartitionId) -> Option<(Placement, Boot)> {
        self.parts[&id].leader.filter(|(at, boot)| self.boots.get(at) == Some(boot))
    }
}
