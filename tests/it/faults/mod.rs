//! Real faults on the real program. What each test saw, and how often, is in `docs/guarantees.md`.
//!
//! `saver` is a client that knows what it was told; `small_disk` a real small file system; `preload`
//! steers `tests/faults/preload.c`, which delays and fails syncs and moves the clock.

mod clock;
mod crowds;
mod denied;
mod descriptors;
mod disconnect;
mod failed_sync;
mod file_bits;
mod full_disk;
mod log_bytes;
mod memory;
mod preload;
mod removed;
mod saver;
mod slow_disk;
mod small_disk;

/// However long the machine stands still, it is not a request's time that runs out.
const PATIENT: &str = "--request-timeout=10m";
