//! What wraps data keys: a key ring on this machine, or a key management service that never
//! hands its keys out.

use std::fmt;

use async_trait::async_trait;
use thiserror::Error;

use super::key::{Key, KeyId};

/// Bytes of a message's code.
pub const MAC_BYTES: usize = 32;

/// Why a key service did not do what it was asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// It has no key of that name.
    #[error("there is no key {0} in the ring")]
    Unknown(KeyId),
    /// The key is another one, or the bytes are not what it wrapped for this record.
    #[error("the bytes do not open with key {0}")]
    Refused(KeyId),
    /// It cannot be reached now.
    #[error("the key service does not answer: {0}")]
    Unavailable(String),
}

/// Wraps and unwraps data keys by key id. An implementation may ask another machine: it is only
/// called where waiting is allowed.
#[async_trait]
pub trait KeyService: Send + Sync + fmt::Debug {
    /// The key that new data keys are wrapped with.
    fn current(&self) -> &KeyId;

    /// Wraps a data key. `context` must come back with [`KeyService::unwrap`].
    ///
    /// # Errors
    /// [`KeyError`].
    async fn wrap(&self, id: &KeyId, key: &Key, context: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// Unwraps what [`KeyService::wrap`] made with the same key and context.
    ///
    /// # Errors
    /// [`KeyError`].
    async fn unwrap(&self, id: &KeyId, wrapped: &[u8], context: &[u8]) -> Result<Key, KeyError>;

    /// A code of a message that nobody without the key can compute or check.
    ///
    /// # Errors
    /// [`KeyError`].
    async fn mac(&self, id: &KeyId, message: &[u8]) -> Result<[u8; MAC_BYTES], KeyError>;
}
