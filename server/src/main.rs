//! The `chiplog` program.

use std::process::ExitCode;

/// What a core takes from the heap shows in its metrics.
#[global_allocator]
static ALLOCATOR: ring::CountingAllocator = ring::CountingAllocator;

fn main() -> ExitCode {
    server::cli::run()
}
