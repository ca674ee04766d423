//! The changes to one partition that logs at hand hold.

use std::collections::BTreeMap;
use std::path::Path;

use super::{RepairError, Sources};
use crate::domain::PartitionKey;
use crate::env::Env;
use crate::log::payload::{self, Op};
use crate::log::{self, Finding, Lsn, Subject};

/// Changes to a partition, by LSN.
#[derive(Default)]
pub(super) struct Records {
    pub(super) ops: BTreeMap<Lsn, Op>,
    /// From this LSN on, none is missing.
    pub(super) from: Lsn,
    /// The last LSN of the store's own log that is given or left out.
    pub(super) last: Lsn,
    /// The store's log.
    pub(super) log_id: Option<uuid::Uuid>,
}

/// Reads them, of the store's log and of the sources'.
pub(super) fn read(
    env: &Env,
    data: &Path,
    sources: &Sources,
    key: &PartitionKey,
) -> Result<Records, RepairError> {
    let mut records = Records::default();
    let mut spans: Vec<(Lsn, Lsn)> = Vec::new();
    let mut erased = Lsn::NONE;
    let own = data.join("log");
    for (number, folder) in std::iter::once(own).chain(sources.log_folders()).enumerate() {
        let mut found = BTreeMap::new();
        // After damage, what is whole counts, but of what was there not all is known.
        let (mut broken, mut from) = (false, None);
        let mut visitor = |finding: &Finding<'_>| {
            let Finding::Record { lsn, subject, payload, .. } = finding else {
                broken |= matches!(finding, Finding::Damage { .. });
                return;
            };
            if std::mem::take(&mut broken) {
                from = Some(*lsn);
            }
            match subject {
                Subject::Partitions(keys) => {
                    let ops = payload::decode(keys, payload).unwrap_or_default();
                    for (_, op) in keys.iter().zip(ops).filter(|(k, _)| *k == key) {
                        found.insert(*lsn, op);
                    }
                }
                Subject::Erased(user) if user == key.user() => erased = erased.max(*lsn),
                Subject::Erased(_) => {}
            }
        };
        let checked = log::check(env, &folder, &mut visitor, &mut || {})?;
        if number == 0 {
            (records.last, records.log_id) = (checked.given, checked.log_id);
        } else if checked.log_id != records.log_id {
            continue;
        }
        records.ops.extend(found);
        let from = if broken { checked.last.next() } else { from.unwrap_or(checked.oldest) };
        spans.push((from, checked.given));
    }
    records.ops.retain(|lsn, _| *lsn > erased);
    // From the end of the store's log backwards, as far as the spans join.
    spans.sort();
    records.from = records.last.next();
    for (from, to) in spans.into_iter().rev() {
        if to.next() >= records.from {
            records.from = records.from.min(from);
        }
    }
    Ok(records)
}
