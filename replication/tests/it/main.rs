//! From outside: the bytes of the cluster log and of messages, and that a replay ends in the same
//! state.

mod control_message;
mod format;
mod message;
mod replay;
