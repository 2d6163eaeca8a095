//! Fault injection: what `serve --enable-faults` lets operators do to a node.
//!
//! ```text
//!   chiplog fault … ─POST─▶ Board ─ Mail::Fault ─▶ Interposer, between a data core and its ring
//!                             └───── shared ─────▶ Gate, at the control core's files and links
//! ```
//! Without the flag there is neither, and each place costs one look at an `Option`.

pub(crate) mod board;
pub(crate) mod gate;
pub(crate) mod interposer;
pub(crate) mod request;
mod rules;

use base::{Done, IoError, Op};

pub(crate) use board::{Board, Refusal};
pub(crate) use gate::Gate;
pub(crate) use interposer::Interposer;
pub(crate) use request::FaultRequest;
pub(crate) use rules::{DiskFate, NetFate, Rules};

/// The completion of an operation that the ring never saw.
pub(crate) fn answer(op: Op, res: Result<(), IoError>) -> Done {
    match op {
        Op::Write { tok, pin, .. } => Done::Wrote { tok, pin, res },
        Op::WritePages { tok, pages, .. } => Done::WrotePages { tok, pages, res },
        Op::Read { tok, into, .. } => Done::Filled { tok, buf: into, res },
        Op::Sync { tok, .. } => Done::Synced { tok, res },
        Op::Create { tok, .. } => Done::Created { tok, res },
    }
}
