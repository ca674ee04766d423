//! What is in a store's files now: names, sizes, and rows as footers say. Changes nothing, takes no
//! lock, and may run beside a server.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::path::Path;

use crate::domain::Table;
use crate::env::{Env, FileKind};
use crate::parquet::{FileView, OpenFile};
use crate::storage::walk::{Area, PartitionFolder, Walk, is_parquet};

/// Files of one table in one place.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Bytes.
    pub bytes: u64,
    /// Files.
    pub files: u64,
    /// Rows.
    pub rows: u64,
    /// Users.
    pub users: u64,
}

impl Stored {
    /// Adds another one.
    pub fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.files += other.files;
        self.rows += other.rows;
        self.users += other.users;
    }
}

/// What is in a store.
#[derive(Clone, Default, Debug)]
pub struct Census {
    /// By table, in the order of [`Table::PUBLIC`].
    pub tables: [Stored; 3],
    /// The same of archived months.
    pub archived: [Stored; 3],
    /// Users with files in any table, archived months too.
    pub users: u64,
    /// Bytes of what the Python service wrote, replaced since.
    pub legacy_bytes: u64,
    /// Bytes of remembered answers.
    pub idempotency_bytes: u64,
    /// Bytes of the log's files.
    pub log_bytes: u64,
    /// Files whose rows could not be counted.
    pub unreadable: u64,
    /// Space on the disk: available, in all.
    pub disk: Option<(u64, u64)>,
    /// The users who store most: bytes, files, folder names; the most first.
    pub top: Vec<(u64, u64, String)>,
}

impl Census {
    /// Bytes of the three tables.
    #[must_use]
    pub fn table_bytes(&self) -> u64 {
        self.tables.iter().map(|t| t.bytes).sum()
    }
}

/// Counts. `progress` hears of users done and users in all, a user once a table and place.
///
/// # Errors
/// Whatever the file system says.
pub fn count(
    env: &Env,
    root: &Path,
    top: usize,
    progress: &mut dyn FnMut(u64, u64),
) -> io::Result<Census> {
    let mut census = Census::default();
    let mut ignored = |_: &str| {};
    let mut walk = Walk::new(env.fs.as_ref(), root, &mut ignored);
    let mut folders = Vec::new();
    for area in [Area::Tables, Area::Archive, Area::Legacy] {
        for table in Table::ALL {
            folders.extend(walk.users(area, table)?);
        }
    }
    let total = folders.len() as u64;
    // By the folder's name: what a hashed one stands for is in the files alone.
    let mut users: HashMap<String, (u64, u64)> = HashMap::new();
    for (done, folder) in (1..).zip(folders) {
        let mut stored = Stored::default();
        for partition in walk.partitions(&folder)? {
            let counted = of_partition(env, root, &partition, &mut census.unreadable);
            stored.add(counted);
        }
        progress(done, total);
        if stored.files == 0 {
            continue;
        }
        stored.users = 1;
        let place = Table::PUBLIC.iter().position(|table| *table == folder.table);
        match (folder.area, place) {
            (Area::Legacy, _) => census.legacy_bytes += stored.bytes,
            (_, None) => census.idempotency_bytes += stored.bytes,
            (area, Some(place)) => {
                let tables =
                    if area == Area::Tables { &mut census.tables } else { &mut census.archived };
                if let Some(table) = tables.get_mut(place) {
                    table.add(stored);
                }
                let name = folder.path.rsplit('/').next().unwrap_or_default();
                let user = users.entry(name.to_owned()).or_default();
                user.0 += stored.bytes;
                user.1 += stored.files;
            }
        }
    }
    census.users = users.len() as u64;
    let mut largest = BinaryHeap::with_capacity(top.saturating_add(1).min(1 << 16));
    for (name, (bytes, files)) in users {
        largest.push(Reverse((bytes, files, name)));
        if largest.len() > top {
            largest.pop();
        }
    }
    census.top = largest.into_sorted_vec().into_iter().map(|Reverse(user)| user).collect();
    census.log_bytes = folder_bytes(env, &root.join("log"))?;
    census.disk = env.fs.space(root).ok().map(|space| (space.available, space.total));
    Ok(census)
}

fn of_partition(
    env: &Env,
    root: &Path,
    partition: &PartitionFolder,
    unreadable: &mut u64,
) -> Stored {
    let mut stored = Stored::default();
    for file in &partition.files {
        stored.files += 1;
        stored.bytes += file.stat.len;
        if partition.area == Area::Legacy || !is_parquet(&file.name) {
            continue;
        }
        let path = root.join(&partition.path).join(&file.name);
        let rows = OpenFile::open(env.fs.as_ref(), &path)
            .map_err(Into::into)
            .and_then(|source| FileView::open(&source).map(|view| view.rows()));
        match rows {
            Ok(rows) => stored.rows += rows,
            // A checkpoint replaced it, or it went to the archive: the next report sees it.
            Err(crate::parquet::ParquetError::Io(e)) if e.kind() == io::ErrorKind::NotFound => {}
            Err(_) => *unreadable += 1,
        }
    }
    stored
}

/// Bytes of the files directly in a folder.
fn folder_bytes(env: &Env, folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in env.fs.list(folder)? {
        if entry.kind == FileKind::File {
            // One that went meanwhile has no bytes.
            bytes += env.fs.stat(&folder.join(entry.name)).map_or(0, |stat| stat.len);
        }
    }
    Ok(bytes)
}
