//! Who leads what, by the word of the cluster log and by what the engines do: at most one boot per
//! epoch, the one that was named (I1, I10), and it holds all that is committed (I7).

use std::collections::BTreeMap;

use base::{Epoch, Instant, NodeId, Offset, PartitionId};
use engine::{Engine, Phase};
use replication::{Boot, Leader, Partition, Placement};

use super::machine::Process;
use crate::trace::Trace;
use crate::violation::{Checker, Violation};

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Reigns {
    /// By partition and epoch.
    named: BTreeMap<(PartitionId, u32), Leader>,
    seen: BTreeMap<(PartitionId, u32), Leader>,
    /// The most that any engine took for committed.
    committed: BTreeMap<PartitionId, Offset>,
}

impl Reigns {
    /// The cluster log says who leads.
    pub(super) fn named(
        &mut self,
        now: Instant,
        id: PartitionId,
        partition: &Partition,
        trace: &mut Trace,
    ) -> Result<(), Violation> {
        let Some(leader) = partition.leader else { return Ok(()) };
        let epoch = partition.epoch;
        match self.named.insert((id, epoch.0), leader) {
            None => {
                trace.say(now, "named", format_args!("{id} epoch {epoch}: {}", spot(leader)));
                Ok(())
            }
            Some(known) if known == leader => Ok(()),
            Some(known) => {
                let what = format!("{id} epoch {epoch} was given to {known:?} and {leader:?}");
                Err(Violation::new(Checker::Leaders, what))
            }
        }
    }

    /// Whether anyone was seen to lead in that epoch.
    pub(super) fn has_begun(&self, id: PartitionId, epoch: Epoch) -> bool {
        self.seen.contains_key(&(id, epoch.0))
    }

    /// How many there were.
    pub(super) fn count(&self) -> usize {
        self.seen.len()
    }

    /// Looks at what a node does.
    pub(super) fn look(
        &mut self,
        now: Instant,
        node: NodeId,
        process: &Process,
        ids: &[PartitionId],
        trace: &mut Trace,
    ) -> Result<(), Violation> {
        for (shard, engine) in process.cores.iter().flat_map(shard::Core::engines) {
            if *engine.phase() != Phase::Open {
                continue;
            }
            let boot = Boot { journal: engine.journal_id(), boot: engine.incarnation() };
            let own = Leader { placement: Placement { node, shard }, boot };
            for id in ids {
                self.look_at(now, own, engine, *id, trace)?;
            }
        }
        Ok(())
    }

    fn look_at(
        &mut self,
        now: Instant,
        own: Leader,
        engine: &Engine,
        id: PartitionId,
        trace: &mut Trace,
    ) -> Result<(), Violation> {
        let Some(view) = engine.replica(id) else { return Ok(()) };
        let committed = self.committed.entry(id).or_default();
        if let Some(epoch) = engine.reign(id) {
            let key = (id, epoch.0);
            let known = self.seen.get(&key).copied();
            if known != Some(own) {
                let (end, at) = (view.log_end.0, spot(own));
                trace.say(now, "leads", format_args!("{at} {id} epoch {epoch} from {end} on"));
                if known.is_some() || self.named.get(&key).is_some_and(|named| *named != own) {
                    let named = self.named.get(&key);
                    let what = format!("{id} epoch {epoch}: {own:?} leads, {known:?}, {named:?}");
                    return Err(Violation::new(Checker::Leaders, what));
                }
                if end < *committed {
                    let what = format!("{at} leads {id} from {end}, committed is {committed}");
                    return Err(Violation::new(Checker::Leaders, what));
                }
                self.seen.insert(key, own);
            }
        }
        *committed = view.committed.0.max(*committed);
        Ok(())
    }
}

fn spot(leader: Leader) -> String {
    let Leader { placement: Placement { node, shard }, boot } = leader;
    format!("{node}/{shard} boot {}", boot.boot)
}
