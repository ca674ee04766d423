//! Who is asking: the one place outside the decoders of the store's own bytes where a request's
//! text becomes a [`UserId`].
//!
//! Without authentication (a loopback address only) the request names its user itself, in the
//! query, the body or both.

use thiserror::Error;

use crate::domain::{UserId, UserIdError};

/// Why a request has no user.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum IdentityError {
    /// It names none.
    #[error("Missing required field: user_id")]
    Missing,
    /// What it names is not a user id.
    #[error("Invalid value for user_id: {0}")]
    Invalid(#[from] UserIdError),
    /// Query and body, or path and query, name different ones.
    #[error("The request names two different users")]
    Mismatch,
}

/// The user that a request names in one place or several, which must agree.
///
/// # Errors
/// [`IdentityError`].
pub fn claimed(places: &[Option<&str>]) -> Result<UserId, IdentityError> {
    let mut named = places.iter().flatten();
    let first = named.next().ok_or(IdentityError::Missing)?;
    if named.any(|other| other != first) {
        return Err(IdentityError::Mismatch);
    }
    match UserId::checked(first) {
        Err(UserIdError::Empty) => Err(IdentityError::Missing),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_must_agree() {
        assert_eq!(claimed(&[None, Some("u")]).expect("user").as_str(), "u");
        assert_eq!(claimed(&[Some("u"), Some("u")]).expect("user").as_str(), "u");
        assert_eq!(claimed(&[Some("u"), Some("v")]), Err(IdentityError::Mismatch));
        assert_eq!(claimed(&[None, None]), Err(IdentityError::Missing));
        assert_eq!(claimed(&[Some("")]), Err(IdentityError::Missing));
        assert_eq!(claimed(&[Some("a\u{0}")]), Err(IdentityError::Invalid(UserIdError::Control)));
    }
}
