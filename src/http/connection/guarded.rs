//! The guard of one socket: a client may not take as long as it likes.
//!
//! Three clocks, none of which costs anything while a client keeps up:
//! - the head of a request must be there [`Pace::head`] after its first byte, on every request of
//!   an HTTP/1 connection and on the first of an HTTP/2 one;
//! - bytes that the socket does not take must be gone [`Pace::allowance`] later;
//! - an HTTP/2 answer, which waits above the socket, must have been read in that time too.
//!
//! Whoever is too slow with a head is told so (408) before the connection ends. The HTTP library's
//! own answers without a body are replaced by ones with a body ([`super::canned`]).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::canned::{answer, bodiless, slow_head};
use super::conduct::{Conduct, Ticket};
use super::wire::Wire;
use crate::env::Clock;
use crate::http::refusal::{Refusal, Refusals};

/// How long a client may take.
#[derive(Clone)]
pub struct Pace {
    /// For the head of a request.
    pub head: Duration,
    /// For taking an answer, beyond what its size allows.
    pub write: Duration,
    /// Bytes of an answer that allow a second more.
    pub rate: u64,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Pace {
    /// How long taking `bytes` may last.
    #[must_use]
    pub fn allowance(&self, bytes: u64) -> Duration {
        let seconds = bytes.checked_div(self.rate).unwrap_or_default();
        self.write + Duration::from_secs(seconds)
    }
}

/// A socket and its guard.
pub struct Guarded {
    wire: Wire,
    pace: Pace,
    conduct: Conduct,
    refusals: Arc<Refusals>,
    http2: bool,
    /// Requests that came over the connection.
    begun: u64,
    /// Whether a byte of a request is here that nobody works on.
    heard: bool,
    head_until: Option<Duration>,
    write_until: Option<Duration>,
    alarm: Alarm,
    /// What is written in the HTTP library's place, and how much of it is gone.
    instead: Vec<u8>,
    gone: usize,
    ended: bool,
    _ticket: Ticket,
}

impl Guarded {
    /// Guards a connection that was just made.
    #[must_use]
    pub fn new(wire: Wire, pace: Pace, refusals: Arc<Refusals>, ticket: Ticket) -> Self {
        let head_until = Some(pace.clock.monotonic() + pace.head);
        Self {
            http2: wire.is_http2(),
            wire,
            pace,
            conduct: Conduct::default(),
            refusals,
            begun: 0,
            heard: false,
            head_until,
            write_until: None,
            alarm: Alarm::default(),
            instead: Vec::new(),
            gone: 0,
            ended: false,
            _ticket: ticket,
        }
    }

    /// What the connection does, for those who handle its requests.
    #[must_use]
    pub fn conduct(&self) -> Conduct {
        self.conduct.clone()
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.wire.is_tls()
    }

    fn watch_head(&mut self, read: usize) {
        let begun = self.conduct.begun();
        if begun != self.begun {
            (self.begun, self.heard, self.head_until) = (begun, false, None);
        }
        let first = begun == 0;
        if read > 0 && self.conduct.is_idle() && !self.heard && (first || !self.http2) {
            self.heard = true;
            let until = self.pace.clock.monotonic() + self.pace.head;
            self.head_until = Some(self.head_until.map_or(until, |begun| begun.min(until)));
        }
    }

    /// Ends a connection whose client is too slow.
    fn judge(&mut self, cx: &mut Context<'_>) -> Option<Refusal> {
        self.watch_head(0);
        let head = self.head_until.filter(|_| self.conduct.is_idle());
        let answers = self.conduct.first_deadline();
        let due = [head, self.write_until, answers].into_iter().flatten().min()?;
        let now = self.pace.clock.monotonic();
        if due > now {
            if self.alarm.rings(due, now, cx) {
                cx.waker().wake_by_ref();
            }
            return None;
        }
        let refusal = if head == Some(due) { Refusal::SlowHead } else { Refusal::SlowReader };
        self.ended = true;
        if refusal == Refusal::SlowHead {
            // A connection that was opened and not used is no request.
            if self.heard {
                self.refusals.count(refusal);
                if !self.http2 {
                    self.instead = answer(&slow_head(), self.wire.is_tls());
                }
            }
        } else {
            self.refusals.count(refusal);
        }
        Some(refusal)
    }

    /// Writes what goes out in the HTTP library's place.
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.instead.get(self.gone..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.wire).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => self.gone += n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps the time of a write that the socket does not take.
    fn waits<T>(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if self.write_until.is_none() {
            let allowance = self.pace.allowance(bytes as u64);
            self.write_until = Some(self.pace.clock.monotonic() + allowance);
        }
        match self.judge(cx) {
            Some(Refusal::SlowReader) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            _ => Poll::Pending,
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.wire).poll_read(cx, buf);
        this.watch_head(buf.filled().len() - before);
        if read.is_pending()
            && let Some(refusal) = this.judge(cx)
        {
            return match refusal {
                // As if the client had said no more: what is to be said is said, then it ends.
                Refusal::SlowHead => Poll::Ready(Ok(())),
                _ => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            };
        }
        read
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut own = buf;
        if !this.http2
            && let Some((begin, error, refusal)) = bodiless(buf)
        {
            if begin == 0 {
                this.refusals.count(refusal);
                this.instead = answer(&error, this.wire.is_tls());
                this.gone = 0;
                return Poll::Ready(Ok(buf.len()));
            }
            own = buf.get(..begin).unwrap_or(buf);
        }
        match this.poll_instead(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return this.waits(own.len(), cx),
        }
        match Pin::new(&mut this.wire).poll_write(cx, own) {
            Poll::Pending => this.waits(own.len(), cx),
            ready @ Poll::Ready(_) => ready,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = match this.poll_instead(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut this.wire).poll_flush(cx),
            other => other,
        };
        match flushed {
            Poll::Pending => this.waits(0, cx),
            ready @ Poll::Ready(_) => {
                this.write_until = None;
                ready
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = match this.poll_instead(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut this.wire).poll_shutdown(cx),
            other => other,
        };
        match shut {
            Poll::Pending => this.waits(0, cx),
            ready @ Poll::Ready(_) => ready,
        }
    }
}

/// One timer for all clocks of a connection. It may ring early: then it is set again, which is
/// rarer than setting it for every request.
#[derive(Default)]
struct Alarm(Option<(Duration, Pin<Box<Sleep>>)>);

impl Alarm {
    /// Sees to it that the task is woken at `due` or before. Whether it must look again at once.
    fn rings(&mut self, due: Duration, now: Duration, cx: &mut Context<'_>) -> bool {
        let set = match &mut self.0 {
            Some((at, sleep)) if *at <= due && *at > now => sleep,
            _ => {
                let sleep = Box::pin(tokio::time::sleep(due.saturating_sub(now)));
                &mut self.0.insert((due, sleep)).1
            }
        };
        set.as_mut().poll(cx).is_ready()
    }
}
