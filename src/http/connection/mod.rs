//! A connection below HTTP: how many there are, how long a client may take, and answers where the
//! HTTP library gives none with a body.
//!
//! [`Guarded`] wraps the socket. What it adds is what actix leaves open: its timer for the head of
//! a request runs for the first request of a connection alone; it waits for a slow reader without
//! end; and its own 400, 408 and 431 have no body. Between HTTP and socket, [`Conduct`] tells the
//! one what the other does.

mod canned;
mod conduct;
mod guarded;
mod wire;

pub use canned::refuse;
pub use conduct::{Admission, Conduct, Sending, Ticket};
pub use guarded::{Guarded, Pace};
pub use wire::Wire;
