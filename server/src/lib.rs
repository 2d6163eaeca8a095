//! The `chiplog` program: command line, configuration, data folder, and the wiring of shards to
//! rings.

pub mod cli;
pub mod client;
mod clock;
pub mod commands;
pub mod config;
pub mod control;
pub mod data_folder;
pub mod failure;
mod faults;
pub mod herald;
pub mod listen;
mod offline;
pub mod output;
pub mod serve;
pub mod signals;
