//! What is on the disk for certain, as the test itself reads it: Parquet files, and over them the
//! log's records, of what a loss of power would leave at the least. Everything that was acknowledged
//! must be in it at every moment, not only where a run happens to stop.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use audience_store::domain::{PartitionKey, Table, UserId};
use audience_store::env::Env;
use audience_store::log::payload::{self, Op};
use audience_store::log::{Finding, Lsn, Subject, inspect};
use audience_store::storage::layout;

use crate::client::user;
use crate::disk::Disk;
use crate::model::{Model, Seen};
use crate::run::{DATA, of_a_table, read_file};

/// A partition.
#[derive(Default)]
struct Partition {
    /// Through which LSN its file has everything.
    applied: u64,
    rows: BTreeMap<String, Seen>,
}

/// All partitions, by the paths of their files.
#[derive(Default)]
struct Durable {
    partitions: BTreeMap<String, Partition>,
    /// Why the log ends where it does, where something else than a record follows.
    end: Option<String>,
}

fn folder(user: &UserId, table: Table) -> String {
    format!("{DATA}/{}/", layout::user_folder(user, table).as_str())
}

impl Durable {
    fn read(disk: &Disk) -> Result<Self, String> {
        let mut durable = Self::default();
        let (log, tables): (Vec<_>, Vec<_>) =
            disk.surely().into_iter().partition(|(path, _)| !of_a_table(path));
        for (path, bytes) in tables {
            let (view, rows) = read_file(&path, bytes)?;
            let applied = view.footer().map_or(0, |footer| footer.applied_lsn);
            let rows = rows.iter().map(|row| (row.id.as_str().to_owned(), Seen::of(row))).collect();
            durable.partitions.insert(path, Partition { applied, rows });
        }
        let env = Env { fs: Arc::new(Disk::holding(log)), ..Env::system() };
        let mut wrong = None;
        let mut visit = |finding: &Finding<'_>| {
            if let Err(error) = durable.take(finding) {
                wrong.get_or_insert(error);
            }
        };
        inspect(&env, Path::new(&format!("{DATA}/log")), &mut visit).map_err(|e| e.to_string())?;
        wrong.map_or(Ok(durable), Err)
    }

    fn take(&mut self, finding: &Finding<'_>) -> Result<(), String> {
        match finding {
            Finding::Damage { file, offset, what, .. } => {
                self.end.get_or_insert(format!("{file} at {offset}: {what}"));
            }
            // What comes after the end is not read by anybody.
            _ if self.end.is_some() => {}
            Finding::Segment { .. } => {}
            Finding::Record { lsn, subject: Subject::Erased(user), .. } => self.erase(user, *lsn),
            Finding::Record { lsn, subject: Subject::Partitions(keys), payload, .. } => {
                let ops = payload::decode(keys, payload).map_err(|e| format!("LSN {lsn}: {e}"))?;
                keys.iter().zip(ops).for_each(|(key, op)| self.apply(key, *lsn, op));
            }
        }
        Ok(())
    }

    fn erase(&mut self, user: &UserId, lsn: Lsn) {
        for table in Table::ALL {
            let folder = folder(user, table);
            let theirs = self.partitions.range_mut(folder.clone()..);
            for (_, partition) in theirs.take_while(|(path, _)| path.starts_with(&folder)) {
                if partition.applied < lsn.get() {
                    partition.rows.clear();
                }
            }
        }
    }

    fn apply(&mut self, key: &PartitionKey, lsn: Lsn, op: Op) {
        let path = format!("{DATA}/{}", layout::partition_file(key).as_str());
        let partition = self.partitions.entry(path).or_default();
        if lsn.get() <= partition.applied {
            return;
        }
        match op {
            Op::Put(row) => drop(partition.rows.insert(row.id.as_str().to_owned(), Seen::of(&row))),
            Op::Delete(id) => drop(partition.rows.remove(id.as_str())),
        }
    }

    fn rows(&self, user: &UserId, table: Table) -> Vec<(String, Seen)> {
        let folder = folder(user, table);
        let theirs = self.partitions.range(folder.clone()..);
        let theirs = theirs.take_while(|(path, _)| path.starts_with(&folder));
        theirs
            .flat_map(|(_, partition)| &partition.rows)
            .map(|(id, seen)| (id.clone(), seen.clone()))
            .collect()
    }
}

/// Whether the disk holds what the model does for certain, now.
///
/// # Errors
/// What is missing, or should not be there.
pub fn check(disk: &Disk, model: &Model, users: usize) -> Result<(), String> {
    let says = |error: String| format!("on the disk for certain: {error}");
    let durable = Durable::read(disk).map_err(says)?;
    for number in 0..users {
        for (index, table) in Table::PUBLIC.into_iter().enumerate() {
            let rows = durable.rows(&user(number), table);
            model.check_list(number, index, model.stamp(), &rows).map_err(|e| {
                let end = durable.end.as_ref().map(|end| format!("; the log ends: {end}"));
                says(format!("{e}{}", end.unwrap_or_default()))
            })?;
        }
    }
    Ok(())
}
