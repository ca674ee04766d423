//! Exit codes only: 0 done, 1 failed, 2 wrong use.

use std::process::ExitCode;

use libmimalloc_sys::{mi_option_set_default, mi_option_t, mi_option_use_numa_nodes};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's `mi_option_purge_delay`: for how many milliseconds freed pages are kept before the
/// system gets them back. The bindings name the option behind it.
const PURGE_DELAY: mi_option_t = mi_option_use_numa_nodes - 1;

fn main() -> ExitCode {
    give_back_at_once();
    audience_store::cli::run()
}

/// Has the allocator give freed pages back at once, where `MIMALLOC_PURGE_DELAY` does not say
/// otherwise. A second is its default, in which other threads take fresh ones (decision 74).
fn give_back_at_once() {
    // SAFETY: it sets a number, by an index within the allocator's table of them, before there is
    // another thread.
    unsafe { mi_option_set_default(PURGE_DELAY, 0) }
}

#[cfg(test)]
mod tests {
    use libmimalloc_sys::mi_option_get;

    use super::*;

    #[test]
    fn the_option_is_the_one_that_delays_purging() {
        // SAFETY: it reads a number, by an index within the allocator's table of them.
        let value = || unsafe { mi_option_get(PURGE_DELAY) };
        let before = value();
        assert_eq!(before, 1000, "no other option of mimalloc 3 has this default");
        give_back_at_once();
        assert_eq!(value(), 0);
    }
}
