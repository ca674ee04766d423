//! The one place outside the decoders of the store's own bytes where a text becomes a [`UserId`].

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
    /// It names another one than its credentials do.
    #[error("The request names another user than its credentials")]
    Other,
}

/// A user's id out of a text: a request without authentication, the holder of a token, a claim.
///
/// # Errors
/// [`IdentityError::Missing`], [`IdentityError::Invalid`].
pub(super) fn named(text: &str) -> Result<UserId, IdentityError> {
    match UserId::checked(text) {
        Err(UserIdError::Empty) => Err(IdentityError::Missing),
        other => Ok(other?),
    }
}

/// The user that a request names in one place or several, which must agree.
///
/// # Errors
/// [`IdentityError`].
pub(super) fn claimed(places: &[Option<&str>]) -> Result<UserId, IdentityError> {
    let mut places = places.iter().flatten();
    let first = places.next().ok_or(IdentityError::Missing)?;
    if places.any(|other| other != first) {
        return Err(IdentityError::Mismatch);
    }
    named(first)
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
