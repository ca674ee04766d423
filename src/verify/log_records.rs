//! The log's part: every record, its payload, the ids it names.

use std::collections::HashMap;
use std::path::Path;

use uuid::Uuid;

use super::ids::{Ids, Suspect};
use super::orphans::Orphans;
use super::report::{Code, Finding as Found, Report};
use super::{Keyring, Options, VerifyError};
use crate::domain::{PartitionKey, Row, Table, UserId};
use crate::env::Env;
use crate::log::payload::{self, Op};
use crate::log::{self, Finding, Lsn, Subject};

/// What the log said, for the files to be held against.
#[derive(Default)]
pub(super) struct LogRecords {
    pub(super) log_id: Option<Uuid>,
    pub(super) given: Lsn,
    /// Ids that records of monthly tables put somewhere.
    ids: HashMap<(UserId, Table), Ids>,
    /// Ids that may be in two months.
    pub(super) suspects: Vec<Suspect>,
    /// Credentials whose key is gone.
    pub(super) orphans: Orphans,
    /// Files whose footer was ahead of the log when it was read: path and LSN.
    pub(super) ahead: Vec<(String, u64)>,
}

impl LogRecords {
    pub(super) fn check(
        &mut self,
        env: &Env,
        data: &Path,
        keyring: &mut Keyring,
        options: Options,
        report: &mut Report,
        step: &mut dyn FnMut(),
    ) -> Result<(), VerifyError> {
        let mut visitor = |finding: &Finding<'_>| match finding {
            Finding::Damage { file, offset, expected, what, .. } => report.add(Found {
                code: Code::LogDamaged,
                file: format!("log/{file}"),
                what: what.clone(),
                offset: Some(*offset),
                lsn: Some(expected.get()),
            }),
            Finding::Record {
                file,
                offset,
                lsn,
                subject: Subject::Partitions(keys),
                payload,
                ..
            } => {
                let file = format!("log/{file}");
                match payload::decode(keys, payload) {
                    Ok(ops) => {
                        for (key, op) in keys.iter().zip(&ops) {
                            let at = (&file[..], key, Some(lsn.get()));
                            let (Op::Put(Row { id, .. }) | Op::Delete(id)) = op;
                            self.orphans.replaced(key, id);
                            if let Op::Put(row) = op
                                && let Some(orphan) = keyring.check(report, at, row, options.deep)
                            {
                                self.orphans.found(key, id, orphan);
                            }
                            self.note(key, op);
                        }
                    }
                    Err(error) => report.add(Found {
                        code: Code::RecordMalformed,
                        file,
                        what: error.to_string(),
                        offset: Some(*offset),
                        lsn: Some(lsn.get()),
                    }),
                }
            }
            Finding::Record { subject: Subject::Erased(user), .. } => self.orphans.erased(user),
            Finding::Segment { .. } => {}
        };
        let checked = log::check(env, &data.join("log"), &mut visitor, step)?;
        self.log_id = checked.log_id;
        self.given = checked.given;
        report.log_id = checked.log_id;
        report.first_lsn = checked.oldest.get();
        report.last_lsn = checked.last.get();
        report.segments = checked.segments;
        report.records = checked.records;
        report.bytes += checked.bytes;
        if let Some(torn) = checked.torn {
            report.add(Found {
                code: Code::TornTail,
                file: format!("log/{}", torn.file),
                what: format!(
                    "{} bytes of a record that was never acknowledged; the next start cuts them",
                    torn.bytes
                ),
                offset: Some(torn.offset),
                lsn: Some(torn.lsn.get()),
            });
        }
        Ok(())
    }

    fn note(&mut self, key: &PartitionKey, op: &Op) {
        if let (Some(month), Op::Put(row)) = (key.month(), op) {
            let of = self.ids.entry((key.user().clone(), key.table())).or_default();
            of.note(row.id.clone(), month);
        }
    }

    /// The ids that the log names of a user's table, taken out.
    pub(super) fn take(&mut self, user: &UserId, table: Table) -> Ids {
        self.ids.remove(&(user.clone(), table)).unwrap_or_default()
    }

    /// Those of users without files.
    pub(super) fn take_rest(&mut self) {
        for ((user, table), ids) in std::mem::take(&mut self.ids) {
            self.suspects.extend(ids.suspects(&user, table));
        }
    }
}
