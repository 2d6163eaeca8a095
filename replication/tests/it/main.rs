//! From outside: the bytes of the cluster log and of messages, and that a replay ends in the same
//! state.

mod format;
mod message;
mod replay;
