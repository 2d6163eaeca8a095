//! The `chiplog` binary as its users meet it.

mod chiplog;
mod cluster;
mod command_line;
mod conversation;
mod faults;
mod groups;
mod http;
mod refusals;
mod server;
mod serving;
mod stopped;
mod terminal;
