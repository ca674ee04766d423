//! Looking again at what a running server may explain.
//!
//! Files lag the log, and are replaced while others are read. An id that two files hold is in one
//! month where the log deletes it from the other. So: both files are read, then the log, and if
//! the files are still the same ones then, log over files is what the store holds, at one LSN.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::ids::Suspect;
use super::log_records::LogRecords;
use super::report::{Code, Finding as Found, Report};
use super::{VerifyError, end_of_log};
use crate::domain::{Micros, Month, PartitionKey, RecordId};
use crate::env::{Env, Stat};
use crate::log::payload::{self, Op};
use crate::log::{self, Finding, Lsn, Subject};
use crate::parquet::{Fetched, FileView, OpenFile, ParquetError, legacy, read_ids};
use crate::storage::layout;
use crate::storage::walk::{Area, is_parquet};

/// How often files that change are looked at again.
const ROUNDS: usize = 5;

/// Decides about ids in two months and footers ahead of the log.
pub(super) fn settle(
    env: &Env,
    data: &Path,
    records: &mut LogRecords,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let mut left = std::mem::take(&mut records.suspects);
    for _ in 0..ROUNDS {
        if left.is_empty() {
            break;
        }
        left = round(env, data, &left, report)?;
    }
    let ahead = std::mem::take(&mut records.ahead);
    if !ahead.is_empty() {
        // Every one of these files was read before this look at the log's end.
        let end = end_of_log(env, data)?.given;
        for (file, lsn) in ahead.into_iter().filter(|(_, lsn)| Lsn::new(*lsn) > end) {
            let what = format!(
                "its footer says LSN {lsn}, and the log ends at {end}: changes that get the LSNs \
                 between would be taken for applied"
            );
            report.add(Found {
                code: Code::LsnBeyondLog,
                file,
                what,
                offset: None,
                lsn: Some(lsn),
            });
        }
    }
    Ok(())
}

/// What a partition's files hold of the suspects.
struct Held {
    applied: Lsn,
    log_id: Option<uuid::Uuid>,
    ids: HashSet<RecordId>,
    files: Vec<(String, Stat)>,
}

/// One look; what moved meanwhile comes back.
fn round(
    env: &Env,
    data: &Path,
    suspects: &[Suspect],
    report: &mut Report,
) -> Result<Vec<Suspect>, VerifyError> {
    let wanted: HashSet<&RecordId> = suspects.iter().map(|s| &s.id).collect();
    let mut held = BTreeMap::new();
    for key in suspects.iter().flat_map(Suspect::keys) {
        held.entry(key).or_insert_with_key(|key| read(env, data, key, &wanted));
    }
    // Of the last record on an id in a partition: its LSN, and whether it puts it there.
    let mut last: HashMap<(PartitionKey, RecordId), (Lsn, bool)> = HashMap::new();
    let mut erased: HashMap<crate::domain::UserId, Lsn> = HashMap::new();
    let mut visitor = |finding: &Finding<'_>| {
        let Finding::Record { lsn, subject, payload, .. } = finding else { return };
        let keys = match subject {
            Subject::Partitions(keys) => keys,
            Subject::Erased(user) => {
                erased.insert(user.clone(), *lsn);
                return;
            }
        };
        for (key, op) in keys.iter().zip(payload::decode(keys, payload).unwrap_or_default()) {
            let (id, puts) = match op {
                Op::Put(row) => (row.id, true),
                Op::Delete(id) => (id, false),
            };
            if wanted.contains(&id) && held.contains_key(key) {
                last.insert((key.clone(), id), (*lsn, puts));
            }
        }
    };
    let checked = log::check(env, &data.join("log"), &mut visitor, &mut || {})?;
    let mut again = Vec::new();
    for suspect in suspects {
        let mut months = Vec::new();
        let mut moved = false;
        for key in suspect.keys() {
            let Some(Some(found)) = held.get(&key) else {
                moved = true;
                continue;
            };
            moved |= list(env, data, &key) != found.files;
            let applied = if found.log_id == checked.log_id { found.applied } else { Lsn::NONE };
            let gone = erased.get(&suspect.user).copied().unwrap_or(Lsn::NONE);
            let op = last.get(&(key.clone(), suspect.id.clone())).filter(|(lsn, _)| *lsn > gone);
            let lives = match op {
                Some((lsn, puts)) if *lsn > applied => *puts,
                _ => found.ids.contains(&suspect.id),
            };
            months.extend(key.month().filter(|_| lives));
        }
        if moved {
            again.push(suspect.clone());
        } else if months.len() > 1 {
            duplicate(suspect, &months, report);
        }
    }
    Ok(again)
}

fn duplicate(suspect: &Suspect, months: &[Month], report: &mut Report) {
    let months: Vec<_> = months.iter().map(Month::to_string).collect();
    let folder = layout::user_folder(&suspect.user, suspect.table);
    let what = format!("{} is in the months {}", suspect.id, months.join(" and "));
    report.note(Code::DuplicateId, folder.as_str(), &what);
}

/// A partition's files, in the archive and among the tables, by their paths below the root.
fn list(env: &Env, data: &Path, key: &PartitionKey) -> Vec<(String, Stat)> {
    let mut files = Vec::new();
    for area in [Area::Archive, Area::Tables] {
        let folder = format!("{}{}", area.prefix(), layout::partition_folder(key).as_str());
        // What cannot be listed holds nothing that could be compared.
        let entries = env.fs.list(&data.join(&folder)).unwrap_or_default();
        for entry in entries.into_iter().filter(|entry| is_parquet(&entry.name)) {
            let path = format!("{folder}/{}", entry.name);
            if let Ok(stat) = env.fs.stat(&data.join(&path)) {
                files.push((path, stat));
            }
        }
    }
    files
}

/// Which of the wanted ids a partition's files hold; `None` where they changed under the reading
/// or cannot be read, which is reported elsewhere.
fn read(env: &Env, data: &Path, key: &PartitionKey, wanted: &HashSet<&RecordId>) -> Option<Held> {
    let files = list(env, data, key);
    let mut held = Held { applied: Lsn::NONE, log_id: None, ids: HashSet::new(), files };
    for (path, _) in held.files.clone() {
        let read = (|| -> Result<(), ParquetError> {
            let source = OpenFile::open(env.fs.as_ref(), &data.join(&path))?;
            let view = FileView::open(&source)?;
            let Some(footer) = view.footer() else {
                let fallback = key.month().map_or(Micros::new(0), Month::start);
                let rows = legacy::decode_legacy(key.table(), source.whole()?, fallback)?;
                let ids = rows.into_iter().map(|row| row.row.id);
                held.ids.extend(ids.filter(|id| wanted.contains(id)));
                return Ok(());
            };
            held.applied = Lsn::new(footer.applied_lsn);
            held.log_id = Some(footer.log_id);
            for group in 0..view.groups().len() {
                let fetched = Fetched::read(&source, view.column_ranges(group, Some(&[])))?;
                let ids = read_ids(&view, group, &fetched)?;
                held.ids.extend(ids.into_iter().filter(|id| wanted.contains(id)));
            }
            Ok(())
        })();
        read.ok()?;
    }
    (list(env, data, key) == held.files).then_some(held)
}
