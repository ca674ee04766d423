//! Which request is which: `X-Request-Id` and the W3C trace context.
//!
//! An id that a client or a proxy gives is kept where it is one; otherwise the server makes one.
//! Every answer bears it. A `traceparent` that holds is carried on: the request becomes a span of
//! the caller's trace, and the answer's `traceresponse` (W3C Trace Context Level 2) names it. What
//! does not hold is treated as absent, as the specification asks.

use std::cell::Cell;
use std::fmt;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;
use uuid::fmt::Simple;

/// A request's own name.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The caller's span (W3C Trace Context).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The server's span, for the caller.
pub const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// Longest id that is taken from outside.
const LONGEST_ID: usize = 128;

/// Makes names that do not repeat within a process, and with those of other processes only by a
/// chance of one in 2^64. One a worker.
#[derive(Debug)]
pub struct Ids {
    prefix: u64,
    next: Cell<u64>,
}

impl Ids {
    /// Names that begin with `prefix`, which is random.
    #[must_use]
    pub fn new(prefix: u64) -> Self {
        Self { prefix, next: Cell::new(1) }
    }

    fn count(&self) -> u64 {
        let next = self.next.get();
        self.next.set(next.wrapping_add(1));
        next
    }

    /// The id of a request: the one it brings, where that is one, else a new one.
    #[must_use]
    pub fn request(&self, headers: &HeaderMap) -> HeaderValue {
        if let Some(given) = headers.get(REQUEST_ID).filter(|id| is_request_id(id.as_bytes())) {
            return given.clone();
        }
        let mut digits = [0; Simple::LENGTH];
        let made = Uuid::from_u64_pair(self.prefix, self.count()).simple();
        // Hexadecimal digits are a header's value.
        HeaderValue::from_str(made.encode_lower(&mut digits))
            .unwrap_or(HeaderValue::from_static("none"))
    }

    /// The request's span, where its caller has one.
    #[must_use]
    pub fn span(&self, headers: &HeaderMap) -> Option<Span> {
        let mut all = headers.get_all(TRACEPARENT);
        let (parent, second) = (all.next()?, all.next());
        let parent = if second.is_none() { parse(parent.as_bytes())? } else { return None };
        // A bijection: no two requests of a worker have the same one, and none is zero.
        let span = (self.prefix ^ self.count().wrapping_mul(0x9E37_79B9_7F4A_7C15)).max(1);
        Some(Span { own: span, ..parent })
    }
}

/// Letters, digits and what appears in ids that others make; nothing that a log line or a header
/// could be broken with.
fn is_request_id(id: &[u8]) -> bool {
    let taken = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:/+=~@".contains(b);
    (1..=LONGEST_ID).contains(&id.len()) && id.iter().all(taken)
}

/// A request as part of its caller's trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The trace.
    pub trace: u128,
    /// The caller's span.
    pub parent: u64,
    /// The request's own span.
    pub own: u64,
    /// Flags; bit 0: the caller records.
    pub flags: u8,
}

impl Span {
    /// What `traceresponse` says.
    #[must_use]
    pub fn response(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.to_string()).ok()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.own, self.flags)
    }
}

/// The caller's span in a `traceparent` (<https://www.w3.org/TR/trace-context/#traceparent-header>).
fn parse(text: &[u8]) -> Option<Span> {
    let known = text.get(..55)?;
    let version = hex(known.get(..2)?)?;
    // Later versions may add to the end.
    let whole =
        if version == 0 { text.len() == 55 } else { matches!(text.get(55), None | Some(b'-')) };
    let dashes = [2, 35, 52].iter().all(|at| known.get(*at) == Some(&b'-'));
    if version == 0xff || !whole || !dashes {
        return None;
    }
    let trace = hex(known.get(3..35)?)?;
    let parent = u64::try_from(hex(known.get(36..52)?)?).ok()?;
    let flags = u8::try_from(hex(known.get(53..55)?)?).ok()?;
    (trace != 0 && parent != 0).then_some(Span { trace, parent, own: 0, flags: flags & 1 })
}

/// Lower-case hexadecimal digits, at most 32.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn with(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_str(value).expect("value"));
        }
        headers
    }

    #[test]
    fn ids_of_others_are_kept_where_they_are_ids() {
        let ids = Ids::new(0xabc);
        for good in ["a", "7f3e-11", "Root=1-67891233-abcdef012345678912345678", &"x".repeat(128)] {
            assert_eq!(ids.request(&with(&REQUEST_ID, &[good])), good);
        }
        let made = |n: u64| format!("{:016x}{n:016x}", 0xabc);
        for (n, bad) in (1..).zip(["", "a b", "a\"b", "ä", "a,b", "<x>", &"x".repeat(129)]) {
            assert_eq!(ids.request(&with(&REQUEST_ID, &[bad])), made(n).as_str(), "{bad}");
        }
        assert_eq!(ids.request(&HeaderMap::new()), made(8).as_str());
    }

    #[test]
    fn a_trace_is_carried_on() {
        let ids = Ids::new(77);
        let one = ids.span(&with(&TRACEPARENT, &[GOOD])).expect("span");
        let two = ids.span(&with(&TRACEPARENT, &[GOOD])).expect("span");
        assert_eq!(
            (one.trace, one.parent),
            (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7)
        );
        assert!(one.own != two.own && one.own != one.parent);
        let said = one.response().expect("header");
        let said = said.to_str().expect("text");
        assert!(said.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && said.ends_with("-01"));
        assert_eq!(said.len(), 55);
    }

    #[test]
    fn what_is_no_traceparent_is_absent() {
        let zero_trace = format!("00-{:032x}-00f067aa0ba902b7-01", 0);
        let zero_span = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{:016x}-01", 0);
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &GOOD.to_uppercase(),
            &GOOD.replace('-', "_"),
            &format!("{GOOD}-more"),
            &GOOD.replacen("00", "ff", 1),
            &zero_trace,
            &zero_span,
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
        let later = format!("{}-more", GOOD.replacen("00", "01", 1));
        assert!(parse(later.as_bytes()).is_some(), "a later version may say more");
        assert_eq!(
            Ids::new(1).span(&with(&TRACEPARENT, &[GOOD, GOOD])),
            None,
            "one of two is a guess"
        );
    }
}
