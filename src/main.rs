//! Exit codes only: 0 done, 1 failed, 2 wrong use.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    audience_store::cli::run()
}
