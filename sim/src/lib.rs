//! The production state machines in one deterministic thread.
//!
//! ```text
//!                 seed ──▶ knobs ──▶ world ─────────────────────────────┐
//!   clients ─append, read─▶ engine ─Op─▶ disk (cache, faults, cuts)     │
//!      ▲                      │  ◀─Done──┘                              │
//!      └──── acks, bytes ─────┘                                         │
//!      └──▶ ledger: what was promised, what was seen ──▶ violation?     │
//!                 trace: every event, hashed ◀──────────────────────────┘
//! ```
//! Time is virtual, randomness is the seed's, and nothing else comes in: a seed that fails once
//! fails for ever.

pub mod corpus;
pub mod coverage;
pub mod disk;
pub mod host;
pub mod knobs;
pub mod ledger;
pub mod lives;
pub mod mutants;
pub mod plan;
pub mod producer;
pub mod random;
pub mod run;
pub mod shrink;
pub mod trace;
pub mod violation;
pub mod worlds;
