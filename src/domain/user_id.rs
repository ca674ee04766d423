//! The identity that owns records.
//!
//! Purpose: to be the one key to everything a user owns. A path, a log record, a cache key and an
//! actor's address are all built from a [`UserId`], and a `UserId` comes only from authentication
//! (or from bytes this store wrote itself). `tests/it/architecture.rs` lists who may call
//! [`UserId::checked`].

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// Longest user id, in bytes of UTF-8.
pub const MAX_USER_ID_BYTES: usize = 128;

/// A checked user id: 1 to 128 bytes of UTF-8 without control characters or invisible
/// direction overrides. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

/// Why a text is not a user id.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum UserIdError {
    /// The text is empty or only blanks.
    #[error("user_id must not be empty")]
    Empty,
    /// The text is longer than [`MAX_USER_ID_BYTES`].
    #[error("user_id must be at most {MAX_USER_ID_BYTES} bytes")]
    TooLong,
    /// The text holds a control character or a direction override.
    #[error("user_id must not hold control characters")]
    Control,
}

impl UserId {
    /// Checks a text. Only authentication, the command line and the decoders of this store's own
    /// bytes call this.
    ///
    /// # Errors
    /// [`UserIdError`] says which rule the text breaks.
    pub(crate) fn checked(text: &str) -> Result<Self, UserIdError> {
        if text.trim().is_empty() {
            return Err(UserIdError::Empty);
        }
        if text.len() > MAX_USER_ID_BYTES {
            return Err(UserIdError::TooLong);
        }
        if text.chars().any(is_unsafe_char) {
            return Err(UserIdError::Control);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters that deceive a reader of paths and logs: controls (C0, C1, DEL), bidi controls,
/// line and paragraph separators.
pub(crate) fn is_unsafe_char(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{61c}')
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({:?})", &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_people_use() {
        for ok in ["demo_user", "user@example.com", "a/b", "..", ".", "ünï 旅", "42"] {
            assert_eq!(UserId::checked(ok).expect(ok).as_str(), ok);
        }
        assert!(UserId::checked(&"x".repeat(128)).is_ok());
    }

    #[test]
    fn refuses_the_rest() {
        assert_eq!(UserId::checked(""), Err(UserIdError::Empty));
        assert_eq!(UserId::checked("  "), Err(UserIdError::Empty));
        assert_eq!(UserId::checked(&"x".repeat(129)), Err(UserIdError::TooLong));
        for bad in ["a\0b", "a\nb", "\u{202e}x", "a\u{7f}", "a\u{85}"] {
            assert_eq!(UserId::checked(bad), Err(UserIdError::Control), "{bad:?}");
        }
    }
}
