//! From outside: the bytes of the cluster log and of messages, and that a replay ends in the same
//! state.

#![allow(clippy::unwrap_used, reason = "a test: clippy exempts only functions marked so")]

mod control_message;
mod detector;
mod elector;
mod fencing_messages;
mod format;
mod leadership;
mod message;
mod replay;
