//! Randomness, injected.

use std::cell::RefCell;

use zeroize::Zeroize;

/// A source of random bytes fit for ids and keys.
pub trait Random: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's generator.
pub struct OsRandom;

/// Bytes that a thread fetches at once.
const STOCK: usize = 512;
/// What is taken from the stock: ids and nonces. Keys come from the system each.
const SMALL: usize = 16;

/// Random bytes of one thread, fetched ahead: a call of the system costs more than an id needs.
struct Stock {
    bytes: [u8; STOCK],
    /// How many of them are used.
    used: usize,
}

impl Stock {
    /// Moves bytes out: nothing is handed out twice, nor stays behind.
    fn take(&mut self, into: &mut [u8]) {
        if self.used + into.len() > STOCK {
            fetch(&mut self.bytes);
            self.used = 0;
        }
        if let Some(from) = self.bytes.get_mut(self.used..self.used + into.len()) {
            into.copy_from_slice(from);
            from.zeroize();
        }
        self.used += into.len();
    }
}

thread_local! {
    static STOCKED: RefCell<Stock> = const { RefCell::new(Stock { bytes: [0; STOCK], used: STOCK }) };
}

impl Random for OsRandom {
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > SMALL {
            return fetch(bytes);
        }
        // A thread that is ending has no stock any more.
        let taken = STOCKED.try_with(|stock| stock.borrow_mut().take(bytes));
        taken.unwrap_or_else(|_| fetch(bytes));
    }
}

#[allow(clippy::expect_used, reason = "without randomness no id is safe to make")]
fn fetch(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives random bytes");
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn small_amounts_never_repeat_and_are_filled_whole() {
        let mut seen = HashSet::new();
        let mut ored = [0_u8; 10];
        for _ in 0..1000 {
            let mut id = [0; 10];
            OsRandom.fill(&mut id);
            for (all, byte) in ored.iter_mut().zip(id) {
                *all |= byte;
            }
            assert!(seen.insert(id));
        }
        assert_eq!(ored, [255; 10], "each bit of each byte was set once in a thousand times");
    }

    #[test]
    fn what_was_handed_out_does_not_stay_behind() {
        let mut stock = Stock { bytes: [0; STOCK], used: STOCK };
        let mut id = [0; 16];
        stock.take(&mut id);
        assert_ne!(id, [0; 16]);
        assert_eq!(stock.bytes.get(..16), Some(&[0; 16][..]));
        assert_eq!(stock.used, 16);
    }
}
