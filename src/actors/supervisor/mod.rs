//! Starts partitions and catalogs on demand, pauses those that panic, keeps what is resident
//! within its bounds, and sees to it that unsaved changes reach their files.

mod backoff;
mod checkpointer;
mod door;
mod policy;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::{Actor, Addr, ArbiterHandle, AsyncContext, Context, Handler, Message};
use tokio::sync::oneshot;

pub use door::Door;

use self::backoff::Backoff;
use self::policy::Resident;
use super::catalog::{Catalog, MonthOpened, Stop};
use super::messages::Work;
use super::partition::{Exit, Exited, Partition};
use super::registry::{Slot, Stats};
use super::threads::start_on;
use super::{Shared, StoreError, Threads};
use crate::domain::{PartitionKey, Table, UserId};

/// How often residency is looked at.
const TICK: Duration = Duration::from_millis(250);
/// How many idle entries of tables are kept.
const KEEP_TABLES: usize = 50_000;
/// How many catalogs run before idle ones are stopped.
const KEEP_CATALOGS: usize = 5_000;

/// Asks for a partition's address.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Open {
    /// Which.
    pub key: PartitionKey,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Arc<Slot>, StoreError>>,
}

/// Asks for a catalog's address.
#[derive(Message)]
#[rtype(result = "()")]
pub struct OpenCatalog {
    /// Whose.
    pub user: UserId,
    /// Of which monthly table.
    pub table: Table,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Addr<Catalog>, StoreError>>,
}

/// Keeps everything of a user closed, or lets it open again. Answers whether this changed
/// anything.
#[derive(Message)]
#[rtype(result = "bool")]
pub struct Fence {
    /// The user.
    pub user: UserId,
    /// Whether it is kept closed.
    pub closed: bool,
}

/// Starts nothing any more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;

/// The actor.
pub struct Supervisor {
    shared: Arc<Shared>,
    /// Kept running for the actors on them.
    _threads: Threads,
    handles: Vec<ArbiterHandle>,
    next: usize,
    backoff: HashMap<PartitionKey, Backoff>,
    fenced: HashSet<UserId>,
    draining: bool,
}

impl Supervisor {
    /// A supervisor whose actors run on `threads`. Nothing starts of users who are `fenced` off.
    #[must_use]
    pub fn new(shared: Arc<Shared>, threads: Threads, fenced: HashSet<UserId>) -> Self {
        Self {
            shared,
            handles: threads.handles(),
            _threads: threads,
            next: 0,
            backoff: HashMap::new(),
            fenced,
            draining: false,
        }
    }

    fn thread(&mut self) -> Option<ArbiterHandle> {
        self.next = self.next.wrapping_add(1);
        self.handles.get(self.next % self.handles.len().max(1)).cloned()
    }

    fn open(
        &mut self,
        key: PartitionKey,
        ctx: &mut Context<Self>,
    ) -> Result<Arc<Slot>, StoreError> {
        if let Some(slot) = self.shared.registry.partition(&key) {
            return Ok(slot);
        }
        if self.draining {
            return Err(StoreError::Draining);
        }
        if self.fenced.contains(key.user()) {
            return Err(StoreError::Erasing);
        }
        let now = self.shared.env.clock.monotonic();
        if let Some(after) = self.backoff.get(&key).and_then(|b| b.pause(now)) {
            return Err(StoreError::Restarting { after });
        }
        if let Some(month) = key.month() {
            let catalog = (key.user().clone(), key.table());
            if let Some(catalog) = self.shared.registry.catalog(&catalog) {
                // The catalog hears of the month before anybody can reach the partition.
                catalog.try_send(MonthOpened { month }).map_err(|_| StoreError::Overloaded)?;
            }
        }
        let counts = &self.shared.metrics.partitions;
        counts.spawned.increment();
        if self.backoff.contains_key(&key) {
            counts.restarted.increment();
        }
        let thread = self.thread().ok_or(StoreError::Internal)?;
        let stats = Arc::new(Stats::default());
        stats.used.store(self.shared.millis(), Ordering::Relaxed);
        let (entered, opens) = oneshot::channel();
        let (shared, supervisor) = (Arc::clone(&self.shared), ctx.address().recipient());
        let door = Door::new(Arc::clone(&self.shared), ctx.address());
        let (of, its) = (key.clone(), Arc::clone(&stats));
        let addr = start_on(&thread, self.shared.limits.mailbox, move || {
            Partition::new(shared, of, its, opens, door, supervisor)
        });
        let slot = Arc::new(Slot { key, addr, stats });
        self.shared.registry.enter(Arc::clone(&slot));
        // Loading begins now, so that whatever is logged from here on finds the partition.
        let _ = entered.send(());
        Ok(slot)
    }

    fn open_catalog(
        &mut self,
        user: UserId,
        table: Table,
        ctx: &mut Context<Self>,
    ) -> Result<Addr<Catalog>, StoreError> {
        let key = (user, table);
        if let Some(addr) = self.shared.registry.catalog(&key) {
            return Ok(addr);
        }
        if self.draining {
            return Err(StoreError::Draining);
        }
        if self.fenced.contains(&key.0) {
            return Err(StoreError::Erasing);
        }
        let thread = self.thread().ok_or(StoreError::Internal)?;
        let door = Door::new(Arc::clone(&self.shared), ctx.address());
        let (shared, user) = (Arc::clone(&self.shared), key.0.clone());
        let addr = start_on(&thread, self.shared.limits.mailbox, move || {
            Catalog::new(shared, door, user, table)
        });
        self.shared.registry.enter_catalog(key, addr.clone());
        Ok(addr)
    }

    fn tick(&mut self) {
        let now = self.shared.millis();
        let slots = self.shared.registry.all();
        let views: Vec<Resident> = slots
            .iter()
            .map(|slot| Resident {
                bytes: slot.stats.bytes(),
                used: slot.stats.used.load(Ordering::Relaxed),
            })
            .collect();
        for index in policy::to_passivate(now, &views, &self.shared.limits) {
            if let Some(slot) = slots.get(index) {
                // A full mailbox means that it is not idle.
                let _ = slot.addr.try_send(Work::Passivate);
            }
        }
        let catalogs = self.shared.registry.catalogs();
        if catalogs.len() > KEEP_CATALOGS {
            for (_, catalog) in catalogs {
                // A busy one stays.
                let _ = catalog.try_send(Stop);
            }
        }
        self.shared.registry.forget_idle_tables(KEEP_TABLES);
        let monotonic = self.shared.env.clock.monotonic();
        self.backoff.retain(|_, b| !b.is_over(monotonic));
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(16_384);
        ctx.run_interval(TICK, |act, _| act.tick());
        let door = Door::new(Arc::clone(&self.shared), ctx.address());
        actix::spawn(checkpointer::run(Arc::clone(&self.shared), door));
    }
}

impl Handler<Open> for Supervisor {
    type Result = ();
    fn handle(&mut self, Open { key, reply }: Open, ctx: &mut Context<Self>) {
        // Whoever asked may have gone away; the partition then stops when it was idle long enough.
        let _ = reply.send(self.open(key, ctx));
    }
}

impl Handler<OpenCatalog> for Supervisor {
    type Result = ();
    fn handle(&mut self, OpenCatalog { user, table, reply }: OpenCatalog, ctx: &mut Context<Self>) {
        // As above.
        let _ = reply.send(self.open_catalog(user, table, ctx));
    }
}

impl Handler<Exited> for Supervisor {
    type Result = ();
    fn handle(&mut self, Exited { key, exit }: Exited, _: &mut Context<Self>) {
        let now = self.shared.env.clock.monotonic();
        match exit {
            Exit::Panicked | Exit::Failed => self.backoff.entry(key).or_default().failed(now),
            Exit::Idle | Exit::Closed => {}
        }
    }
}

impl Handler<Fence> for Supervisor {
    type Result = bool;
    fn handle(&mut self, Fence { user, closed }: Fence, _: &mut Context<Self>) -> bool {
        if closed { self.fenced.insert(user) } else { self.fenced.remove(&user) }
    }
}

impl Handler<Drain> for Supervisor {
    type Result = ();
    fn handle(&mut self, _: Drain, _: &mut Context<Self>) {
        self.draining = true;
    }
}
