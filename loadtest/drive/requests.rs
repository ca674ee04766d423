//! The requests of a run, made before it starts: sending one costs a copy at most.
//!
//! Numbered users share one template whose digits are overwritten in place, so that a million
//! users need no more memory than one. Listed users and ids get a prepared request each, bounded by
//! [`MAX_PREPARED_BYTES`].

use audience_store::domain::json_text::{compact, push_string};
use audience_store::domain::object::merged;
use thiserror::Error;

/// Most memory that prepared requests may take, together.
pub const MAX_PREPARED_BYTES: usize = 512 * 1024 * 1024;
/// Digits of a numbered user.
const DIGITS: usize = 6;
/// Stands in a template where the user's number goes; as long as the number.
const PLACEHOLDER: &str = "~~~~~~";

/// The body of today's client.
pub const CLIENT_BODY: &str = include_str!("../payloads/save_audience.json");

/// Why requests could not be made.
#[derive(Debug, Error)]
pub enum RequestsError {
    /// The body to save is not JSON that the store would take.
    #[error("the body is not a JSON object: {0}")]
    Body(String),
    /// There is nobody to ask for.
    #[error("no requests to send: no users, or users without records")]
    None,
    /// More numbered users than digits.
    #[error("at most 1,000,000 users")]
    TooManyUsers,
    /// The prepared requests are too large.
    #[error("prepared requests would take more than {MAX_PREPARED_BYTES} bytes")]
    TooLarge,
}

/// Whom the requests are for.
pub enum Users {
    /// `<prefix>000000` and up.
    Numbered {
        /// What the ids begin with.
        prefix: String,
        /// How many there are.
        count: usize,
    },
    /// Given by name.
    Listed(Vec<String>),
}

impl Users {
    /// All ids, in order.
    pub fn ids(&self) -> Vec<String> {
        match self {
            Self::Numbered { prefix, count } => {
                (0..*count).map(|number| format!("{prefix}{number:0DIGITS$}")).collect()
            }
            Self::Listed(ids) => ids.clone(),
        }
    }
}

/// Requests by number, ready to be sent.
pub enum Requests {
    /// One text for all, but for the digits at `at`.
    Template {
        /// The request with a placeholder at each of `at`.
        text: Vec<u8>,
        /// Where the number goes.
        at: Vec<usize>,
        /// How many numbers there are.
        count: usize,
    },
    /// A text each.
    Prepared(Vec<Box<[u8]>>),
}

impl Requests {
    /// One request for each of `users`, made by `make` from the user's id. `make` must carry the
    /// characters of a placeholder through unchanged, as percent-encoding and JSON do with `~`.
    ///
    /// # Errors
    /// [`RequestsError`].
    pub fn for_users(users: &Users, make: impl Fn(&str) -> Vec<u8>) -> Result<Self, RequestsError> {
        match users {
            Users::Numbered { prefix, count } => {
                if *count > 10_usize.pow(6) {
                    return Err(RequestsError::TooManyUsers);
                }
                let text = make(&format!("{prefix}{PLACEHOLDER}"));
                let at = positions(&text, PLACEHOLDER.as_bytes());
                if *count == 0 || at.is_empty() {
                    return Err(RequestsError::None);
                }
                Ok(Self::Template { text, at, count: *count })
            }
            Users::Listed(ids) => Self::prepared(ids.iter().map(|id| make(id))),
        }
    }

    /// The given requests.
    ///
    /// # Errors
    /// [`RequestsError`].
    pub fn prepared(texts: impl Iterator<Item = Vec<u8>>) -> Result<Self, RequestsError> {
        let mut prepared = Vec::new();
        let mut bytes = 0;
        for text in texts {
            bytes += text.len();
            if bytes > MAX_PREPARED_BYTES {
                return Err(RequestsError::TooLarge);
            }
            prepared.push(text.into_boxed_slice());
        }
        if prepared.is_empty() { Err(RequestsError::None) } else { Ok(Self::Prepared(prepared)) }
    }

    /// How many different requests there are; at least one.
    pub fn len(&self) -> usize {
        match self {
            Self::Template { count, .. } => *count,
            Self::Prepared(texts) => texts.len(),
        }
    }

    /// A sender's own buffer for [`Self::text`].
    pub fn buffer(&self) -> Vec<u8> {
        match self {
            Self::Template { text, .. } => text.clone(),
            Self::Prepared(_) => Vec::new(),
        }
    }

    /// The request numbered `number` (below [`Self::len`]); `buffer` is from [`Self::buffer`].
    pub fn text<'a>(&'a self, number: usize, buffer: &'a mut [u8]) -> &'a [u8] {
        match self {
            Self::Template { at, .. } => {
                let mut digits = [b'0'; DIGITS];
                let mut rest = number;
                for digit in digits.iter_mut().rev() {
                    *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
                    rest /= 10;
                }
                for start in at {
                    buffer[*start..start + DIGITS].copy_from_slice(&digits);
                }
                buffer
            }
            Self::Prepared(texts) => &texts[number],
        }
    }
}

fn positions(text: &[u8], part: &[u8]) -> Vec<usize> {
    text.windows(part.len()).enumerate().filter(|(_, w)| *w == part).map(|(at, _)| at).collect()
}

/// `GET path`, which is path and query, already percent-encoded.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n")
        .into_bytes()
}

/// `request` with a credential, where there is one.
pub fn authorized(request: Vec<u8>, bearer: Option<&str>) -> Vec<u8> {
    let line_end = request.windows(2).position(|two| two == b"\r\n").map(|at| at + 2);
    let (Some(bearer), Some(at)) = (bearer, line_end) else { return request };
    let (line, rest) = request.split_at(at);
    [line, format!("Authorization: Bearer {bearer}\r\n").as_bytes(), rest].concat()
}

/// Checks and compacts a body to save.
///
/// # Errors
/// [`RequestsError::Body`].
pub fn checked_body(text: &str) -> Result<String, RequestsError> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| RequestsError::Body(error.to_string()))?;
    if !value.is_object() {
        return Err(RequestsError::Body("another kind of value".into()));
    }
    let mut body = String::new();
    compact(text, &mut body).map_err(|error| RequestsError::Body(error.to_string()))?;
    Ok(body)
}

/// `POST /api/audiences` with `body` (a compact object) as `user`'s.
pub fn save(body: &str, user: &str) -> Vec<u8> {
    let mut quoted = String::new();
    push_string(user, &mut quoted);
    let body = merged(Some(body), [("user_id", quoted.as_str())]);
    let head = format!(
        "POST /api/audiences HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// The path of the first page of `user`'s audiences; `more` is appended to the query.
pub fn listing_path(user: &str, limit: u32, more: &str) -> String {
    format!("/api/audiences?user_id={}&limit={limit}{more}", percent_encoded(user))
}

/// The path of one audience.
pub fn audience_path(id: &str, user: &str) -> String {
    format!("/api/audiences/{}?user_id={}", percent_encoded(id), percent_encoded(user))
}

fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            let digits = [byte >> 4, byte & 15].map(|nibble| char::from(HEX[usize::from(nibble)]));
            out.extend(['%', digits[0], digits[1]]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of a save, whose length must be the one that its head tells.
    fn body_of(request: &[u8]) -> serde_json::Value {
        let text = String::from_utf8(request.to_vec()).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("head and body");
        assert!(head.lines().any(|line| line == format!("Content-Length: {}", body.len())));
        serde_json::from_str(body).expect("json")
    }

    #[test]
    fn a_template_is_what_would_be_prepared() {
        let body = checked_body(CLIENT_BODY).expect("body");
        let users = Users::Numbered { prefix: "load_".into(), count: 1000 };
        let listed = Users::Listed(users.ids());
        let make = |user: &str| save(&body, user);
        let template = Requests::for_users(&users, make).expect("template");
        let prepared = Requests::for_users(&listed, make).expect("prepared");
        assert_eq!((template.len(), prepared.len()), (1000, 1000));
        let mut buffer = template.buffer();
        for number in [0, 7, 999, 42] {
            let text = template.text(number, &mut buffer).to_vec();
            assert_eq!(text, prepared.text(number, &mut []));
            let saved = body_of(&text);
            assert_eq!(saved["user_id"], format!("load_{number:06}"));
            assert_eq!(saved["name"], "Audience - 5/30/2025");
        }
    }

    #[test]
    fn a_credential_is_a_header_of_its_own() {
        let plain = save("{\"name\":\"x\"}", "u");
        assert_eq!(authorized(plain.clone(), None), plain);
        let text = String::from_utf8(authorized(plain.clone(), Some("ast_x"))).expect("text");
        assert!(
            text.starts_with(
                "POST /api/audiences HTTP/1.1\r\nAuthorization: Bearer ast_x\r\nHost: "
            )
        );
        assert_eq!(body_of(text.as_bytes()), body_of(&plain));
    }

    #[test]
    fn any_user_id_can_be_asked_for() {
        let users = Users::Listed(vec!["a/b \"ü\"&limit=1".into()]);
        let list =
            Requests::for_users(&users, |user| get(&listing_path(user, 50, ""))).expect("list");
        let text = String::from_utf8_lossy(list.text(0, &mut [])).into_owned();
        let path = "/api/audiences?user_id=a%2Fb%20%22%C3%BC%22%26limit%3D1&limit=50 ";
        assert!(text.contains(path), "{text}");
        let saved = body_of(&save("{\"name\":\"x\"}", "a/b \"ü\""));
        assert_eq!(saved["user_id"], "a/b \"ü\"");
    }

    #[test]
    fn nothing_to_send_is_an_error() {
        let nobody = Users::Numbered { prefix: "u".into(), count: 0 };
        assert!(Requests::for_users(&nobody, get).is_err());
        assert!(Requests::for_users(&Users::Listed(Vec::new()), get).is_err());
        assert!(checked_body("[1]").is_err());
        assert!(checked_body("{").is_err());
    }
}
