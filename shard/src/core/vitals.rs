//! Signs of life: a core tells the control core that its shards do their work, and whom they heard.

use base::{Instant, Now, Output};
use replication::control_message::Slow;
use replication::detector::HEARTBEAT;

use super::Core;
use crate::mail::{Mail, Vitals};

impl Core {
    /// A node that is alone has nobody who would want to know.
    pub(super) fn show_vitals(&mut self, now: Now) {
        let is_due = self.vitals_due().is_some_and(|due| due <= now.mono);
        if !is_due {
            return;
        }
        self.vitals_shown = Some(now.mono);
        for shard in &self.shards {
            let Some(boot) = shard.boot() else { continue };
            let (shard, heard) = (shard.id, shard.heard());
            let vitals = Vitals { shard, boot, slow: Slow::default(), heard };
            let mail = Mail::Alive(vitals);
            self.outputs.push_back(Output::Mail { to: self.layout.control, mail });
        }
    }

    pub(super) fn vitals_due(&self) -> Option<Instant> {
        let shown = self.vitals_shown.map_or(Instant(0), |shown| shown.plus(HEARTBEAT));
        (self.settings.peering.is_some() && !self.stopping).then_some(shown)
    }
}
