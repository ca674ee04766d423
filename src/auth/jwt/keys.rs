//! Keys that signatures are checked with.
//!
//! A key is for one algorithm, which its own type decides and never the token: a token that says
//! another is refused, so that an RSA key's public text is never taken for a shared secret.

use std::collections::HashMap;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use thiserror::Error;

use crate::auth::Refusal;

/// Most keys of a set.
const MAX_KEYS: usize = 100;
/// Shortest shared secret, in bytes: as long as the hash (RFC 7518, 3.2).
const MIN_SECRET: usize = 32;
/// Shortest RSA modulus, in bytes: 2048 bits.
const MIN_MODULUS: usize = 256;

/// Why a text holds no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Too short.
    #[error("a shared secret needs at least 32 bytes")]
    Secret,
    /// A key in PEM.
    #[error("it is a PEM key; a shared secret is random bytes that nobody else knows")]
    NoSecret,
    /// Neither PEM nor JSON.
    #[error("it is neither a PEM public key nor a JSON web key set")]
    Form,
    /// PEM, but not a key of a type that is taken.
    #[error("it is no public key for RS256 (2048 bits or more), ES256 (P-256) or EdDSA (Ed25519)")]
    Pem,
    /// Several PEM keys have no names to tell them apart.
    #[error("it holds several keys; put them into a JSON web key set, where they have names")]
    Several,
    /// A set without a key that can be used.
    #[error("the set holds no usable key: one with a `kid`, for RS256, ES256 or EdDSA")]
    Empty,
    /// A set that is too large.
    #[error("the set holds more than 100 keys")]
    TooMany,
}

/// A key.
#[derive(Clone)]
pub struct Key {
    /// What it is for.
    pub algorithm: Algorithm,
    /// The key.
    pub key: DecodingKey,
}

/// The keys of a source.
#[derive(Clone)]
pub enum Keys {
    /// None at the moment.
    None,
    /// One without a name, which fits whatever `kid` a token names.
    One(Box<Key>),
    /// Keys of a set, by `kid` and algorithm.
    Named(HashMap<(String, &'static str), Key>),
}

impl Keys {
    /// A shared secret for HS256. A line break at the end is not part of it.
    ///
    /// # Errors
    /// [`KeyError::Secret`].
    pub fn secret(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if bytes.len() < MIN_SECRET {
            return Err(KeyError::Secret);
        }
        // A key in PEM is no secret: where it is a public one, anybody could sign with it.
        if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
            return Err(KeyError::NoSecret);
        }
        let key = DecodingKey::from_secret(bytes);
        Ok(Self::One(Box::new(Key { algorithm: Algorithm::HS256, key })))
    }

    /// Public keys: a PEM file's one, or those of a JSON web key set.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn public(bytes: &[u8]) -> Result<Self, KeyError> {
        match bytes.trim_ascii_start().first() {
            Some(b'{') => Self::set(bytes),
            Some(b'-') => pem(bytes),
            _ => Err(KeyError::Form),
        }
    }

    /// The keys of a JSON web key set (RFC 7517).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn set(bytes: &[u8]) -> Result<Self, KeyError> {
        let document: Value = serde_json::from_slice(bytes).map_err(|_| KeyError::Form)?;
        let keys = document.get("keys").and_then(Value::as_array).ok_or(KeyError::Form)?;
        if keys.len() > MAX_KEYS {
            return Err(KeyError::TooMany);
        }
        let mut named = HashMap::new();
        for key in keys {
            // Keys for other uses and algorithms stand in sets beside ours.
            let Some((kid, key)) = web_key(key) else { continue };
            let Some(algorithm) = name(key.algorithm) else { continue };
            // Of two keys with one name the first counts, as most readers of sets have it.
            named.entry((kid, algorithm)).or_insert(key);
        }
        if named.is_empty() { Err(KeyError::Empty) } else { Ok(Self::Named(named)) }
    }

    /// The key for a token that says `alg` and `kid`.
    ///
    /// # Errors
    /// [`Refusal::NoKeys`]; [`Refusal::UnknownKey`] for a `kid` that is not known;
    /// [`Refusal::Refused`] for an algorithm that is not the key's, and where the token does not
    /// say which of a set it is.
    pub fn find(&self, alg: &str, kid: Option<&str>) -> Result<&Key, Refusal> {
        let known = ALGORITHMS.iter().find(|(_, name)| *name == alg);
        let (_, alg) = known.ok_or(Refusal::Refused("its `alg` is not one that is taken"))?;
        match self {
            Self::None => Err(Refusal::NoKeys),
            Self::One(key) if name(key.algorithm) == Some(alg) => Ok(key),
            Self::One(_) => Err(Refusal::Refused("its `alg` is not the key's")),
            Self::Named(keys) => {
                let kid = kid.ok_or(Refusal::Refused("it has no `kid`"))?;
                if let Some(key) = keys.get(&(kid.to_owned(), *alg)) {
                    return Ok(key);
                }
                // A name that is known for another algorithm will not be found by asking again.
                if keys.keys().any(|(known, _)| known == kid) {
                    return Err(Refusal::Refused("its `alg` is not the key's"));
                }
                Err(Refusal::UnknownKey)
            }
        }
    }
}

/// The algorithms there are.
const ALGORITHMS: [(Algorithm, &str); 4] = [
    (Algorithm::RS256, "RS256"),
    (Algorithm::ES256, "ES256"),
    (Algorithm::EdDSA, "EdDSA"),
    (Algorithm::HS256, "HS256"),
];

fn name(algorithm: Algorithm) -> Option<&'static str> {
    ALGORITHMS.iter().find(|(known, _)| *known == algorithm).map(|(_, name)| *name)
}

/// Reads the text of one kind of key.
type ReadPem = fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>;

fn pem(bytes: &[u8]) -> Result<Keys, KeyError> {
    let text = std::str::from_utf8(bytes).map_err(|_| KeyError::Form)?;
    let mut labels = text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN "));
    let label = labels.next().ok_or(KeyError::Form)?;
    if labels.next().is_some() {
        return Err(KeyError::Several);
    }
    // A private key or a certificate in here is a mistake, not a public key.
    if !["PUBLIC KEY-----", "RSA PUBLIC KEY-----"].contains(&label) {
        return Err(KeyError::Pem);
    }
    let tries: [(Algorithm, ReadPem, Range<usize>); 3] = [
        // The key's DER holds the modulus and little else.
        (Algorithm::RS256, DecodingKey::from_rsa_pem, MIN_MODULUS..usize::MAX),
        // A point without compression: one byte and two coordinates.
        (Algorithm::ES256, DecodingKey::from_ec_pem, 65..66),
        (Algorithm::EdDSA, DecodingKey::from_ed_pem, 32..33),
    ];
    for (algorithm, read, length) in tries {
        if let Ok(key) = read(text.as_bytes())
            && length.contains(&key.try_get_as_bytes().map_or(0, <[u8]>::len))
        {
            return Ok(Keys::One(Box::new(Key { algorithm, key })));
        }
    }
    Err(KeyError::Pem)
}

/// A key of a set (RFC 7517), where it has a name and is one to check signatures with. Shared
/// secrets (`oct`) are not taken from a set: whoever can read the set could sign.
fn web_key(key: &Value) -> Option<(String, Key)> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let kid = text("kid").filter(|kid| !kid.is_empty())?;
    let verifies = match key.get("key_ops") {
        Some(Value::Array(all)) => all.iter().any(|op| op == "verify"),
        _ => true,
    };
    if !verifies || text("use").is_some_and(|u| u != "sig") {
        return None;
    }
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    // Zeros at the front make a number no longer.
    let modulus = || Some(bytes("n")?.iter().skip_while(|b| **b == 0).count());
    let coordinate = |name: &str| bytes(name).is_some_and(|b| b.len() == 32);
    let (algorithm, made) = match (text("kty")?, text("crv")) {
        ("RSA", _) if modulus()? >= MIN_MODULUS => {
            (Algorithm::RS256, DecodingKey::from_rsa_components(text("n")?, text("e")?))
        }
        ("EC", Some("P-256")) if coordinate("x") && coordinate("y") => {
            (Algorithm::ES256, DecodingKey::from_ec_components(text("x")?, text("y")?))
        }
        ("OKP", Some("Ed25519")) if coordinate("x") => {
            (Algorithm::EdDSA, DecodingKey::from_ed_components(text("x")?))
        }
        _ => return None,
    };
    if text("alg").is_some_and(|alg| Some(alg) != name(algorithm)) {
        return None;
    }
    Some((kid.to_owned(), Key { algorithm, key: made.ok()? }))
}
