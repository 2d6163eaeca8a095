//! What a core has in hand: nothing, once every client has gone and every answer has come. What stays
//! then is lost for ever.

use super::Core;
use crate::shard::Shard;

impl Core {
    /// What somebody waits for, by name, without what there is none of.
    pub fn in_hand(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let own = [
            ("connections", self.connections.len()),
            ("jobs", self.jobs.len()),
            ("deadlines of jobs", self.deadlines.len()),
            ("stalled connections", self.stalled.len()),
            ("connections to flush", self.dirty.len()),
            ("outputs", self.outputs.len()),
            ("operations on files", self.ops.len()),
        ];
        let shards = self.shards.iter().flat_map(Shard::in_hand);
        own.into_iter().chain(shards).filter(|(_, count)| 0 < *count)
    }
}
