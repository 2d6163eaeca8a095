//! How long words take to other nodes and back, and whether this node is slow to all of them.
//!
//! A node that is slow to one peer alone may have a slow peer; who is slow to every one has a slow
//! link, or too little CPU, itself.

use core::time::Duration;
use std::collections::BTreeMap;

use base::{Instant, NodeId};

use crate::slowness::Slowness;

/// How often each peer is called.
const CALL_EVERY: Duration = Duration::from_millis(100);
/// How long echoes are gathered before they are judged.
const WINDOW: Duration = Duration::from_secs(1);
/// Echoes below which a window says nothing.
const ECHOES_MIN: usize = 3;
/// A node that hears half of its echoes later than this is slow. Neighbours on a busy machine answer
/// within some milliseconds.
const SLOW_FROM: Duration = Duration::from_millis(25);
/// Peers below which it cannot be told who is slow.
const PEERS_MIN: usize = 2;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Echoes {
    peers: BTreeMap<NodeId, Peer>,
    next_call: Instant,
    window_ends: Instant,
}

#[derive(Debug, Default)]
struct Peer {
    /// Of this window.
    times: Vec<Duration>,
    slowness: Slowness,
    /// The last window had enough of them.
    is_heard: bool,
}

impl Echoes {
    /// Whether it is time to call every peer.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.next_call <= now;
        if due {
            self.next_call = now.plus(CALL_EVERY);
        }
        if self.window_ends <= now {
            self.window_ends = now.plus(WINDOW);
            self.peers.values_mut().for_each(Peer::judge);
        }
        due
    }

    /// A word that was said to `node` then has come back.
    pub(crate) fn returned(&mut self, now: Instant, node: NodeId, sent: Instant) {
        self.peers.entry(node).or_default().times.push(now.since(sent));
    }

    /// Whether every peer that answers is far, as time goes.
    pub(crate) fn is_slow(&self) -> bool {
        let mut heard = self.peers.values().filter(|peer| peer.is_heard);
        let count = heard.clone().count();
        PEERS_MIN <= count && heard.all(|peer| peer.slowness.is_slow())
    }
}

impl Peer {
    fn judge(&mut self) {
        self.is_heard = ECHOES_MIN <= self.times.len();
        if self.is_heard {
            self.times.sort_unstable();
            self.slowness.judge(self.times[self.times.len() / 2], SLOW_FROM);
        }
        self.times.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: u64 = 2;
    const SLOW: u64 = 40;

    /// Five seconds in which each peer's echoes take so many milliseconds.
    fn live(echoes: &mut Echoes, from: &mut Instant, peers_ms: &[u64]) {
        for _ in 0..60 {
            *from = from.plus(CALL_EVERY);
            if echoes.is_due(*from) {
                for (node, ms) in (1..).zip(peers_ms) {
                    let back = from.plus(Duration::from_millis(*ms));
                    echoes.returned(back, NodeId(node), *from);
                }
            }
        }
    }

    #[test]
    fn a_node_is_slow_if_all_its_peers_are_far() {
        let (mut echoes, mut now) = (Echoes::default(), Instant(0));
        live(&mut echoes, &mut now, &[FAST, FAST]);
        assert!(!echoes.is_slow());
        live(&mut echoes, &mut now, &[FAST, SLOW]);
        assert!(!echoes.is_slow(), "that peer is");
        live(&mut echoes, &mut now, &[SLOW, SLOW]);
        assert!(echoes.is_slow());
        live(&mut echoes, &mut now, &[FAST, FAST]);
        assert!(!echoes.is_slow(), "it is well again");
    }

    #[test]
    fn a_single_peer_cannot_tell() {
        let (mut echoes, mut now) = (Echoes::default(), Instant(0));
        live(&mut echoes, &mut now, &[SLOW]);
        assert!(!echoes.is_slow());
        live(&mut echoes, &mut now, &[SLOW, SLOW]);
        assert!(echoes.is_slow());
        live(&mut echoes, &mut now, &[SLOW]);
        assert!(!echoes.is_slow(), "the other one is silent");
    }
}
