//! A value that one writer replaces now and then and every HTTP worker reads with each request.
//!
//! A [`Reader`] keeps the value it saw last and looks at one atomic number, which is written only
//! when the value is replaced: readers share nothing that any of them writes, and take the mutex
//! once a replacement.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The value.
pub struct Published<T> {
    generation: AtomicU64,
    current: Mutex<Arc<T>>,
}

impl<T> Published<T> {
    /// The first value.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self { generation: AtomicU64::new(0), current: Mutex::new(Arc::new(value)) }
    }

    /// Replaces the value. A read that begins after this returns sees the new one.
    pub fn publish(&self, value: T) {
        // Nothing that holds this lock can panic.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(value);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The value, for those who read it seldom.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A reader for one thread.
    #[must_use]
    pub fn reader(&self) -> Reader<T> {
        let generation = self.generation.load(Ordering::Acquire);
        Reader { generation, value: self.get() }
    }
}

/// What one thread saw last.
pub struct Reader<T> {
    generation: u64,
    value: Arc<T>,
}

impl<T> Reader<T> {
    /// The value, and whether it is another than the last time.
    pub fn read(&mut self, of: &Published<T>) -> (&Arc<T>, bool) {
        // Taken before the value: at worst the next read takes the same value once more.
        let generation = of.generation.load(Ordering::Acquire);
        let changed = generation != self.generation;
        if changed {
            self.value = of.get();
            self.generation = generation;
        }
        (&self.value, changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_what_was_published_and_is_told_once() {
        let published = Published::new(1);
        let mut reader = published.reader();
        assert_eq!(reader.read(&published), (&Arc::new(1), false));
        published.publish(2);
        published.publish(3);
        assert_eq!(reader.read(&published), (&Arc::new(3), true));
        assert_eq!(reader.read(&published), (&Arc::new(3), false));
    }

    #[test]
    fn a_reader_never_misses_the_last_value() {
        let published = Arc::new(Published::new(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let published = Arc::clone(&published);
                scope.spawn(move || {
                    let mut reader = published.reader();
                    let mut last = 0;
                    while last < 10_000 {
                        let now = **reader.read(&published).0;
                        assert!(now >= last);
                        last = now;
                    }
                });
            }
            for value in 1..=10_000 {
                published.publish(value);
            }
        });
    }
}
