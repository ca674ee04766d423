//! Keys and their names.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::env::Random;

/// Longest key id, in bytes.
pub const MAX_KEY_ID: usize = 64;
/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// The name of a key-encryption key: `[A-Za-z0-9_.-]{1,64}`. Not secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyId(Box<str>);

/// What is no key id, or no key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyTextError {
    /// Not a key id.
    #[error("a key id is 1 to {MAX_KEY_ID} of A-Z, a-z, 0-9, _, . and -")]
    Id,
    /// Not a key.
    #[error("a key is {KEY_BYTES} bytes in base64")]
    Key,
}

impl KeyId {
    /// A checked id.
    ///
    /// # Errors
    /// [`KeyTextError::Id`].
    pub fn checked(text: &str) -> Result<Self, KeyTextError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let fits = (1..=MAX_KEY_ID).contains(&text.len()) && text.bytes().all(plain);
        if fits { Ok(Self(text.into())) } else { Err(KeyTextError::Id) }
    }

    /// A new id: `k-` and 16 random hex digits.
    #[must_use]
    pub fn random(random: &dyn Random) -> Self {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        Self(format!("k-{:016x}", u64::from_be_bytes(bytes)).into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An AES-256 key. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; KEY_BYTES]>);

impl Key {
    /// A new key.
    #[must_use]
    pub fn random(random: &dyn Random) -> Self {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        random.fill(bytes.as_mut());
        Self(bytes)
    }

    /// A key of exactly [`KEY_BYTES`] bytes.
    ///
    /// # Errors
    /// [`KeyTextError::Key`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyTextError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return Err(KeyTextError::Key);
        }
        key.copy_from_slice(bytes);
        Ok(Self(key))
    }

    /// A key out of base64 (standard alphabet, padded).
    ///
    /// # Errors
    /// [`KeyTextError::Key`].
    pub fn from_base64(text: &str) -> Result<Self, KeyTextError> {
        let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| KeyTextError::Key)?);
        Self::from_bytes(&bytes)
    }

    /// The key as base64.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0.as_slice()))
    }

    /// The key's bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_keys_are_checked() {
        assert!(KeyId::checked("k-2026.11_a").is_ok());
        for bad in ["", "a b", "ü", "a/b", "a\n", &"x".repeat(65)] {
            assert_eq!(KeyId::checked(bad), Err(KeyTextError::Id), "{bad}");
        }
        let key = Key::from_bytes(&[7; 32]).expect("key");
        let text = key.to_base64();
        assert_eq!(Key::from_base64(&text).expect("key").expose(), key.expose());
        for bad in ["", "AAAA", "not base64 at all!", &format!("{}A", &*text)] {
            assert!(Key::from_base64(bad).is_err(), "{bad}");
        }
        assert_eq!(format!("{key} {key:?}"), "[redacted] [redacted]");
    }
}
