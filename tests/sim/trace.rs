//! Everything that happens in a run, as one number; and as text, where somebody reads it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

struct Inner {
    hash: DefaultHasher,
    events: u64,
    text: Option<Vec<String>>,
}

/// The trace of a run. Clones share it.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<Inner>>);

/// How many events of a run are kept as text: the last ones.
const KEPT: usize = 4000;

impl Trace {
    /// An empty trace; with `text`, the last events are kept as text.
    pub fn new(text: bool) -> Self {
        // This hasher's keys are the same in every process.
        let hash = DefaultHasher::new();
        Self(Arc::new(Mutex::new(Inner { hash, events: 0, text: text.then(Vec::new) })))
    }

    /// Notes an event by a number that tells its content and a text that names it.
    pub fn event(&self, content: u64, name: &str) {
        let mut inner = self.0.lock().expect("trace");
        inner.events += 1;
        content.hash(&mut inner.hash);
        name.hash(&mut inner.hash);
        if let Some(text) = &mut inner.text {
            if text.len() >= 2 * KEPT {
                text.drain(..KEPT);
            }
            text.push(format!("{name} [{content}]"));
        }
    }

    /// All events as one number, and how many they are.
    pub fn sum(&self) -> (u64, u64) {
        let inner = self.0.lock().expect("trace");
        (inner.hash.finish(), inner.events)
    }

    /// The last events.
    pub fn text(&self) -> Vec<String> {
        self.0.lock().expect("trace").text.clone().unwrap_or_default()
    }
}

/// Bytes as one number.
pub fn digest(bytes: &[u8]) -> u64 {
    let mut hash = DefaultHasher::new();
    hash.write(bytes);
    hash.finish()
}
