//! Partitions that this shard leads and is to hand over.
//!
//! ```text
//!   wanted ─ the successor keeps up ─▶ handing over ─ it holds all ─▶ the cluster log names it
//!      ▲                                   │
//!      └──────── rest ◀─ it takes too long ┘
//! ```
//! While it is handed over a partition takes nothing, so that must be short: a successor that cannot
//! catch up at once, or falls away, does not hold it up for longer than that.

use core::time::Duration;
use std::collections::BTreeMap;

use base::{Instant, PartitionId};
use replication::Placement;
use replication::replica::{Log, ReplicaSet, Standing};

/// How long a partition may take nothing while nobody is known to hold all of it but its leader.
const HAND_OVER_MAX: Duration = Duration::from_millis(100);
/// How long it is led on after that.
const REST: Duration = Duration::from_secs(1);

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Successions(BTreeMap<PartitionId, Succession>);

#[derive(Clone, Copy, Debug)]
struct Succession {
    to: Placement,
    /// When it began, or may begin.
    since: Instant,
}

impl Successions {
    /// Takes over which partitions are wanted elsewhere.
    pub(crate) fn conform(&mut self, wanted: Vec<(PartitionId, Placement)>) {
        let known = core::mem::take(&mut self.0);
        let since = |id: &PartitionId| known.get(id).map_or(Instant(0), |known| known.since);
        let wanted = wanted.into_iter();
        self.0 = wanted.map(|(id, to)| (id, Succession { to, since: since(&id) })).collect();
    }

    /// Goes on with each.
    pub(crate) fn turn<L: Log>(&mut self, now: Instant, set: &mut ReplicaSet, log: &L) {
        for (id, succession) in &mut self.0 {
            let is_begun = match set.standing(*id) {
                Standing::Leads { .. } => false,
                Standing::HandsOver { to, .. } => to == succession.to,
                Standing::Superseded { .. } | Standing::Follows | Standing::Stranger => continue,
            };
            if !is_begun {
                if succession.since <= now
                    && set.keeps_up(*id, succession.to)
                    && set.hand_over(log, *id, succession.to)
                {
                    succession.since = now;
                }
            } else if HAND_OVER_MAX <= now.since(succession.since) && set.lead_on(*id) {
                succession.since = now.plus(REST);
            }
        }
    }
}
