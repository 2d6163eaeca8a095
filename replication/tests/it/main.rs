//! The cluster log from outside: what its bytes are, and that a replay ends in the same state.

mod format;
mod replay;
