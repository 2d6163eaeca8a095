//! The `chiplog` binary as its users meet it.

mod chiplog;
mod command_line;
mod refusals;
