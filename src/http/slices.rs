//! A large body, handed to the connection a slice at a time: what a client has not read stays one
//! shared text, instead of a copy for each connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::Bytes;

/// Bytes of a slice.
const SLICE: usize = 64 * 1024;

struct Slices(Bytes);

impl MessageBody for Slices {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        if self.0.is_empty() {
            return Poll::Ready(None);
        }
        let next = self.0.len().min(SLICE);
        Poll::Ready(Some(Ok(self.0.split_to(next))))
    }
}

/// The body, in slices where it is large.
pub fn sliced(body: Bytes) -> BoxBody {
    if body.len() > SLICE { BoxBody::new(Slices(body)) } else { BoxBody::new(body) }
}
