//! Replication from outside: a few shards with logs in memory, under random and directed histories,
//! held against the invariants of the design.

#![allow(clippy::unwrap_used, reason = "a test: clippy exempts only functions marked so")]
#![allow(unreachable_pub, reason = "nobody reaches into a test")]

mod actions;
mod cases;
mod control;
mod flow;
mod histories;
mod ledger;
mod memory_log;
mod part;
mod random;
mod world;
