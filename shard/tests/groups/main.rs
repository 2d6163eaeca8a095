//! Coordinators of groups against a log and a clock: each behaviour by itself, each known-wrong
//! behaviour with the case that shows it, and random histories.

#![allow(clippy::unwrap_used, reason = "a test: clippy exempts only functions marked so")]

mod cases;
mod histories;
mod joins;
mod offsets;
mod world;
