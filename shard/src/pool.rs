//! Buffers that go round: the data path takes from here and gives back, and allocates only while
//! the load still grows.

use base::Piece;
use net::ErrorCode;

use crate::job::{Part, Want};
use crate::mail::Spare;
use crate::serve::Relayed;

/// Spare buffers of one core.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    bytes: Vec<Vec<u8>>,
    /// Of all in `bytes`.
    kept_bytes: usize,
    pieces: Vec<Vec<Piece>>,
    parts: Vec<Vec<Part>>,
    wants: Vec<Vec<Result<Want, ErrorCode>>>,
    relayed: Vec<Vec<Relayed>>,
}

/// Most lists kept of each kind: those of 16 connections that leave as many answers waiting as they
/// may.
const SPARES_MAX: usize = 16 << 10;
/// A buffer that grew beyond this is not kept: one large answer must not hold its memory for ever.
const SPARE_BYTES_MAX: usize = 64 << 10;
/// Nor are more than these, all together.
const KEPT_BYTES_MAX: usize = 16 << 20;
/// The same for lists of partitions.
const SPARE_PLACES_MAX: usize = 1024;

impl Pool {
    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        match self.bytes.pop() {
            Some(bytes) => {
                self.kept_bytes -= bytes.capacity();
                bytes
            }
            None => Vec::with_capacity(256),
        }
    }

    pub(crate) fn pieces(&mut self) -> Vec<Piece> {
        self.pieces.pop().unwrap_or_else(|| Vec::with_capacity(8))
    }

    pub(crate) fn parts(&mut self) -> Vec<Part> {
        self.parts.pop().unwrap_or_default()
    }

    pub(crate) fn wants(&mut self) -> Vec<Result<Want, ErrorCode>> {
        self.wants.pop().unwrap_or_default()
    }

    pub(crate) fn relayed(&mut self) -> Vec<Relayed> {
        self.relayed.pop().unwrap_or_default()
    }

    /// A buffer that goes along with a message, if there is one: its receiver sends as many to this
    /// core as it gets.
    pub(crate) fn spare_bytes(&mut self) -> Spare {
        let bytes = if self.bytes.is_empty() { Vec::new() } else { self.bytes() };
        Spare { bytes, pieces: Vec::new() }
    }

    /// The same, with a list of pieces.
    pub(crate) fn spare_answer(&mut self) -> Spare {
        Spare { pieces: self.pieces.pop().unwrap_or_default(), ..self.spare_bytes() }
    }

    /// Takes what came along with a message.
    pub(crate) fn give_spare(&mut self, spare: Spare) {
        self.give_bytes(spare.bytes);
        self.give_pieces(spare.pieces);
    }

    /// Takes the places of a request's partitions back.
    pub(crate) fn give_parts(&mut self, mut parts: Vec<Part>) {
        parts.clear();
        keep(&mut self.parts, parts, SPARE_PLACES_MAX);
    }

    /// Takes what a fetch wanted back.
    pub(crate) fn give_wants(&mut self, mut wants: Vec<Result<Want, ErrorCode>>) {
        wants.clear();
        keep(&mut self.wants, wants, SPARE_PLACES_MAX);
    }

    /// Takes an emptied list of batches for other cores back.
    pub(crate) fn give_relayed(&mut self, relayed: Vec<Relayed>) {
        assert!(relayed.is_empty(), "batches that nobody was asked to append");
        keep(&mut self.relayed, relayed, SPARE_PLACES_MAX);
    }

    pub(crate) fn give_bytes(&mut self, mut bytes: Vec<u8>) {
        let kept_bytes = self.kept_bytes + bytes.capacity();
        let has_memory = 0 < bytes.capacity();
        if has_memory && bytes.capacity() <= SPARE_BYTES_MAX && kept_bytes <= KEPT_BYTES_MAX {
            bytes.clear();
            self.kept_bytes = kept_bytes;
            self.bytes.push(bytes);
        }
    }

    /// Takes an emptied list back.
    pub(crate) fn give_pieces(&mut self, pieces: Vec<Piece>) {
        assert!(pieces.is_empty(), "pieces hold pins and buffers: give those back first");
        keep(&mut self.pieces, pieces, usize::MAX);
    }
}

/// Keeps a list unless it has no memory, more than `places_max` places, or too many fellows. Whoever
/// took one without memory would have to find some.
fn keep<T>(spares: &mut Vec<Vec<T>>, list: Vec<T>, places_max: usize) {
    if (1..=places_max).contains(&list.capacity()) && spares.len() < SPARES_MAX {
        spares.push(list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_memory_is_not_kept() {
        let mut pool = Pool::default();
        pool.give_bytes(Vec::with_capacity(300));
        pool.give_bytes(Vec::new());
        pool.give_pieces(Vec::with_capacity(9));
        pool.give_pieces(Vec::new());
        pool.give_wants(Vec::with_capacity(3));
        pool.give_wants(Vec::new());
        assert_eq!(pool.bytes().capacity(), 300);
        assert_eq!(pool.pieces().capacity(), 9);
        assert_eq!(pool.wants().capacity(), 3);
    }
}
