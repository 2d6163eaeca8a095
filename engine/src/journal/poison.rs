//! Why a journal stopped.

use core::fmt;

use base::{IoError, Seq};

use super::frame::Place;

/// The failed write that ended a journal's service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoisonCause {
    pub seq: Seq,
    pub place: Place,
    pub error: IoError,
}

impl fmt::Display for PoisonCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { segment, position } = self.place;
        let (seq, error) = (self.seq, self.error);
        write!(f, "writing journal frame {seq} to segment {segment} at byte {position}: {error}")
    }
}

impl std::error::Error for PoisonCause {}
