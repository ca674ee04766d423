//! How much users store: a walk over the names and sizes of all files, user by user, again and
//! again in the background.
//!
//! It opens no file and keeps no list of users: of each it adds up what the three tables hold,
//! counts the sum by size, and goes on; the largest few are kept by name. So its memory does not
//! grow with the sums, and a scrape costs the same for ten users as for a million. It works a
//! tenth of the time and rests the other nine, however fast the disk is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::survey::stored_partitions;
use crate::actors::Shared;
use crate::domain::{Micros, Table, UserId};
use crate::metrics::{Exposition, Histogram, Snapshot, names};
use crate::storage::{StorageError, layout};

/// How many users are named.
pub const TOP: usize = 20;
/// Rest for each stretch of work, as a multiple of it.
const REST: u32 = 9;
/// The longest rest at once.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// Users looked at between rests.
const STRETCH: usize = 16;

/// Files of one table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stored {
    /// Bytes.
    pub bytes: u64,
    /// Files.
    pub files: u64,
    /// Partitions that have one.
    pub partitions: u64,
    /// Users that have one; of several tables together, a user once a table.
    pub users: u64,
}

impl Stored {
    fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.files += other.files;
        self.partitions += other.partitions;
        self.users += other.users;
    }
}

/// One of the users who store most.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TopUser {
    /// Bytes of all tables.
    pub bytes: u64,
    /// Files of all tables.
    pub files: u64,
    /// Who.
    pub user: UserId,
}

/// What a walk found.
#[derive(Clone, Debug)]
pub struct UsageReport {
    /// When it ended.
    pub at: Micros,
    /// How long it took, rests included.
    pub took: Duration,
    /// Users that have files.
    pub users: u64,
    /// By table, in the order of [`Table::PUBLIC`].
    pub tables: [Stored; 3],
    /// Who stores most, the most first; at most [`TOP`].
    pub top: Vec<TopUser>,
    sizes: [Snapshot; 3],
}

/// Distributions, while they are counted.
struct Sizes {
    users: Histogram,
    files: Histogram,
    partitions: Histogram,
}

impl Sizes {
    fn new() -> Self {
        Self {
            users: Histogram::bytes(),
            files: Histogram::bytes(),
            partitions: Histogram::count(),
        }
    }

    fn snapshots(&self) -> [Snapshot; 3] {
        [&self.users, &self.files, &self.partitions].map(Histogram::snapshot)
    }
}

impl UsageReport {
    fn empty() -> Self {
        Self {
            at: Micros::default(),
            took: Duration::ZERO,
            users: 0,
            tables: [Stored::default(); 3],
            top: Vec::new(),
            sizes: Sizes::new().snapshots(),
        }
    }

    /// Of all tables.
    #[must_use]
    pub fn total(&self) -> Stored {
        self.tables.iter().fold(Stored::default(), |mut all, table| {
            all.add(*table);
            all
        })
    }
}

/// What the last walk found, for those who ask.
#[derive(Debug, Default)]
pub struct UsageBook(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    latest: Option<Arc<UsageReport>>,
    /// Users erased since the walk under way began: it may have seen them.
    erased: Vec<UserId>,
}

impl UsageBook {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        // Each change leaves whole pages behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the last walk found; `None` before the first has ended.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<UsageReport>> {
        self.pages().latest.clone()
    }

    fn begin(&self) {
        self.pages().erased.clear();
    }

    fn publish(&self, mut report: UsageReport) {
        let mut pages = self.pages();
        report.top.retain(|top| !pages.erased.contains(&top.user));
        pages.latest = Some(Arc::new(report));
    }

    /// Names a user no more: he was erased.
    pub fn forget(&self, user: &UserId) {
        let mut pages = self.pages();
        if let Some(report) = &mut pages.latest {
            Arc::make_mut(report).top.retain(|top| top.user != *user);
        }
        pages.erased.push(user.clone());
    }

    /// Writes the last walk's numbers.
    pub fn expose(&self, out: &mut Exposition) {
        let report = self.latest().unwrap_or_else(|| Arc::new(UsageReport::empty()));
        out.number(&names::USAGE_USERS, &[], report.users);
        for (table, stored) in Table::PUBLIC.into_iter().zip(&report.tables) {
            let labels = [("table", table.spec().name)];
            out.number(&names::USAGE_BYTES, &labels, stored.bytes);
            out.number(&names::USAGE_FILES, &labels, stored.files);
            out.number(&names::USAGE_PARTITIONS, &labels, stored.partitions);
            out.number(&names::USAGE_TABLE_USERS, &labels, stored.users);
        }
        let families =
            [&names::USAGE_PER_USER, &names::USAGE_FILE_BYTES, &names::USAGE_PER_PARTITION];
        for (name, sizes) in families.into_iter().zip(&report.sizes) {
            out.distribution(name, &[], sizes);
        }
        #[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
        let at = report.at.get() as f64 / 1e6;
        out.value(&names::USAGE_TIMESTAMP, &[], at);
        out.value(&names::USAGE_SECONDS, &[], report.took.as_secs_f64());
    }
}

/// Walks now and then every so often, for as long as the store lives.
pub async fn keep(shared: Arc<Shared>, book: Arc<UsageBook>, every: Duration) {
    loop {
        book.begin();
        match walk(&shared).await {
            Ok(report) => book.publish(report),
            Err(error) => tracing::warn!(%error, "what users store could not be measured"),
        }
        tokio::time::sleep(every).await;
    }
}

/// Walks over everything once.
///
/// # Errors
/// [`StorageError`] where folders cannot be listed.
async fn walk(shared: &Arc<Shared>) -> Result<UsageReport, StorageError> {
    let clock = &shared.env.clock;
    let began = clock.monotonic();
    let (mut report, sizes) = (UsageReport::empty(), Sizes::new());
    let mut top = BinaryHeap::with_capacity(TOP + 1);
    let mut stretch = began;
    for (index, (segment, tables)) in users(shared).await?.into_iter().enumerate() {
        if index % STRETCH == STRETCH - 1 {
            let worked = clock.monotonic().saturating_sub(stretch);
            tokio::time::sleep((worked * REST).min(LONGEST_REST)).await;
            stretch = clock.monotonic();
        }
        let Some(user) = layout::parse_user(&segment) else { continue };
        let mut sum = Stored::default();
        for (place, table) in Table::PUBLIC.into_iter().enumerate() {
            if tables & (1 << place) == 0 {
                continue;
            }
            let stored = of_table(shared, &user, table, &sizes).await?;
            sum.add(stored);
            if let Some(all) = report.tables.get_mut(place) {
                all.add(stored);
            }
        }
        if sum.files == 0 {
            continue;
        }
        report.users += 1;
        sizes.users.observe(sum.bytes);
        top.push(Reverse(TopUser { bytes: sum.bytes, files: sum.files, user }));
        if top.len() > TOP {
            top.pop();
        }
    }
    report.top = top.into_sorted_vec().into_iter().map(|Reverse(user)| user).collect();
    report.sizes = sizes.snapshots();
    report.at = clock.now();
    report.took = clock.monotonic().saturating_sub(began);
    Ok(report)
}

/// The folders of users, by name, each with a bit for every table that has one.
async fn users(shared: &Shared) -> Result<BTreeMap<String, u8>, StorageError> {
    let mut users = BTreeMap::new();
    for (place, table) in Table::PUBLIC.into_iter().enumerate() {
        for segment in shared.storage.folders(&layout::table_folder(table)).await? {
            *users.entry(segment).or_insert(0) |= 1 << place;
        }
    }
    Ok(users)
}

async fn of_table(
    shared: &Shared,
    user: &UserId,
    table: Table,
    sizes: &Sizes,
) -> Result<Stored, StorageError> {
    let mut stored = Stored::default();
    for key in stored_partitions(shared, user, table).await? {
        let objects = shared.storage.list(&layout::partition_folder(&key)).await?;
        let is_parquet = |name: &str| name.to_ascii_lowercase().ends_with(".parquet");
        let mut files = 0;
        for object in objects.iter().filter(|o| is_parquet(&o.name)) {
            files += 1;
            stored.bytes += object.len;
            sizes.files.observe(object.len);
        }
        if files > 0 {
            stored.files += files;
            stored.partitions += 1;
            sizes.partitions.observe(files);
        }
    }
    stored.users = u64::from(stored.files > 0);
    Ok(stored)
}
