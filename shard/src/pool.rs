//! Buffers that go round: the data path takes from here and gives back, and allocates only while
//! the load still grows.

use base::Piece;

/// Spare buffers of one core.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    bytes: Vec<Vec<u8>>,
    pieces: Vec<Vec<Piece>>,
}

/// Most spares kept of each kind: those of 16 connections that leave as many answers waiting as they
/// may.
const SPARES_MAX: usize = 16 << 10;
/// A buffer that grew beyond this is not kept: one large answer must not hold its memory for ever.
const SPARE_BYTES_MAX: usize = 64 << 10;

impl Pool {
    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        self.bytes.pop().unwrap_or_else(|| Vec::with_capacity(256))
    }

    pub(crate) fn pieces(&mut self) -> Vec<Piece> {
        self.pieces.pop().unwrap_or_else(|| Vec::with_capacity(8))
    }

    pub(crate) fn give_bytes(&mut self, mut bytes: Vec<u8>) {
        if self.bytes.len() < SPARES_MAX && bytes.capacity() <= SPARE_BYTES_MAX {
            bytes.clear();
            self.bytes.push(bytes);
        }
    }

    /// Takes an emptied list back.
    pub(crate) fn give_pieces(&mut self, pieces: Vec<Piece>) {
        assert!(pieces.is_empty(), "pieces hold pins and buffers: give those back first");
        if self.pieces.len() < SPARES_MAX {
            self.pieces.push(pieces);
        }
    }
}
