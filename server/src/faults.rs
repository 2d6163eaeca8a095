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

pub(crate) use board::{Board, Refusal};
pub(crate) use gate::Gate;
pub(crate) use interposer::Interposer;
pub(crate) use request::FaultRequest;
pub(crate) use rules::{DiskFate, NetFate, Rules};
