//! The one source of chance of a run: a small generator (splitmix64), and all randomness that code
//! of the run's thread asks the system for, so that not even a hash map's order differs between two
//! runs of a seed.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex};

use audience_store::env::Random;

/// A generator of pseudo-random numbers. Clones share it.
#[derive(Clone)]
pub struct Dice(Arc<Mutex<u64>>);

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Dice {
    /// Dice that fall as `seed` says; `stream` tells dice of one seed apart.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut state = seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93);
        next(&mut state);
        Self(Arc::new(Mutex::new(state)))
    }

    fn number(&self) -> u64 {
        next(&mut self.0.lock().expect("dice"))
    }

    /// A number below `sides`.
    pub fn roll(&self, sides: u64) -> u64 {
        self.number() % sides.max(1)
    }

    /// True `times` in `of`.
    pub fn hits(&self, times: u64, of: u64) -> bool {
        self.roll(of) < times
    }

    /// An index into something of this length.
    pub fn index(&self, len: usize) -> usize {
        usize::try_from(self.roll(len as u64)).expect("index")
    }
}

impl Random for Dice {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.number().to_le_bytes()[0];
        }
    }
}

thread_local! {
    static SYSTEM: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on, what code of this thread asks the system for follows from `seed`. Called before
/// the thread makes its first hash map, whose keys std asks for once a thread.
pub fn own_this_thread(seed: u64) {
    SYSTEM.set(Some(seed));
}

/// The C library's function, in its place for this program.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, len: usize, flags: u32) -> isize {
    // SAFETY: the caller hands over `len` bytes, as the function's contract says.
    let bytes: &mut [MaybeUninit<u8>] =
        unsafe { std::slice::from_raw_parts_mut(buffer.cast(), len) };
    let seeded = SYSTEM.try_with(Cell::get).ok().flatten();
    let Some(mut state) = seeded else {
        let flags = rustix::rand::GetRandomFlags::from_bits_retain(flags);
        let Ok((filled, _)) = rustix::rand::getrandom(bytes, flags) else { return -1 };
        return isize::try_from(filled.len()).unwrap_or(-1);
    };
    for byte in &mut *bytes {
        *byte = MaybeUninit::new(next(&mut state).to_le_bytes()[0]);
    }
    // An error would say that the thread is ending.
    let _ = SYSTEM.try_with(|system| system.set(Some(state)));
    isize::try_from(len).unwrap_or(-1)
}
