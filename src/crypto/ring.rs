//! Key-encryption keys held in memory: the local [`KeyService`].
//!
//! A wrapped data key is a random nonce of 12 bytes, then the key sealed with AES-256-GCM. Codes
//! are HMAC-SHA-256 under a key derived from the ring's, so that no key serves two purposes.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use super::aead::{self, NONCE_BYTES};
use super::key::{Key, KeyId};
use super::service::{KeyError, KeyService, MAC_BYTES};
use crate::domain::Micros;
use crate::env::Random;

/// Most keys of a ring.
pub const MAX_KEYS: usize = 1000;
const MAC_PURPOSE: &[u8] = b"audience-store fingerprint key 1";

/// A key of a ring.
#[derive(Clone, Debug)]
pub struct RingKey {
    /// Its name.
    pub id: KeyId,
    /// When it came into the ring, where that is known.
    pub created_at: Option<Micros>,
    /// The key.
    pub key: Key,
}

/// Why a ring is not changed, or not one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RingError {
    /// No key is current.
    #[error("none of its keys is the current one")]
    NoCurrent,
    /// Two keys of one name.
    #[error("key {0} is in it twice")]
    Twice(KeyId),
    /// Too many keys.
    #[error("it has more than {MAX_KEYS} keys")]
    TooMany,
    /// There is no key of that name.
    #[error("there is no key {0}")]
    Unknown(KeyId),
    /// The current key cannot be retired.
    #[error("key {0} is the current one: make another one current first, with `keys rotate`")]
    IsCurrent(KeyId),
}

/// Keys, of which one is current. The keys behind it in the list were never current.
#[derive(Clone, Debug)]
pub struct Ring {
    keys: Vec<RingKey>,
    current: KeyId,
}

impl Ring {
    /// A ring of these keys, oldest first.
    ///
    /// # Errors
    /// [`RingError`].
    pub fn new(keys: Vec<RingKey>, current: KeyId) -> Result<Self, RingError> {
        if keys.len() > MAX_KEYS {
            return Err(RingError::TooMany);
        }
        for (index, key) in keys.iter().enumerate() {
            if keys.iter().take(index).any(|other| other.id == key.id) {
                return Err(RingError::Twice(key.id.clone()));
            }
        }
        if keys.iter().any(|key| key.id == current) {
            Ok(Self { keys, current })
        } else {
            Err(RingError::NoCurrent)
        }
    }

    /// A ring of one new key.
    #[must_use]
    pub fn made(random: &dyn Random, now: Micros) -> Self {
        let key = fresh(random, now);
        Self { current: key.id.clone(), keys: vec![key] }
    }

    /// Its keys, oldest first.
    #[must_use]
    pub fn keys(&self) -> &[RingKey] {
        &self.keys
    }

    /// The key that new data keys are wrapped with.
    #[must_use]
    pub fn current(&self) -> &KeyId {
        &self.current
    }

    /// Whether another ring has the same keys and the same current one.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same = |a: &RingKey, b: &RingKey| {
            a.id == b.id && bool::from(a.key.expose().ct_eq(b.key.expose()))
        };
        self.current == other.current
            && self.keys.len() == other.keys.len()
            && self.keys.iter().zip(&other.keys).all(|(a, b)| same(a, b))
    }

    fn find(&self, id: &KeyId) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.id == *id)
    }

    /// Whether it has a key of that name.
    #[must_use]
    pub fn has(&self, id: &KeyId) -> bool {
        self.find(id).is_some()
    }

    /// Adds a new key, which waits for [`Ring::rotate`].
    ///
    /// # Errors
    /// [`RingError::TooMany`].
    pub fn add(&mut self, random: &dyn Random, now: Micros) -> Result<KeyId, RingError> {
        if self.keys.len() >= MAX_KEYS {
            return Err(RingError::TooMany);
        }
        let key = fresh(random, now);
        let id = key.id.clone();
        self.keys.push(key);
        Ok(id)
    }

    /// Takes the keys of another ring that this one lacks, as old ones that only open.
    ///
    /// # Errors
    /// [`RingError::TooMany`].
    pub fn take(&mut self, other: &Self) -> Result<Vec<KeyId>, RingError> {
        let new: Vec<_> = other.keys.iter().filter(|key| !self.has(&key.id)).cloned().collect();
        if self.keys.len() + new.len() > MAX_KEYS {
            return Err(RingError::TooMany);
        }
        let ids = new.iter().map(|key| key.id.clone()).collect();
        self.keys.splice(0..0, new);
        Ok(ids)
    }

    /// Makes the first key behind the current one current; a new one where none is.
    ///
    /// # Errors
    /// [`RingError::TooMany`].
    pub fn rotate(&mut self, random: &dyn Random, now: Micros) -> Result<KeyId, RingError> {
        let at = self.keys.iter().position(|key| key.id == self.current);
        let next = at.and_then(|at| self.keys.get(at + 1)).map(|key| key.id.clone());
        self.current = match next {
            Some(id) => id,
            None => self.add(random, now)?,
        };
        Ok(self.current.clone())
    }

    /// Removes a key.
    ///
    /// # Errors
    /// [`RingError::Unknown`], [`RingError::IsCurrent`].
    pub fn retire(&mut self, id: &KeyId) -> Result<(), RingError> {
        if *id == self.current {
            return Err(RingError::IsCurrent(id.clone()));
        }
        let before = self.keys.len();
        self.keys.retain(|key| key.id != *id);
        if self.keys.len() < before { Ok(()) } else { Err(RingError::Unknown(id.clone())) }
    }
}

fn fresh(random: &dyn Random, now: Micros) -> RingKey {
    RingKey { id: KeyId::random(random), created_at: Some(now), key: Key::random(random) }
}

/// A ring as a key service.
pub struct LocalKeys {
    ring: Ring,
    random: Arc<dyn Random>,
}

impl LocalKeys {
    /// A service over `ring`.
    #[must_use]
    pub fn new(ring: Ring, random: Arc<dyn Random>) -> Self {
        Self { ring, random }
    }

    fn key(&self, id: &KeyId) -> Result<&Key, KeyError> {
        self.ring.find(id).map(|key| &key.key).ok_or_else(|| KeyError::Unknown(id.clone()))
    }
}

impl fmt::Debug for LocalKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ring.fmt(f)
    }
}

#[async_trait]
impl KeyService for LocalKeys {
    fn current(&self) -> &KeyId {
        &self.ring.current
    }

    async fn wrap(&self, id: &KeyId, key: &Key, context: &[u8]) -> Result<Vec<u8>, KeyError> {
        let nonce = aead::nonce(self.random.as_ref());
        let sealed = aead::seal(self.key(id)?, &nonce, context, key.expose());
        let sealed = sealed.ok_or_else(|| KeyError::Refused(id.clone()))?;
        Ok([&nonce[..], &sealed].concat())
    }

    async fn unwrap(&self, id: &KeyId, wrapped: &[u8], context: &[u8]) -> Result<Key, KeyError> {
        let refused = || KeyError::Refused(id.clone());
        let key = self.key(id)?;
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_BYTES>().ok_or_else(refused)?;
        let opened = aead::open(key, nonce, context, sealed).ok_or_else(refused)?;
        Key::from_bytes(&opened).map_err(|_| refused())
    }

    async fn mac(&self, id: &KeyId, message: &[u8]) -> Result<[u8; MAC_BYTES], KeyError> {
        let key = Zeroizing::new(hmac(self.key(id)?.expose(), MAC_PURPOSE));
        Ok(hmac(&key, message))
    }
}

fn hmac(key: &[u8; MAC_BYTES], message: &[u8]) -> [u8; MAC_BYTES] {
    // HMAC fills a key up to a block with zeros.
    let mut block = Zeroizing::new([0; 64]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::OsRandom;

    fn ring() -> Ring {
        Ring::made(&OsRandom, Micros::new(0))
    }

    fn order(ring: &Ring) -> Vec<KeyId> {
        ring.keys().iter().map(|key| key.id.clone()).collect()
    }

    #[test]
    fn a_key_waits_is_current_and_goes() {
        let mut ring = ring();
        let first = ring.current().clone();
        assert_eq!(ring.retire(&first), Err(RingError::IsCurrent(first.clone())));
        let waiting = ring.add(&OsRandom, Micros::new(1)).expect("add");
        assert_eq!(ring.current(), &first, "an added key waits");
        assert_eq!(ring.rotate(&OsRandom, Micros::new(2)).expect("rotate"), waiting);
        let third = ring.rotate(&OsRandom, Micros::new(3)).expect("rotate");
        assert_eq!(order(&ring), [first.clone(), waiting.clone(), third.clone()]);
        ring.retire(&first).expect("retire");
        assert_eq!(ring.retire(&first), Err(RingError::Unknown(first)));
        assert_eq!(order(&ring), [waiting, third]);
    }

    #[test]
    fn keys_of_another_ring_come_as_old_ones() {
        let (mut ring, other) = (ring(), ring());
        let taken = ring.take(&other).expect("take");
        assert_eq!(taken, [other.current().clone()]);
        assert_eq!(ring.take(&other).expect("again"), []);
        let current = ring.current().clone();
        assert_eq!(order(&ring), [other.current().clone(), current.clone()]);
        assert_ne!(ring.rotate(&OsRandom, Micros::new(0)).expect("rotate"), *other.current());
    }

    #[test]
    fn a_ring_is_checked() {
        let keys = ring().keys().to_vec();
        let id = keys[0].id.clone();
        let twice = [keys.clone(), keys.clone()].concat();
        assert_eq!(Ring::new(twice, id.clone()).expect_err("twice"), RingError::Twice(id));
        let other = KeyId::checked("other").expect("id");
        assert_eq!(Ring::new(keys, other).expect_err("current"), RingError::NoCurrent);
        assert_eq!(format!("{:?}", ring().keys()[0].key), "[redacted]");
    }

    /// Test case 1 of RFC 4231. Its key is shorter, which the zeros behind it do not change.
    #[test]
    fn is_hmac_sha_256() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let code = hmac(&key, b"Hi There");
        assert_eq!(code[..4], [0xb0, 0x34, 0x4c, 0x61]);
        assert_eq!(code[28..], [0x2e, 0x32, 0xcf, 0xf7]);
    }

    #[tokio::test]
    async fn wraps_for_one_key_and_one_context() {
        let mut ring = ring();
        let (old, new) =
            (ring.current().clone(), ring.add(&OsRandom, Micros::new(0)).expect("add"));
        let service = LocalKeys::new(ring, Arc::new(OsRandom));
        let key = Key::random(&OsRandom);
        let wrapped = service.wrap(&old, &key, b"context").await.expect("wrapped");
        let unwrapped = service.unwrap(&old, &wrapped, b"context").await.expect("key");
        assert_eq!(unwrapped.expose(), key.expose());
        let refused = |id: &KeyId| Err(KeyError::Refused(id.clone()));
        let opened = async |id: &KeyId, wrapped: &[u8], context: &[u8]| {
            service.unwrap(id, wrapped, context).await.map(|_| ())
        };
        assert_eq!(opened(&old, &wrapped, b"other").await, refused(&old));
        assert_eq!(opened(&new, &wrapped, b"context").await, refused(&new));
        assert_eq!(opened(&old, &wrapped[..11], b"context").await, refused(&old));
        let gone = KeyId::checked("gone").expect("id");
        assert_eq!(opened(&gone, &wrapped, b"context").await, Err(KeyError::Unknown(gone)));
        assert_ne!(service.mac(&old, b"m").await, service.mac(&new, b"m").await);
    }
}
