//! Buffers that go round: the data path takes from here and gives back, and allocates only while
//! the load still grows.

use base::Piece;
use net::ErrorCode;

use crate::job::{Part, Want};

/// Spare buffers of one core.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    bytes: Vec<Vec<u8>>,
    /// Of all in `bytes`.
    kept_bytes: usize,
    pieces: Vec<Vec<Piece>>,
    parts: Vec<Vec<Part>>,
    wants: Vec<Vec<Result<Want, ErrorCode>>>,
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

    /// Takes the places of a request's partitions back.
    pub(crate) fn give_parts(&mut self, mut parts: Vec<Part>) {
        parts.clear();
        if self.parts.len() < SPARES_MAX && parts.capacity() <= SPARE_PLACES_MAX {
            self.parts.push(parts);
        }
    }

    /// Takes what a fetch wanted back.
    pub(crate) fn give_wants(&mut self, mut wants: Vec<Result<Want, ErrorCode>>) {
        wants.clear();
        if self.wants.len() < SPARES_MAX && wants.capacity() <= SPARE_PLACES_MAX {
            self.wants.push(wants);
        }
    }

    pub(crate) fn give_bytes(&mut self, mut bytes: Vec<u8>) {
        let kept_bytes = self.kept_bytes + bytes.capacity();
        if bytes.capacity() <= SPARE_BYTES_MAX && kept_bytes <= KEPT_BYTES_MAX {
            bytes.clear();
            self.kept_bytes = kept_bytes;
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
