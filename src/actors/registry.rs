//! Who is where: addresses of running partitions and catalogs, and each table's generation.
//!
//! Read by every request without a hop; written by the supervisor and by actors that leave.
//! Bounded by what is resident.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use actix::Addr;

use super::catalog::Catalog;
use super::partition::Partition;
use super::usage::{Quotas, Usage};
use crate::domain::{PartitionKey, Table, UserId};

const SHARDS: usize = 16;

/// What others may know of a running partition. Written by its actor alone.
#[derive(Debug, Default)]
pub struct Stats {
    /// Bytes in memory beside the unsaved ones: what the file gave, or will hold in a moment.
    pub other_bytes: AtomicU64,
    /// Bytes in memory that no Parquet file holds and no checkpoint is writing.
    pub unsaved_bytes: AtomicU64,
    /// Monotonic milliseconds at which the oldest unsaved change came; 0 for none.
    pub dirty_since: AtomicU64,
    /// Monotonic milliseconds of the last request.
    pub used: AtomicU64,
    /// Whether a checkpoint is being written.
    pub saving: AtomicBool,
    /// Requests in its mailbox: sent and not taken yet. For a moment less than none.
    pub waiting: AtomicI64,
    /// Monotonic milliseconds before which a failed checkpoint is not tried again.
    pub retry_at: AtomicU64,
}

impl Stats {
    /// Bytes in memory.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.other_bytes.load(Ordering::Relaxed) + self.unsaved_bytes.load(Ordering::Relaxed)
    }
}

/// A running partition.
pub struct Slot {
    /// Which.
    pub key: PartitionKey,
    /// Its address.
    pub addr: Addr<Partition>,
    /// What others may know of it; also its identity.
    pub stats: Arc<Stats>,
}

/// What is shared by all that deal with one table of one user.
#[derive(Debug)]
pub struct TableEntry {
    generation: AtomicU64,
}

impl TableEntry {
    /// Grows with each change of the table's records; never repeats within a process.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

type Shards<K, V> = Vec<RwLock<HashMap<K, V>>>;

/// A key of one of the registry's tables.
trait Keyed {
    fn user(&self) -> &UserId;
}

impl Keyed for UserId {
    fn user(&self) -> &UserId {
        self
    }
}

impl Keyed for (UserId, Table) {
    fn user(&self) -> &UserId {
        &self.0
    }
}

impl Keyed for PartitionKey {
    fn user(&self) -> &UserId {
        PartitionKey::user(self)
    }
}

/// Addresses and generations.
pub struct Registry {
    partitions: Shards<PartitionKey, Arc<Slot>>,
    catalogs: Shards<(UserId, Table), Addr<Catalog>>,
    tables: Shards<(UserId, Table), Arc<TableEntry>>,
    usages: Shards<UserId, Arc<Usage>>,
    next_generation: AtomicU64,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self {
            partitions: shards(),
            catalogs: shards(),
            tables: shards(),
            usages: shards(),
            next_generation: AtomicU64::new(1),
        }
    }

    /// A running partition.
    #[must_use]
    pub fn partition(&self, key: &PartitionKey) -> Option<Arc<Slot>> {
        read(shard(&self.partitions, key)).get(key).filter(|s| s.addr.connected()).cloned()
    }

    /// Enters a partition.
    pub fn enter(&self, slot: Arc<Slot>) {
        write(shard(&self.partitions, &slot.key)).insert(slot.key.clone(), slot);
    }

    /// Takes a partition out, if it is still this one.
    pub fn leave(&self, key: &PartitionKey, stats: &Arc<Stats>) {
        let mut shard = write(shard(&self.partitions, key));
        if shard.get(key).is_some_and(|slot| Arc::ptr_eq(&slot.stats, stats)) {
            shard.remove(key);
        }
    }

    /// All running partitions.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Slot>> {
        self.partitions.iter().flat_map(|s| read(s).values().cloned().collect::<Vec<_>>()).collect()
    }

    /// Shows all running partitions, without copying them.
    pub fn visit(&self, mut see: impl FnMut(&Slot)) {
        for shard in &self.partitions {
            read(shard).values().for_each(|slot| see(slot));
        }
    }

    /// The running partitions of a user, or of one of his tables.
    #[must_use]
    pub fn of_user(&self, user: &UserId, table: Option<Table>) -> Vec<Arc<Slot>> {
        let mine =
            |key: &PartitionKey| key.user() == user && table.is_none_or(|t| t == key.table());
        let of = |s: &RwLock<HashMap<PartitionKey, Arc<Slot>>>| {
            read(s).values().filter(|slot| mine(&slot.key)).cloned().collect::<Vec<_>>()
        };
        self.partitions.iter().flat_map(of).collect()
    }

    /// A running catalog.
    #[must_use]
    pub fn catalog(&self, key: &(UserId, Table)) -> Option<Addr<Catalog>> {
        read(shard(&self.catalogs, key)).get(key).filter(|a| a.connected()).cloned()
    }

    /// Enters a catalog.
    pub fn enter_catalog(&self, key: (UserId, Table), addr: Addr<Catalog>) {
        write(shard(&self.catalogs, &key)).insert(key, addr);
    }

    /// Takes a catalog out, if it is still this one.
    pub fn leave_catalog(&self, key: &(UserId, Table), addr: &Addr<Catalog>) {
        let mut shard = write(shard(&self.catalogs, key));
        if shard.get(key) == Some(addr) {
            shard.remove(key);
        }
    }

    /// The catalogs that run.
    #[must_use]
    pub fn catalogs(&self) -> Vec<((UserId, Table), Addr<Catalog>)> {
        let of = |s: &RwLock<HashMap<_, Addr<Catalog>>>| {
            read(s)
                .iter()
                .map(|(k, a): (&(UserId, Table), _)| (k.clone(), a.clone()))
                .collect::<Vec<_>>()
        };
        self.catalogs.iter().flat_map(of).collect()
    }

    /// The entry of a user's table; made where there is none.
    #[must_use]
    pub fn table(&self, user: &UserId, table: Table) -> Arc<TableEntry> {
        let key = (user.clone(), table);
        let shard = shard(&self.tables, &key);
        if let Some(entry) = read(shard).get(&key) {
            return Arc::clone(entry);
        }
        let fresh = || Arc::new(TableEntry { generation: AtomicU64::new(self.fresh()) });
        Arc::clone(write(shard).entry(key).or_insert_with(fresh))
    }

    /// What a user has; made where nothing is known of him.
    #[must_use]
    pub fn usage(&self, user: &UserId, quotas: Quotas) -> Arc<Usage> {
        let shard = shard(&self.usages, user);
        if let Some(usage) = read(shard).get(user) {
            return Arc::clone(usage);
        }
        let mut shard = write(shard);
        Arc::clone(shard.entry(user.clone()).or_insert_with(|| Arc::new(Usage::new(quotas))))
    }

    /// Says that records of a table changed.
    pub fn changed(&self, entry: &TableEntry) {
        entry.generation.store(self.fresh(), Ordering::Release);
    }

    fn fresh(&self) -> u64 {
        self.next_generation.fetch_add(1, Ordering::AcqRel)
    }

    /// Forgets entries of tables that nobody holds, where there are more than `keep`. A later
    /// entry of the same table begins with a generation that was never used.
    pub fn forget_idle_tables(&self, keep: usize) {
        for shard in &self.tables {
            let mut shard = write(shard);
            if shard.len() > keep / SHARDS {
                shard.retain(|_, entry| Arc::strong_count(entry) > 1);
            }
        }
        for shard in &self.usages {
            let mut shard = write(shard);
            if shard.len() > keep / SHARDS {
                shard.retain(|_, usage| Arc::strong_count(usage) > 1);
            }
        }
    }
}

/// The shard of a key: by the end of the user's id, which tells most users apart and is quicker to
/// look at than a hash. Where many share one, they share its lock and nothing else.
fn shard<'a, K: Keyed, V>(shards: &'a Shards<K, V>, key: &K) -> &'a RwLock<HashMap<K, V>> {
    let mix = |sum: usize, byte: &u8| sum.wrapping_mul(31).wrapping_add(usize::from(*byte));
    let index = key.user().as_str().as_bytes().iter().rev().take(8).fold(0, mix) % SHARDS;
    #[allow(clippy::indexing_slicing, reason = "there are SHARDS shards")]
    &shards[index]
}

fn shards<K, V>() -> Shards<K, V> {
    (0..SHARDS).map(|_| RwLock::default()).collect()
}

// A panic while one of these locks was held leaves a whole map behind: each change is one call.
fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
