//! Elections from outside: control leaders that come and go, shards that crash, lose their disks or
//! part of them, and messages that are late, lost or doubled, held against I1, I7 and I8.

#![allow(clippy::unwrap_used, reason = "a test: clippy exempts only functions marked so")]
#![allow(unreachable_pub, reason = "nobody reaches into a test")]

mod histories;
mod random;
mod shard;
mod world;
