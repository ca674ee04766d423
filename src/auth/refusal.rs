//! Why a request is not let in.

use thiserror::Error;

/// Largest credential that is looked at, in bytes.
pub const MAX_CREDENTIAL: usize = 8192;

/// What is wrong with a request's credentials. No text here holds any part of them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// There are none, or not of a kind that is taken.
    #[error("Send credentials as `Authorization: Bearer …`")]
    Missing,
    /// They are not a token: a typo, a cut, something else.
    #[error("This is not a token: {0}")]
    Malformed(&'static str),
    /// A well-formed API token that is not known, or was revoked.
    #[error("The token is not known, or was revoked")]
    Unknown {
        /// Its id: the part that is no secret.
        token: String,
    },
    /// A token whose time is over.
    #[error("The token has expired")]
    Expired {
        /// An API token's id.
        token: Option<String>,
    },
    /// A JSON web token that does not hold.
    #[error("The token is refused: {0}")]
    Refused(&'static str),
    /// A JSON web token signed with a key that is not known: a new one, or none of ours.
    #[error("The token is refused: its key is not known")]
    UnknownKey,
    /// There are no keys to check tokens with at the moment.
    #[error("The keys that tokens are checked with cannot be had at the moment")]
    NoKeys,
}

impl Refusal {
    /// The id of the API token that came, where one did.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        match self {
            Self::Unknown { token } | Self::Expired { token: Some(token) } => Some(token),
            _ => None,
        }
    }
}

/// The credential in a request's `Authorization` headers.
///
/// # Errors
/// [`Refusal::Missing`] where there is none, or no bearer's; [`Refusal::Malformed`] where there
/// are two, or it is too large or no text.
pub fn bearer<'a>(mut headers: impl Iterator<Item = &'a [u8]>) -> Result<&'a str, Refusal> {
    let header = headers.next().ok_or(Refusal::Missing)?;
    if headers.next().is_some() {
        return Err(Refusal::Malformed("there are two Authorization headers"));
    }
    let (scheme, credential) = header.split_at_checked(7).ok_or(Refusal::Missing)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(Refusal::Missing);
    }
    let credential = credential.trim_ascii();
    if credential.len() > MAX_CREDENTIAL {
        return Err(Refusal::Malformed("it is larger than 8192 bytes"));
    }
    if credential.is_empty() {
        return Err(Refusal::Missing);
    }
    match std::str::from_utf8(credential) {
        Ok(text) if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(text),
        _ => Err(Refusal::Malformed("it has characters that no token has")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(headers: &[&'a str]) -> Result<&'a str, Refusal> {
        bearer(headers.iter().map(|h| h.as_bytes()))
    }

    #[test]
    fn a_bearers_credential_is_found_and_nothing_else_is_taken_for_one() {
        for good in ["Bearer abc", "bearer abc", "BEARER  abc "] {
            assert_eq!(of(&[good]), Ok("abc"), "{good}");
        }
        for missing in [&[][..], &["abc"], &["Basic YTpi"], &["Bearer"], &["Bearer "], &[""]] {
            assert_eq!(of(missing), Err(Refusal::Missing), "{missing:?}");
        }
        let large = format!("Bearer {}", "x".repeat(MAX_CREDENTIAL + 1));
        for bad in [&["Bearer a", "Bearer a"][..], &["Bearer a b"], &["Bearer ä"], &[&large]] {
            assert!(matches!(of(bad), Err(Refusal::Malformed(_))), "{bad:?}");
        }
    }
}
