//! What other partitions log on this one's behalf: answers that are remembered for an
//! `Idempotency-Key` stand in the log record of the change they answer.

use std::future::Future;
use std::sync::Arc;

use super::super::file::blocking;
use super::super::load::{LoadError, read_changes};
use super::Ready;
use crate::domain::Row;
use crate::log::payload::Op;
use crate::log::{Lsn, ReadPoint};

impl Ready {
    /// Takes a row that another partition logged under `lsn`.
    pub(super) fn learn(&mut self, row: Arc<Row>, lsn: Lsn) {
        // A checkpoint or a load may have read it from the log already.
        if self.file_lsn() < lsn && self.learned.insert(lsn) {
            self.rows.apply(&row.id.clone(), Some(row), lsn.get());
            self.foreign_ids += 1;
            self.last_lsn = self.last_lsn.max(lsn);
        }
    }

    /// Reads from the log what others logged for this partition and did not tell yet.
    pub fn catch_up(&self) -> impl Future<Output = Result<Vec<(Lsn, Op)>, LoadError>> + use<> {
        let (log, key, learned) = (self.shared.log.clone(), self.key.clone(), self.learned.clone());
        let (epoch, env) = (self.epoch, self.shared.env.clone());
        async move {
            let mut missing = log.unpublished(&key);
            missing.retain(|at| !learned.contains(&at.lsn()));
            if let Some(last) = missing.last() {
                let point = ReadPoint { epoch, lsn: last.lsn() };
                log.visible_through(point).await.map_err(|e| LoadError::Io(e.to_string()))?;
            }
            blocking(&env, move || read_changes(&log, &key, &missing)).await
        }
    }

    /// Takes what [`Ready::catch_up`] read.
    pub fn learn_all(&mut self, changes: Vec<(Lsn, Op)>) {
        for (lsn, op) in changes {
            match op {
                Op::Put(row) => self.learn(Arc::new(row), lsn),
                Op::Delete(id) => self.rows.apply(&id, None, lsn.get()),
            }
        }
    }
}
