//! `Idempotency-Key` on POST and PUT.

use std::future::Future;

use actix_web::http::header::HeaderName;
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest, Sha256};

use super::answer::{Did, send, written};
use super::error::ApiError;
use crate::actors::messages::Remember;
use crate::domain::{Table, UserId};
use crate::store::{Begun, KeyedRequest, Remembered, Store, StoreError, Written};

/// Longest key, in bytes.
const MAX_KEY: usize = 255;
/// The header that brings it.
pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The key a request brings.
///
/// # Errors
/// 400 where it is not 1 to 255 visible ASCII characters.
pub fn key(req: &HttpRequest, body: &[u8]) -> Result<Option<KeyedRequest>, ApiError> {
    const NAME: &str = "Idempotency-Key";
    let mut values = req.headers().get_all(KEY);
    let Some(value) = values.next() else { return Ok(None) };
    let rule = || ApiError::header(NAME, "must be 1 to 255 visible ASCII characters, once");
    let key = value.to_str().ok().filter(|key| {
        (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
    });
    let (Some(key), None) = (key, values.next()) else { return Err(rule()) };
    let mut hash = Sha256::new();
    for part in [req.method().as_str().as_bytes(), req.path().as_bytes(), body] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Ok(Some(KeyedRequest { key: key.to_owned(), digest: hash.finalize().into() }))
}

/// Runs a write once for each key: a repeat gets the first answer again.
///
/// # Errors
/// Those of `work`; those about the record are remembered too.
pub async fn once<F, W>(
    store: &Store,
    user: &UserId,
    (table, did): (Table, Did),
    key: Option<KeyedRequest>,
    work: W,
) -> Result<HttpResponse, ApiError>
where
    W: FnOnce(Option<Remember>) -> F,
    F: Future<Output = Result<Written, StoreError>>,
{
    let fail = |error| ApiError::of(error, table.spec().title);
    let Some(key) = key else {
        let done = work(None).await.map_err(fail)?;
        return Ok(send(written(table, did, &done), false));
    };
    let pending = match store.begin(user, &key).await? {
        Begun::Replay(answer) => return Ok(send(answer, true)),
        Begun::Go(pending) => pending,
    };
    let remember = pending.remember(move |done| written(table, did, done));
    match work(Some(remember)).await {
        Ok(done) => Ok(send(written(table, did, &done), false)),
        Err(error) => {
            let error = fail(error);
            if error.is_final()
                && let Begun::Go(pending) = store.begin(user, &key).await?
            {
                let status = error.status().as_u16();
                store
                    .conclude(user, pending, &Remembered { status, body: error.body(), etag: None })
                    .await?;
            }
            Err(error)
        }
    }
}
