//! Answers out: one gathered send per connection and turn, for the connections that have one due.

use base::{ConnId, Output, Piece, Send};

use super::Core;
use crate::connection::Gather;
use crate::mail::Ticket;
use crate::reply::Gate;

impl Core {
    /// Queues an answer in request order.
    pub(crate) fn reply(&mut self, id: ConnId, gate: Gate, body: Vec<Piece>) {
        let Some(conn) = self.connections.get_mut(id) else { return self.recycle(body) };
        conn.replies.push(gate, body);
        self.expect(id, gate);
    }

    /// Puts a job's answer into the place that was held for it.
    pub(crate) fn fulfil(&mut self, id: ConnId, ticket: Ticket, gate: Gate, body: Vec<Piece>) {
        let unwanted = match self.connections.get_mut(id) {
            Some(conn) => conn.replies.fulfil(ticket, gate, body).err(),
            None => Some(body),
        };
        match unwanted {
            None => self.expect(id, gate),
            Some(body) => self.recycle(body),
        }
    }

    /// Sends what is due on every connection that was marked.
    pub(crate) fn flush(&mut self) {
        for index in 0..self.shards.len() {
            while let Some(id) = self.shards[index].pop_acknowledged() {
                self.mark_dirty(id);
            }
        }
        let mut dirty = core::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            self.send_due(id);
        }
        self.dirty = dirty;
    }

    /// A send ended: its memory comes back, and the next may go.
    pub(crate) fn sent(&mut self, id: ConnId, pieces: Vec<Piece>) {
        self.recycle(pieces);
        if let Some(conn) = self.connections.get_mut(id) {
            conn.sending = false;
            self.mark_dirty(id);
        }
    }

    /// The connection is gone: so are its answers, and the jobs that would have given them.
    pub(crate) fn closed(&mut self, id: ConnId) {
        let Some(mut conn) = self.connections.remove(id) else { return };
        for (ticket, body) in conn.replies.drain() {
            self.recycle(body);
            if let Some(ticket) = ticket {
                self.abandon_job(ticket);
            }
        }
    }

    /// Asks the shell to close the connection.
    pub(crate) fn close(&mut self, id: ConnId) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        if !conn.closing {
            conn.closing = true;
            self.outputs.push_back(Output::Close(id));
        }
    }

    /// Gives everything that an answer held back to its owner.
    pub(crate) fn recycle(&mut self, mut pieces: Vec<Piece>) {
        for piece in pieces.drain(..) {
            match piece {
                Piece::Bytes { bytes, .. } => self.pool.give_bytes(bytes),
                Piece::Tail { shard, pin, .. } => {
                    self.shard_mut(shard).expect("a pin returns to its shard").engine.unpin(pin);
                }
                // Whose they were does not matter: memory is memory, and a core seldom has two shards.
                Piece::Pages { pages, .. } => {
                    self.shards.first_mut().expect("who read has a shard").engine.recycle(pages);
                }
            }
        }
        self.pool.give_pieces(pieces);
    }

    /// Makes sure that the connection is looked at when the gate opens.
    fn expect(&mut self, id: ConnId, gate: Gate) {
        match gate {
            Gate::Open => self.mark_dirty(id),
            Gate::Durable { shard, seq } => {
                self.shard_mut(shard).expect("only own frames are waited for").await_frame(seq, id);
            }
            Gate::Job(_) => {}
        }
    }

    fn mark_dirty(&mut self, id: ConnId) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(id);
        }
    }

    fn send_due(&mut self, id: ConnId) {
        let Self { connections, shards, pool, outputs, .. } = self;
        let Some(conn) = connections.get_mut(id) else { return };
        conn.dirty = false;
        if conn.sending || conn.closing {
            return;
        }
        let mut gather = Gather::new(pool.pieces());
        while !gather.is_full() {
            let due = conn.replies.pop(|id, seq| {
                shards.iter().find(|shard| shard.id == id).and_then(|shard| shard.prove(seq))
            });
            let Some(mut body) = due else { break };
            for piece in body.drain(..) {
                if let Some(spare) = gather.push(piece) {
                    pool.give_bytes(spare);
                }
            }
            pool.give_pieces(body);
        }
        let pieces = gather.finish();
        if pieces.is_empty() {
            pool.give_pieces(pieces);
        } else {
            conn.sending = true;
            outputs.push_back(Output::Send(Send { conn: id, pieces }));
        }
    }
}
