//! `Idempotency-Key`: the first answer of a key, again, for 24 hours.
//!
//! The answer is a row of the user's idempotency table. For a change that was made it is in the
//! change's own log record: both survive, or neither. Its id is the SHA-256 of the key.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::{Store, StoreError, Written};
use crate::actors::idempotency::{Begin, Ticket, Turn};
use crate::actors::messages::{Change, Precondition, Remember, Work, Write};
use crate::domain::{Cell, Micros, PartitionKey, RecordId, Row, Table, UserId};

/// A request that brings a key.
#[derive(Clone)]
pub struct KeyedRequest {
    /// The key as the client sent it.
    pub key: String,
    /// What tells this request from another with the same key: method, path and body, hashed.
    /// Never kept as it is: a body may hold credentials, and some of them can be guessed.
    pub digest: [u8; 32],
}

/// An answer that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// HTTP status.
    pub status: u16,
    /// JSON body.
    pub body: String,
    /// `ETag` header.
    pub etag: Option<String>,
}

/// What becomes of a keyed request.
pub enum Begun {
    /// It was answered before.
    Replay(Remembered),
    /// It is the first: repeats wait until this is used or dropped.
    Go(Pending),
}

/// The first request with a key, under way.
pub struct Pending {
    id: RecordId,
    fingerprint: String,
    now: Micros,
    ticket: Ticket,
}

impl Pending {
    /// What a write carries so that its answer is remembered with it.
    #[must_use]
    pub fn remember(
        self,
        render: impl FnOnce(&Written) -> Remembered + Send + 'static,
    ) -> Remember {
        let Self { id, fingerprint, now, ticket } = self;
        let row = move |written: &Written| remembered_row(id, &fingerprint, now, &render(written));
        Remember { row: Box::new(row), ticket }
    }
}

impl Store {
    /// Begins a keyed request: waits for an earlier one with the same key, then finds its answer.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`] where the key came with another request,
    /// [`StoreError::KeyUnverifiable`] where nobody can tell, and whatever keeps the store from
    /// reading.
    pub async fn begin(&self, user: &UserId, request: &KeyedRequest) -> Result<Begun, StoreError> {
        let id = hashed(&request.key)?;
        let ticket = loop {
            let (reply, turn) = oneshot::channel();
            let begin = Begin { key: (user.clone(), id.clone()), reply };
            self.shared.metrics.messages.idempotency.increment();
            self.idempotency.try_send(begin).map_err(|_| StoreError::Overloaded)?;
            match turn.await.map_err(|_| StoreError::Draining)? {
                Turn::Go(ticket) => break ticket,
                // However the other ended, it is somebody's turn now.
                Turn::Wait(open) => drop(open.await),
                Turn::Full => return Err(StoreError::Overloaded),
            }
        };
        let ledger = PartitionKey::whole(user, Table::Idempotency);
        let make = |reply| Work::Get { id: id.clone(), reply };
        match self.door.read(&ledger, make).await {
            Ok(row) => match self.is_of(&row, request).await? {
                Some(true) => remembered(&row).map(Begun::Replay).ok_or(StoreError::Internal),
                Some(false) => Err(StoreError::KeyReused),
                None => Err(StoreError::KeyUnverifiable),
            },
            Err(StoreError::NotFound) => {
                let fingerprint = self.shared.keys.sealer().fingerprint(&request.digest).await;
                let fingerprint = fingerprint.map_err(|_| StoreError::CredentialsUnavailable)?;
                let now = self.shared.env.clock.now();
                Ok(Begun::Go(Pending { id, fingerprint, now, ticket }))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a remembered answer is one to this request; `None` where the key that could tell is
    /// retired. Neither may it be carried out again then, nor be given what may be another
    /// request's answer.
    async fn is_of(&self, row: &Row, request: &KeyedRequest) -> Result<Option<bool>, StoreError> {
        let fingerprint = row.text("fingerprint").unwrap_or_default();
        if !fingerprint.contains(':') {
            // Earlier versions kept the hash itself.
            return Ok(Some(fingerprint == hex(&request.digest)));
        }
        let same = self.shared.keys.sealer().has_fingerprint(&request.digest, fingerprint).await;
        same.map_err(|_| StoreError::CredentialsUnavailable)
    }

    /// Remembers the answer of a request that changed nothing.
    ///
    /// # Errors
    /// Whatever keeps the store from writing; the answer is not remembered then.
    pub async fn conclude(
        &self,
        user: &UserId,
        pending: Pending,
        answer: &Remembered,
    ) -> Result<(), StoreError> {
        let Pending { id, fingerprint, now, ticket } = pending;
        let row = Box::new(remembered_row(id, &fingerprint, now, answer));
        let make = |reply| {
            let precondition = Precondition::None;
            Work::Write(Box::new(Write {
                change: Change::Put(row),
                precondition,
                remember: None,
                reply,
            }))
        };
        let answer = self.door.ask(&PartitionKey::whole(user, Table::Idempotency), make).await;
        let written = self.door.settled(answer).await;
        drop(ticket);
        written.map(|_| ())
    }
}

fn hashed(key: &str) -> Result<RecordId, StoreError> {
    let hash = Sha256::digest(key.as_bytes());
    RecordId::checked(&hex(&hash)).map_err(|_| StoreError::Internal)
}

fn hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

fn remembered_row(id: RecordId, fingerprint: &str, now: Micros, answer: &Remembered) -> Row {
    let mut row = Row::build(Table::Idempotency);
    row.set_named("fingerprint", Cell::Text(fingerprint));
    row.set_named("status", Cell::Int(i64::from(answer.status)));
    row.set_named("answer", Cell::Json(&answer.body));
    if let Some(etag) = &answer.etag {
        row.set_named("etag", Cell::Text(etag));
    }
    row.finish(id, now, now, 1)
}

fn remembered(row: &Row) -> Option<Remembered> {
    let (status, _) = Table::Idempotency.spec().column("status")?;
    let Cell::Int(status) = row.cell(status) else { return None };
    Some(Remembered {
        status: u16::try_from(status).ok()?,
        body: row.text("answer")?.to_owned(),
        etag: row.text("etag").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_back() {
        for etag in [None, Some("\"1\"".to_owned())] {
            let answer = Remembered { status: 201, body: "{\"a\":1}".to_owned(), etag };
            let row = remembered_row(hashed("k").expect("id"), "f", Micros::new(5), &answer);
            assert_eq!(remembered(&row), Some(answer));
        }
        assert_ne!(hashed("a").expect("a"), hashed("b").expect("b"));
    }
}
