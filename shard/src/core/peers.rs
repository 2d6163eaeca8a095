//! Connections of peers: dialled and accepted, greeted, heard and spoken to.

use core::time::Duration;

use base::{ConnId, DialId, IoError, Now, Output, Send, ShardId};
use replication::link::{Identity, Link, Said};
use replication::replica::Message;
use replication::replica::message::FRAME_BYTES_MAX;
use replication::{Leader, Placement};

use super::Core;
use crate::connection::{Gather, SEND_PIECES_MAX};
use crate::mail::Mail;
use crate::peer::Line;
use crate::replicas::{Direction, PeerOutput};

/// How long a shard that could not be reached is left alone.
const REST: Duration = Duration::from_millis(100);
/// How often a shard looks whom it should have dialled.
const LOOK: Duration = Duration::from_millis(100);

impl Core {
    /// Another shard dialled `shard`. Without a boot to name there is nothing to say yet.
    pub(super) fn peer_came(&mut self, conn: ConnId, shard: ShardId) {
        let Some((identity, secret)) = self.identity(shard) else {
            return self.outputs.push_back(Output::Close(conn));
        };
        let link = Link::accept(identity, &secret, FRAME_BYTES_MAX as u32);
        self.peers.insert(Line::new(conn, shard, Direction::In, link));
    }

    /// What became of a dial.
    pub(super) fn dialled(&mut self, now: Now, dial: DialId, result: Result<ConnId, IoError>) {
        let (shard, to) = self.peers.end_dial(dial);
        let rest = now.mono.plus(REST);
        let Ok(conn) = result else { return self.peers.rest(shard, to, rest) };
        let identity = self.identity(shard);
        let replicas = self.shard_mut(shard).and_then(|own| own.replicas.as_mut());
        let (Some((identity, secret)), Some(replicas)) = (identity, replicas) else {
            self.peers.rest(shard, to, rest);
            return self.outputs.push_back(Output::Close(conn));
        };
        let stream = replicas.set.dialling();
        let mut hello = Vec::new();
        let bytes_max = FRAME_BYTES_MAX as u32;
        let link = Link::dial(identity, to, stream, &secret, bytes_max, &mut hello);
        let mut line = Line::new(conn, shard, Direction::Out, link);
        (line.peer, line.stream) = (Some(to), stream);
        line.push([base::Piece::Bytes { bytes: hello, from: 0 }]);
        self.peers.insert(line);
    }

    /// What a shard says of itself, and the secret that proves it.
    fn identity(&mut self, shard: ShardId) -> Option<(Identity, replication::link::Secret)> {
        let secret = self.settings.peering.as_ref()?.secret.clone();
        let challenge = self.draw_uuid().0;
        let boot = self.shard_mut(shard)?.boot()?;
        let placement = Placement { node: self.layout.node, shard };
        let (cluster, cluster_index) = (self.state.cluster(), self.state.version());
        Some((Identity { cluster, placement, boot, cluster_index, challenge }, secret))
    }

    /// Takes bytes of a peer. False if the connection is a client's.
    pub(super) fn hear_peer(&mut self, now: Now, conn: ConnId, mut received: &[u8]) -> bool {
        let Some(line) = self.peers.get_mut(conn) else { return false };
        let Some(mut link) = line.link.take().filter(|_| !line.closing) else { return true };
        let mut out = Vec::new();
        let understood = loop {
            match link.next(&mut received, &mut out) {
                Ok(None) => break true,
                Ok(Some(Said::Opened { peer, .. })) => {
                    if !self.line_opened(now, conn, &peer) {
                        break false;
                    }
                }
                Ok(Some(Said::Frame(frame))) => {
                    let Ok(message) = Message::decode(frame) else { break false };
                    let line = self.peers.get_mut(conn).expect("it is being heard");
                    let (shard, from) = (line.shard, line.peer.expect("open lines have a peer"));
                    let own = self.shards.iter_mut().find(|own| own.id == shard);
                    own.expect("lines are of own shards").hear(now, from, message);
                }
                Err(_) => break false,
            }
        };
        let line = self.peers.get_mut(conn).expect("it is being heard");
        line.link = Some(link);
        if !out.is_empty() {
            line.push([base::Piece::Bytes { bytes: out, from: 0 }]);
        }
        if !understood {
            self.flush_line(conn);
            self.close_line(conn);
        }
        true
    }

    /// A line's other end has proven who it is. A line that it takes the place of is closed.
    fn line_opened(
        &mut self,
        now: Now,
        conn: ConnId,
        peer: &replication::replica::message::Hello,
    ) -> bool {
        let line = self.peers.get_mut(conn).expect("it is being heard");
        let (shard, direction) = (line.shard, line.direction);
        let older = self.peers.open_line(shard, peer.from, direction).map(|line| line.conn);
        if let Some(older) = older {
            self.close_line(older);
        }
        let line = self.peers.get_mut(conn).expect("it is being heard");
        (line.peer, line.stream, line.is_open) = (Some(peer.from), peer.stream, true);
        let Some(own) = self.own_leader(shard) else { return false };
        let shard = self.shard_mut(shard).expect("lines are of own shards");
        shard.line_opened(now, own, (peer.from, peer.boot), direction, peer.stream);
        true
    }

    /// A send to a peer ended.
    pub(super) fn sent_to_peer(&mut self, conn: ConnId) {
        if let Some(line) = self.peers.get_mut(conn) {
            line.sending = false;
        }
    }

    /// The connection is gone. False if it was a client's.
    pub(super) fn peer_left(&mut self, now: Now, conn: ConnId) -> bool {
        let Some(mut line) = self.peers.remove(conn) else { return false };
        self.recycle(line.out.drain(..).collect());
        let Some(peer) = line.peer else { return true };
        if line.direction == Direction::Out {
            self.peers.rest(line.shard, peer, now.mono.plus(REST));
        }
        if line.is_open
            && let Some(own) = self.shard_mut(line.shard)
        {
            own.line_closed(peer, line.direction, line.stream);
        }
        true
    }

    fn close_line(&mut self, conn: ConnId) {
        let Some(line) = self.peers.get_mut(conn) else { return };
        if !line.closing {
            line.closing = true;
            self.outputs.push_back(Output::Close(conn));
        }
    }

    /// Does what replication wants done, and sends what that left to say.
    pub(super) fn talk_to_peers(&mut self, now: Now) {
        if self.settings.peering.is_none() {
            return;
        }
        for index in 0..self.shards.len() {
            while let Some(output) = self.shards[index].pop_peer_output(now) {
                self.put_through(self.shards[index].id, output);
            }
        }
        self.dial_followers(now);
        let waiting = |line: &Line| !line.out.is_empty() && !line.sending && !line.closing;
        let ready: Vec<ConnId> =
            self.peers.lines().filter(|line| waiting(line)).map(|line| line.conn).collect();
        ready.into_iter().for_each(|conn| self.flush_line(conn));
    }

    fn put_through(&mut self, shard: ShardId, output: PeerOutput) {
        match output {
            PeerOutput::Send { to, dialled, pieces } => {
                let direction = if dialled { Direction::Out } else { Direction::In };
                match self.peers.open_line(shard, to, direction) {
                    Some(line) => line.push(pieces),
                    // Lost with its connection.
                    None => self.recycle(pieces),
                }
            }
            PeerOutput::Break { peer, dialled, stream } => {
                let direction = if dialled { Direction::Out } else { Direction::In };
                let broken = |line: &&mut Line| {
                    (line.shard, line.peer) == (shard, Some(peer))
                        && (line.direction, line.stream) == (direction, stream)
                };
                let conn = self.peers.lines().find(broken).map(|line| line.conn);
                conn.into_iter().for_each(|conn| self.close_line(conn));
            }
            PeerOutput::Event(event) => {
                let mail = Mail::Replica { shard, event };
                self.outputs.push_back(Output::Mail { to: self.layout.control, mail });
            }
        }
    }

    /// Dials the shards that hold replicas of what this core's shards lead.
    fn dial_followers(&mut self, now: Now) {
        if self.stopping || self.peers.look_at.is_some_and(|at| now.mono < at) {
            return;
        }
        let replicating = self.shards.iter().filter_map(|shard| {
            let replicas = shard.replicas.as_ref()?;
            Some((shard.id, replicas.set.followers().collect::<Vec<_>>()))
        });
        let wanted: Vec<(ShardId, Vec<Placement>)> = replicating.collect();
        if wanted.is_empty() {
            return;
        }
        self.peers.look_at = Some(now.mono.plus(LOOK));
        for (shard, followers) in wanted {
            for to in followers {
                let peering = self.settings.peering.as_ref().expect("looked at before");
                let Some(address) = peering.address(to) else { continue };
                if let Some(dial) = self.peers.begin_dial(now.mono, shard, to) {
                    self.outputs.push_back(Output::Dial { dial, to: address });
                }
            }
        }
    }

    fn flush_line(&mut self, conn: ConnId) {
        let Self { peers, pool, outputs, .. } = self;
        let Some(line) = peers.get_mut(conn) else { return };
        if line.sending || line.out.is_empty() {
            return;
        }
        let mut gather = Gather::new(pool.pieces());
        while !gather.is_full()
            && let Some(piece) = line.out.pop_front()
        {
            if let Some(spare) = gather.push(piece) {
                pool.give_bytes(spare);
            }
        }
        let pieces = gather.finish();
        debug_assert!(pieces.len() <= SEND_PIECES_MAX + 1, "{} pieces", pieces.len());
        line.sending = true;
        outputs.push_back(Output::Send(Send { conn, pieces }));
    }

    /// This core's own place in the cluster, as a boot of `shard`.
    pub(super) fn own_leader(&self, shard: ShardId) -> Option<Leader> {
        let own = self.shards.iter().find(|own| own.id == shard)?;
        let placement = Placement { node: self.layout.node, shard };
        Some(Leader { placement, boot: own.boot()? })
    }
}
