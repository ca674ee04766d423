//! Randomness, injected.

/// A source of random bytes fit for ids and keys.
pub trait Random: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's generator.
pub struct OsRandom;

impl Random for OsRandom {
    #[allow(clippy::expect_used, reason = "without randomness no id is safe to make")]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}
