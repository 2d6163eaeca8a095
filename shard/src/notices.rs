//! What the control core knows and clients ask data cores for: health, and injected faults.

use core::fmt::Write;

use replication::{Health, Placement};

/// See the module's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    /// Every shard of the cluster, as this node sees it. Who leads the cluster log knows best.
    pub health: Vec<(Placement, Health)>,
    /// Faults injected into this node, a phrase for each.
    pub faults: Vec<String>,
}

impl Notices {
    /// `NODE/SHARD=WORD`, with commas between them.
    pub(crate) fn health_text(&self) -> String {
        let mut text = String::new();
        for (Placement { node, shard }, health) in &self.health {
            let comma = if text.is_empty() { "" } else { "," };
            write!(text, "{comma}{node}/{shard}={health}").expect("strings take everything");
        }
        text
    }

    /// With semicolons between them.
    pub(crate) fn faults_text(&self) -> String {
        self.faults.join("; ")
    }
}
