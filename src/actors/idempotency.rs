//! Repeats of a request: which keys are being worked on right now.
//!
//! What a key answered is a row of the user's idempotency table, written in the same log record
//! as the change it answers for. This actor only makes a repeat wait while the first is under
//! way. It holds one entry for each keyed request in flight.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, Message, StreamHandler};
use tokio::sync::{mpsc, oneshot};

use super::messages::Work;
use super::shared::Shared;
use crate::domain::{PartitionKey, RecordId, Row, Table, UserId};
use crate::log::Lsn;

/// A key of a user: the SHA-256 of what the client sent, in hex.
pub type Key = (UserId, RecordId);

/// Most keyed requests in flight.
const MOST_IN_FLIGHT: usize = 100_000;

/// Held while the first request with a key is worked on; dropped, repeats go on.
pub struct Ticket {
    key: Option<Key>,
    done: mpsc::UnboundedSender<Key>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            // Bounded by the requests in flight. An error means that the server stops.
            let _ = self.done.send(key);
        }
    }
}

/// What becomes of a keyed request.
pub enum Turn {
    /// Nobody works on the key: look it up, then go on.
    Go(Ticket),
    /// Somebody does: ask again when this opens.
    Wait(oneshot::Receiver<()>),
    /// Too many keyed requests are in flight.
    Full,
}

/// Asks whose turn a key is.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Begin {
    /// The key.
    pub key: Key,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Turn>,
}

/// The keys in flight.
pub struct Idempotency {
    in_flight: HashMap<Key, Vec<oneshot::Sender<()>>>,
    done: mpsc::UnboundedSender<Key>,
    finished: Option<mpsc::UnboundedReceiver<Key>>,
}

impl Default for Idempotency {
    fn default() -> Self {
        Self::new()
    }
}

impl Idempotency {
    /// No key in flight.
    #[must_use]
    pub fn new() -> Self {
        let (done, finished) = mpsc::unbounded_channel();
        Self { in_flight: HashMap::new(), done, finished: Some(finished) }
    }
}

impl Actor for Idempotency {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(4096);
        if let Some(mut finished) = self.finished.take() {
            ctx.add_stream(futures_util::stream::poll_fn(move |cx| finished.poll_recv(cx)));
        }
    }
}

impl Handler<Begin> for Idempotency {
    type Result = ();

    fn handle(&mut self, Begin { key, reply }: Begin, _: &mut Context<Self>) {
        let full = self.in_flight.len() >= MOST_IN_FLIGHT;
        let turn = match self.in_flight.get_mut(&key) {
            Some(waiting) if waiting.len() >= 1024 => Turn::Full,
            Some(waiting) => {
                let (open, opened) = oneshot::channel();
                waiting.push(open);
                Turn::Wait(opened)
            }
            None if full => Turn::Full,
            None => {
                self.in_flight.insert(key.clone(), Vec::new());
                Turn::Go(Ticket { key: Some(key), done: self.done.clone() })
            }
        };
        // If nobody waits for the turn, the ticket in it is dropped and the key is free again.
        let _ = reply.send(turn);
    }
}

impl StreamHandler<Key> for Idempotency {
    fn handle(&mut self, key: Key, _: &mut Context<Self>) {
        for waiting in self.in_flight.remove(&key).unwrap_or_default() {
            // One who stopped waiting needs no turn.
            let _ = waiting.send(());
        }
    }

    fn finished(&mut self, _: &mut Context<Self>) {}
}

/// Tells a user's idempotency partition of a row that was logged on its behalf, then lets
/// repeats go on. A partition that is not running will find the row in the log.
pub fn tell(
    shared: &Arc<Shared>,
    user: &UserId,
    row: Arc<Row>,
    (lsn, epoch): (Lsn, u64),
    ticket: Ticket,
) {
    let key = PartitionKey::whole(user, Table::Idempotency);
    let shared = Arc::clone(shared);
    actix::spawn(async move {
        if let Some(slot) = shared.registry.partition(&key) {
            shared.metrics.messages.partition.increment();
            // An error means that it stopped: its successor reads the log.
            let _ = slot.addr.send(Work::Learn { row, lsn, epoch }).await;
        }
        shared.metrics.messages.idempotency.increment();
        drop(ticket);
    });
}
