//! What a change does to a record's credentials. They come in as a [`Secret`] and have to be
//! sealed before the change reaches an actor or the log: no row takes anything but sealed bytes.

use std::sync::Arc;

use super::Secret;
use super::object::fields_of;

/// Longest credentials, as compact JSON, in bytes. Sealing that much takes some microseconds.
pub const MAX_CREDENTIALS: usize = 64 * 1024;

/// What a patch does to credentials.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// They stay: the body named none.
    #[default]
    Keep,
    /// They stay: the body sent back what reads show in their place.
    View,
    /// They go.
    Remove,
    /// These come in their place, once sealed.
    Plain(Secret),
    /// These come in their place.
    Sealed(Sealed),
}

/// Sealed credentials on their way into a record.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// What the column holds.
    pub bytes: Box<[u8]>,
    /// Held until the change is made, so that the key they were sealed under is not given up
    /// meanwhile.
    pub hold: Hold,
}

/// A token that is held while something is on its way.
#[derive(Clone, Debug, Default)]
pub struct Hold(Arc<()>);

impl Hold {
    /// Whether anybody else holds a clone.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

/// Whether credentials are what a read shows in their place, sent back: `encrypted`, which is
/// true, and at most `account_id`.
#[must_use]
pub fn is_view(object: &str) -> bool {
    let fields = fields_of(object);
    fields.iter().any(|(name, value)| name == "encrypted" && *value == "true")
        && fields.iter().all(|(name, _)| name == "encrypted" || name == "account_id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_nothing_but_a_view() {
        assert!(is_view(r#"{"encrypted":true}"#));
        assert!(is_view(r#"{"encrypted":true,"account_id":"1"}"#));
        assert!(!is_view(r#"{"encrypted":true,"api_key":"k"}"#), "this holds a secret");
        assert!(!is_view(r#"{"encrypted":false}"#) && !is_view("{}") && !is_view("[]"));
    }

    #[test]
    fn a_hold_knows_of_others() {
        let hold = Hold::default();
        let other = hold.clone();
        assert!(hold.is_shared());
        drop(other);
        assert!(!hold.is_shared());
    }
}
