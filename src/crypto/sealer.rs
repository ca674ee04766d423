//! Sealing, opening and re-wrapping a record's credentials.
//!
//! Every sealing takes a new data key and a new nonce. Re-wrapping changes nothing but the
//! wrapped data key and the key id: the credentials are not even opened.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use super::aead;
use super::envelope::{Envelope, EnvelopeError, Stored, is_account};
use super::key::{Key, KeyId, KeyTextError};
use super::owner::Owner;
use super::service::{KeyError, KeyService};
use crate::domain::{Hold, Sealed, Secret, object};
use crate::env::Random;

/// Why credentials cannot be had, or sealed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SealError {
    /// The key service refused.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The bytes are none of this store's.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The bytes were sealed for another record, or are damaged.
    #[error("the credentials are damaged or another record's")]
    Damaged,
    /// They are in a file of the Python service that this function does not read.
    #[error("the credentials are in the legacy folder")]
    InLegacy,
}

/// Seals and opens with one state of the keys.
pub struct Sealer {
    keys: Arc<dyn KeyService>,
    random: Arc<dyn Random>,
    /// Shared by everything sealed here that has not reached its record yet.
    hold: Hold,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("current", self.keys.current()).finish_non_exhaustive()
    }
}

impl Sealer {
    /// A sealer over a key service.
    #[must_use]
    pub fn new(keys: Arc<dyn KeyService>, random: Arc<dyn Random>) -> Self {
        Self { keys, random, hold: Hold::default() }
    }

    /// The key that it seals with.
    #[must_use]
    pub fn current(&self) -> &KeyId {
        self.keys.current()
    }

    /// Whether something sealed here is still on its way to its record.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.hold.is_shared()
    }

    /// Seals credentials, one compact JSON value, for a record.
    ///
    /// # Errors
    /// [`SealError::Key`] where the key service refuses.
    pub async fn seal(&self, owner: &Owner<'_>, plain: &Secret) -> Result<Sealed, SealError> {
        // Taken before the key is used, so that nobody thinks that the key is out of use.
        let hold = self.hold.clone();
        let data_key = Key::random(self.random.as_ref());
        let nonce = aead::nonce(self.random.as_ref());
        let fields = object::fields_of(plain.expose());
        let account = fields.iter().find(|(name, _)| name == "account_id").map(|(_, json)| *json);
        let account = account.filter(|json| is_account(json)).unwrap_or_default();
        let key_id = self.keys.current().clone();
        let aad = owner.of_content(account.as_bytes());
        let sealed = aead::seal(&data_key, &nonce, &aad, plain.expose().as_bytes());
        let sealed = sealed.ok_or(SealError::Damaged)?;
        let wrapped = self.keys.wrap(&key_id, &data_key, &owner.of_data_key(&key_id)).await?;
        let envelope = Envelope { key_id, wrapped: &wrapped, account, nonce, sealed: &sealed };
        let bytes = envelope.encode().ok_or(EnvelopeError::Malformed)?;
        Ok(Sealed { bytes, hold })
    }

    /// Opens a column's bytes.
    ///
    /// # Errors
    /// [`SealError`].
    pub async fn open(&self, owner: &Owner<'_>, bytes: &[u8]) -> Result<Secret, SealError> {
        let Stored::Sealed(envelope) = Stored::parse(bytes)? else {
            return Err(SealError::InLegacy);
        };
        let data_key = self.data_key(owner, &envelope).await?;
        let aad = owner.of_content(envelope.account.as_bytes());
        let opened = aead::open(&data_key, &envelope.nonce, &aad, envelope.sealed);
        let opened = opened.ok_or(SealError::Damaged)?;
        let text = std::str::from_utf8(&opened).map_err(|_| SealError::Damaged)?;
        Ok(Secret::new(text.to_owned()))
    }

    /// A column's bytes with the data key wrapped with the current key; `None` where it is.
    ///
    /// # Errors
    /// [`SealError`].
    pub async fn rewrap(
        &self,
        owner: &Owner<'_>,
        bytes: &[u8],
    ) -> Result<Option<Sealed>, SealError> {
        let hold = self.hold.clone();
        let Stored::Sealed(envelope) = Stored::parse(bytes)? else {
            return Err(SealError::InLegacy);
        };
        let current = self.keys.current().clone();
        if envelope.key_id == current {
            return Ok(None);
        }
        let data_key = self.data_key(owner, &envelope).await?;
        let wrapped = self.keys.wrap(&current, &data_key, &owner.of_data_key(&current)).await?;
        let next = Envelope { key_id: current, wrapped: &wrapped, ..envelope };
        let bytes = next.encode().ok_or(EnvelopeError::Malformed)?;
        Ok(Some(Sealed { bytes, hold }))
    }

    async fn data_key(&self, owner: &Owner<'_>, of: &Envelope<'_>) -> Result<Key, SealError> {
        let context = owner.of_data_key(&of.key_id);
        Ok(self.keys.unwrap(&of.key_id, of.wrapped, &context).await?)
    }

    /// A fingerprint of a message that is of no use to guess the message with: the key's id and
    /// a keyed code.
    ///
    /// # Errors
    /// [`SealError::Key`].
    pub async fn fingerprint(&self, message: &[u8]) -> Result<String, SealError> {
        self.fingerprint_with(self.keys.current(), message).await
    }

    async fn fingerprint_with(&self, id: &KeyId, message: &[u8]) -> Result<String, SealError> {
        let code = self.keys.mac(id, message).await?;
        Ok(format!("{id}:{}", hex(&code)))
    }

    /// Whether a message has this fingerprint; `None` where its key is gone and nobody can tell.
    ///
    /// # Errors
    /// [`SealError::Key`] where the key service does not answer.
    pub async fn has_fingerprint(
        &self,
        message: &[u8],
        fingerprint: &str,
    ) -> Result<Option<bool>, SealError> {
        let id = fingerprint.split_once(':').map_or("", |(id, _)| id);
        let id = match KeyId::checked(id) {
            Ok(id) => id,
            Err(KeyTextError::Id | KeyTextError::Key) => return Ok(Some(false)),
        };
        match self.fingerprint_with(&id, message).await {
            Ok(own) => Ok(Some(own.as_bytes().ct_eq(fingerprint.as_bytes()).into())),
            Err(SealError::Key(KeyError::Unknown(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The key that a column's bytes need; `None` where they need none or are no envelope.
#[must_use]
pub fn key_of(bytes: &[u8]) -> Option<KeyId> {
    match Stored::parse(bytes) {
        Ok(Stored::Sealed(envelope)) => Some(envelope.key_id),
        _ => None,
    }
}

/// Whether a column's bytes say that the credentials are in the legacy folder.
#[must_use]
pub fn is_in_legacy(bytes: &[u8]) -> bool {
    matches!(Stored::parse(bytes), Ok(Stored::KeptInLegacy { .. }))
}

/// Appends what reads show in the place of credentials, which needs no key:
/// `{"encrypted":true,"account_id":"12345"}`.
pub fn view(bytes: &[u8], out: &mut String) {
    out.push_str("{\"encrypted\":true");
    if let Ok(stored) = Stored::parse(bytes)
        && !stored.account().is_empty()
    {
        out.push_str(",\"account_id\":");
        out.push_str(stored.account());
    }
    out.push('}');
}

/// The credentials of the Python service, whose column holds any text, as one compact JSON value;
/// `None` where there are none.
#[must_use]
pub fn from_legacy(text: &Secret) -> Option<Secret> {
    let text = text.expose();
    let mut json = Zeroizing::new(String::with_capacity(6 * text.len() + 2));
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r']);
    let is_json = serde_json::from_str::<&serde_json::value::RawValue>(trimmed).is_ok();
    if trimmed.is_empty() || trimmed == "null" {
        return None;
    }
    if !(is_json && crate::domain::json_text::compact(trimmed, &mut json).is_ok()) {
        json.clear();
        crate::domain::json_text::push_string(text, &mut json);
    }
    Some(Secret::new(std::mem::take(&mut json)))
}

#[cfg(test)]
#[path = "sealer_tests.rs"]
mod tests;
