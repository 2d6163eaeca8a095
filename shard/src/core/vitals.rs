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
        let Some(peering) = &self.settings.peering else { return };
        for shard in &mut self.shards {
            let Some(boot) = shard.boot() else { continue };
            let times = || shard.engine.frame_times();
            shard.slow_disk.turn(now.mono, peering.slow_disk_from, times);
            let slow = Slow { disk: shard.slow_disk.is_slow(), net: false };
            let vitals = Vitals { shard: shard.id, boot, slow, heard: shard.heard() };
            let mail = Mail::Alive(vitals);
            self.outputs.push_back(Output::Mail { to: self.layout.control, mail });
        }
    }

    pub(super) fn vitals_due(&self) -> Option<Instant> {
        let shown = self.vitals_shown.map_or(Instant(0), |shown| shown.plus(HEARTBEAT));
        (self.settings.peering.is_some() && !self.stopping).then_some(shown)
    }
}
