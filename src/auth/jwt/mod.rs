//! JSON web tokens: `RS256`, `ES256`, `EdDSA` (`Ed25519`) and `HS256`.
//!
//! `keys` are what signatures are checked with, each for one algorithm; `claims` are the rules for
//! what a token says; `source` is where keys come from, `jwks` the task that fetches them. Checking
//! is pure: keys and time come in as arguments.

mod claims;
mod jwks;
mod keys;
mod policy;
mod source;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

pub use claims::{Rules, Verified};
pub use jwks::{Ask, Fetching};
pub use keys::{KeyError, Keys};
pub use policy::Policy;
pub use source::{KeyFile, KeySource, KeySourceError, KeyUrl, trusting};

use super::Refusal;

/// What of a header matters; what else it names (`jwk`, `jku`, `x5u`: keys of the sender's own
/// choice) is not looked at.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// Checks a token: form, key, signature, claims.
///
/// # Errors
/// [`Refusal`].
pub fn check(token: &str, keys: &Keys, rules: &Rules, now: i64) -> Result<Verified, Refusal> {
    let (message, signature) = token.rsplit_once('.').ok_or(NO_JWT)?;
    let (header, payload) = message.split_once('.').ok_or(NO_JWT)?;
    if payload.contains('.') {
        return Err(NO_JWT);
    }
    let header: Header = decoded(header)?;
    if header.crit.is_some() {
        return Err(Refusal::Refused("it has extensions that must be understood, and are not"));
    }
    let key = keys.find(&header.alg, header.kid.as_deref())?;
    let valid =
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.key, key.algorithm);
    if !valid.unwrap_or(false) {
        return Err(Refusal::Refused("its signature is wrong"));
    }
    // Not before the signature is known to be right.
    let claims: Map<String, Value> = decoded(payload)?;
    rules.check(&claims, now)
}

const NO_JWT: Refusal = Refusal::Malformed("it does not have the form of a JSON web token");

fn decoded<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| NO_JWT)?;
    serde_json::from_slice(&bytes).map_err(|_| NO_JWT)
}

#[cfg(test)]
mod tests;
