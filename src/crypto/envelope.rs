//! The bytes of the `credentials` column (`docs/formats/sealed.md`). Decoding is total: any bytes
//! are an envelope or an error.

use thiserror::Error;

use super::aead::{NONCE_BYTES, TAG_BYTES};
use super::key::KeyId;

/// The credentials are in a file of the Python service kept under `legacy/`.
const KEPT_IN_LEGACY: u8 = 1;
/// Sealed, format version 1.
const SEALED: u8 = 2;
/// AES-256-GCM for the credentials.
const AES_256_GCM: u8 = 1;
/// Longest account id that is shown, as JSON, in bytes.
pub const MAX_ACCOUNT: usize = 256;
/// Longest wrapped data key. A local ring makes 60 bytes; a cloud KMS some hundred.
pub const MAX_WRAPPED: usize = 4096;

/// What a column's bytes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored<'a> {
    /// An earlier version left the credentials in the Python service's file.
    KeptInLegacy {
        /// The account id as JSON, or nothing.
        account: &'a str,
    },
    /// Sealed credentials.
    Sealed(Envelope<'a>),
}

/// Sealed credentials, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The key that the data key is wrapped with.
    pub key_id: KeyId,
    /// The wrapped data key, as its key service made it.
    pub wrapped: &'a [u8],
    /// The account id as JSON, or nothing. In the open, but authenticated.
    pub account: &'a str,
    /// The nonce of the credentials.
    pub nonce: [u8; NONCE_BYTES],
    /// The credentials, sealed.
    pub sealed: &'a [u8],
}

/// Bytes that are no envelope.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EnvelopeError {
    /// A format or cipher this version does not know.
    #[error("form {0} is newer than this server")]
    Unknown(u8),
    /// Not an envelope.
    #[error("the sealed credentials are malformed")]
    Malformed,
}

impl<'a> Stored<'a> {
    /// Takes a column's bytes apart.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        let mut rest = Reader(bytes);
        match rest.u8()? {
            KEPT_IN_LEGACY => {
                let account = std::str::from_utf8(rest.0).unwrap_or_default();
                // Earlier versions kept whatever JSON stood there.
                Ok(Self::KeptInLegacy { account: if is_account(account) { account } else { "" } })
            }
            SEALED => Envelope::parse(rest).map(Self::Sealed),
            other => Err(EnvelopeError::Unknown(other)),
        }
    }

    /// The account id as JSON, where one may be shown.
    #[must_use]
    pub fn account(&self) -> &'a str {
        match self {
            Self::KeptInLegacy { account } => account,
            Self::Sealed(envelope) => envelope.account,
        }
    }
}

impl<'a> Envelope<'a> {
    fn parse(mut rest: Reader<'a>) -> Result<Self, EnvelopeError> {
        match rest.u8()? {
            AES_256_GCM => {}
            other => return Err(EnvelopeError::Unknown(other)),
        }
        let len = usize::from(rest.u8()?);
        let key_id = std::str::from_utf8(rest.take(len)?).ok();
        let key_id = key_id.and_then(|text| KeyId::checked(text).ok());
        let len = usize::from(rest.u16()?);
        let wrapped = rest.take(len)?;
        let len = usize::from(rest.u16()?);
        let account = std::str::from_utf8(rest.take(len)?).ok();
        let account = account.filter(|account| account.is_empty() || is_account(account));
        let nonce = rest.take(NONCE_BYTES)?.try_into().map_err(|_| EnvelopeError::Malformed)?;
        let (Some(key_id), Some(account)) = (key_id, account) else {
            return Err(EnvelopeError::Malformed);
        };
        if wrapped.len() > MAX_WRAPPED || rest.0.len() < TAG_BYTES {
            return Err(EnvelopeError::Malformed);
        }
        Ok(Self { key_id, wrapped, account, nonce, sealed: rest.0 })
    }

    /// The column's bytes; `None` where a part is longer than the form has room for.
    #[must_use]
    pub fn encode(&self) -> Option<Box<[u8]>> {
        let key_id = self.key_id.as_str().as_bytes();
        if self.wrapped.len() > MAX_WRAPPED || self.account.len() > MAX_ACCOUNT {
            return None;
        }
        let parts = key_id.len() + self.wrapped.len() + self.account.len() + self.sealed.len();
        let mut out = Vec::with_capacity(parts + 7 + NONCE_BYTES);
        out.extend_from_slice(&[SEALED, AES_256_GCM, u8::try_from(key_id.len()).ok()?]);
        out.extend_from_slice(key_id);
        out.extend_from_slice(&u16::try_from(self.wrapped.len()).ok()?.to_le_bytes());
        out.extend_from_slice(self.wrapped);
        out.extend_from_slice(&u16::try_from(self.account.len()).ok()?.to_le_bytes());
        out.extend_from_slice(self.account.as_bytes());
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(self.sealed);
        Some(out.into())
    }
}

/// Whether a text may be shown as an account id: a JSON text or number of some length. Anything
/// else could be more than an account id, or break the answer it is put into.
#[must_use]
pub fn is_account(json: &str) -> bool {
    let scalar = json.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
    scalar
        && json.len() <= MAX_ACCOUNT
        && json.ends_with(|c: char| c == '"' || c.is_ascii_digit())
        // Decoded, not only scanned: half a surrogate pair is a text that readers refuse.
        && serde_json::from_str::<serde_json::Value>(json).is_ok()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], EnvelopeError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(EnvelopeError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, EnvelopeError> {
        self.take(1)?.first().copied().ok_or(EnvelopeError::Malformed)
    }

    fn u16(&mut self) -> Result<u16, EnvelopeError> {
        let bytes = self.take(2)?.try_into().map_err(|_| EnvelopeError::Malformed)?;
        Ok(u16::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample<'a>() -> Envelope<'a> {
        Envelope {
            key_id: KeyId::checked("k-1").expect("id"),
            wrapped: &[5; 60],
            account: "\"12345\"",
            nonce: [3; 12],
            sealed: &[8; 40],
        }
    }

    #[test]
    fn comes_back() {
        let bytes = sample().encode().expect("bytes");
        assert_eq!(Stored::parse(&bytes), Ok(Stored::Sealed(sample())));
        assert_eq!(Stored::parse(&[1]), Ok(Stored::KeptInLegacy { account: "" }));
        assert_eq!(Stored::parse(b"\x01\"7\""), Ok(Stored::KeptInLegacy { account: "\"7\"" }));
        assert_eq!(Stored::parse(b"\x01{\"a\":1}"), Ok(Stored::KeptInLegacy { account: "" }));
        assert_eq!(Stored::parse(&[]), Err(EnvelopeError::Malformed));
        assert_eq!(Stored::parse(&[9]), Err(EnvelopeError::Unknown(9)));
        assert_eq!(Stored::parse(&[2, 2]), Err(EnvelopeError::Unknown(2)));
        for cut in 0..bytes.len() - 24 {
            assert!(Stored::parse(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn an_account_is_a_short_text_or_number() {
        for good in ["\"a\"", "\"\\u00e9\\\"\"", "12", "-1.5e3"] {
            assert!(is_account(good), "{good}");
        }
        let long = format!("\"{}\"", "x".repeat(MAX_ACCOUNT));
        for bad in
            ["", "{}", "[1]", "null", "\"", "\"a\",\"b\"", "1 ", " 1", "\"a\nb\"", "-", &long]
        {
            assert!(!is_account(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_envelope_or_an_error(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            begin in proptest::sample::select(vec![vec![], vec![1], vec![2], vec![2, 1], vec![2, 1, 3]]),
        ) {
            let bytes = [begin, bytes].concat();
            if let Ok(Stored::Sealed(envelope)) = Stored::parse(&bytes) {
                prop_assert_eq!(&*envelope.encode().expect("bytes"), &bytes[..], "one form only");
            }
        }

        #[test]
        fn damaged_envelopes_never_panic(at in 0_usize..200, xor in 1_u8..) {
            let mut bytes = sample().encode().expect("bytes").into_vec();
            let at = at % bytes.len();
            bytes[at] ^= xor;
            let _ = Stored::parse(&bytes);
        }
    }
}
