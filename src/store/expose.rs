//! The store's numbers, as a scrape sees them.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Store, StoreError, Written};
use crate::domain::Table;
use crate::log::LogState;
use crate::metrics::parts::{Changes, ERROR_KINDS, OPERATIONS};
use crate::metrics::{Exposition, names};

/// What a change did to a record.
#[derive(Clone, Copy)]
pub(super) enum Did {
    /// Made or updated it.
    Saved,
    /// Deleted it.
    Deleted,
}

impl Store {
    /// Counts a change of a record where it was saved.
    pub(super) fn counted_change(
        &self,
        table: Table,
        did: Did,
        result: Result<Written, StoreError>,
    ) -> Result<Written, StoreError> {
        if let (Ok(written), Some(changes)) = (&result, self.changes(table)) {
            let counter = match did {
                Did::Deleted => &changes.deleted,
                Did::Saved if written.created => &changes.created,
                Did::Saved => &changes.updated,
            };
            counter.increment();
        }
        result
    }

    pub(super) fn changes(&self, table: Table) -> Option<&Changes> {
        let records = &self.shared.metrics.records;
        match table {
            Table::Audiences => Some(&records.audiences),
            Table::Platforms => Some(&records.platforms),
            Table::Distributions => Some(&records.distributions),
            Table::Idempotency => None,
        }
    }

    /// Writes everything the store counts.
    pub fn expose(&self, out: &mut Exposition) {
        self.expose_log(out);
        self.expose_partitions(out);
        self.expose_cache(out);
        self.expose_storage(out);
        self.usage.expose(out);
        for table in Table::PUBLIC {
            let Some(changes) = self.changes(table) else { continue };
            for (change, count) in [
                ("created", &changes.created),
                ("updated", &changes.updated),
                ("deleted", &changes.deleted),
                ("erased", &changes.erased),
            ] {
                let labels = [("table", table.spec().name), ("change", change)];
                out.number(&names::RECORDS_WRITTEN, &labels, count.get());
            }
        }
        let messages = &self.shared.metrics.messages;
        for (to, count) in [
            ("partition", &messages.partition),
            ("catalog", &messages.catalog),
            ("cache", &messages.cache),
            ("idempotency", &messages.idempotency),
            ("supervisor", &messages.supervisor),
        ] {
            out.number(&names::MESSAGES, &[("to", to)], count.get());
        }
        out.number(&names::CREDENTIALS_REWRAPPED, &[], self.rewrapped());
        let scrub = self.scrub_counts();
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        out.number(&names::SCRUB_FILES, &[], read(&scrub.files));
        out.number(&names::SCRUB_BYTES, &[], read(&scrub.bytes));
        out.number(&names::SCRUB_PASSES, &[], read(&scrub.passes));
        out.number(&names::SCRUB_DAMAGED, &[], read(&scrub.damaged));
        let unreadable = self.shared.unreadable.list().len() as u64;
        out.number(&names::UNREADABLE_FILES, &[], unreadable);
        let recovery = &self.shared.metrics.recovery;
        #[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
        let seconds = recovery.nanoseconds.get() as f64 / 1e9;
        out.value(&names::RECOVERY_SECONDS, &[], seconds);
        out.number(&names::RECOVERY_RECORDS, &[], recovery.records.get());
        out.number(&names::RECOVERY_BYTES, &[], recovery.bytes.get());
        out.number(&names::RECOVERY_PARTITIONS, &[], recovery.partitions.get());
        out.number(&names::RECOVERY_TORN, &[], recovery.torn_bytes.get());
    }

    fn expose_log(&self, out: &mut Exposition) {
        let (log, measures) = (self.shared.log.status(), self.shared.log.measures());
        out.number(&names::LOG_RECORDS, &[], log.written.records);
        out.number(&names::LOG_BATCHES, &[], log.written.batches);
        out.number(&names::LOG_WRITTEN_BYTES, &[], log.written.bytes);
        out.number(&names::LOG_FSYNCS, &[], log.written.syncs);
        out.number(&names::LOG_STORAGE_FULL, &[], log.written.storage_full);
        out.distribution(&names::LOG_BATCH_RECORDS, &[], &measures.batch.snapshot());
        out.distribution(&names::LOG_FSYNC_SECONDS, &[], &measures.fsync.snapshot());
        let behind = log.last_lsn.get().saturating_sub(log.durable_lsn.get());
        out.number(&names::LOG_LAG_RECORDS, &[], behind);
        out.value(&names::LOG_LAG_SECONDS, &[], log.sync_lag.as_secs_f64());
        out.number(&names::LOG_PENDING_BYTES, &[], log.pending_bytes as u64);
        out.number(&names::LOG_SEGMENTS, &[], log.segments as u64);
        out.number(&names::LOG_BYTES, &[], log.bytes);
        out.number(&names::LOG_MAX_BYTES, &[], log.max_bytes);
        out.number(&names::LOG_UNPUBLISHED_RECORDS, &[], log.unpublished_records);
        out.number(&names::LOG_UNPUBLISHED_BYTES, &[], log.unpublished_bytes);
        out.number(&names::LOG_UNPUBLISHED_PARTITIONS, &[], log.unpublished_partitions as u64);
        let failed = matches!(log.state, LogState::Poisoned(_));
        out.number(&names::LOG_FAILED, &[], u64::from(failed));
    }

    fn expose_partitions(&self, out: &mut Exposition) {
        let (metrics, limits) = (&self.shared.metrics, &self.shared.limits);
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let (mut resident, mut bytes, mut unsaved) = (0, 0, 0);
        let (mut waiting, mut fullest, mut oldest) = (0, 0, u64::MAX);
        self.shared.registry.visit(|slot| {
            let stats = &slot.stats;
            resident += 1;
            bytes += stats.bytes();
            unsaved += read(&stats.unsaved_bytes);
            // A message that is taken before it is counted as sent makes less than nothing.
            let waits = u64::try_from(stats.waiting.load(Ordering::Relaxed)).unwrap_or(0);
            waiting += waits;
            fullest = fullest.max(waits);
            if let since @ 1.. = read(&stats.dirty_since) {
                oldest = oldest.min(since);
            }
        });
        out.number(&names::PARTITIONS_RESIDENT, &[], resident);
        out.number(&names::PARTITIONS_MAX, &[], limits.resident_partitions as u64);
        out.number(&names::PARTITION_BYTES, &[], bytes);
        out.number(&names::PARTITION_MAX_BYTES, &[], limits.resident_bytes);
        out.number(&names::PARTITION_UNSAVED, &[], unsaved);
        out.number(&names::PARTITION_MAILBOX, &[], waiting);
        out.number(&names::PARTITION_MAILBOX_LARGEST, &[], fullest);
        out.number(&names::PARTITION_MAILBOX_MAX, &[], limits.mailbox as u64);
        let partitions = &metrics.partitions;
        out.number(&names::PARTITIONS_SPAWNED, &[], partitions.spawned.get());
        out.number(&names::PARTITIONS_RESTARTED, &[], partitions.restarted.get());
        for (reason, count) in [
            ("idle", &partitions.idle),
            ("closed", &partitions.closed),
            ("failed", &partitions.failed),
            ("panicked", &partitions.panicked),
        ] {
            out.number(&names::PARTITION_EXITS, &[("reason", reason)], count.get());
        }
        let checkpoints = &metrics.checkpoints;
        for (outcome, count) in [("written", &checkpoints.written), ("failed", &checkpoints.failed)]
        {
            out.number(&names::CHECKPOINTS, &[("outcome", outcome)], count.get());
        }
        out.distribution(&names::CHECKPOINT_SECONDS, &[], &checkpoints.duration.snapshot());
        out.number(&names::CHECKPOINT_IN, &[], checkpoints.bytes_in.get());
        out.number(&names::CHECKPOINT_OUT, &[], checkpoints.bytes_out.get());
        out.number(&names::CHECKPOINT_COPIED, &[], checkpoints.bytes_copied.get());
        for (made, count) in
            [("encoded", &checkpoints.groups_encoded), ("copied", &checkpoints.groups_copied)]
        {
            out.number(&names::CHECKPOINT_GROUPS, &[("made", made)], count.get());
        }
        out.number(&names::CHECKPOINTS_RUNNING, &[], checkpoints.running());
        #[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
        let lag = self.shared.millis().saturating_sub(oldest) as f64 / 1e3;
        out.value(&names::CHECKPOINT_LAG, &[], lag);
    }

    fn expose_cache(&self, out: &mut Exposition) {
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let cache = self.cache_counts();
        out.number(&names::CACHE_HITS, &[], read(&cache.hits));
        out.number(&names::CACHE_MISSES, &[], read(&cache.misses));
        out.number(&names::CACHE_EVICTIONS, &[], read(&cache.evictions));
        out.number(&names::CACHE_BYTES, &[], read(&cache.bytes));
        out.number(&names::CACHE_MAX_BYTES, &[], self.shared.limits.cache_bytes as u64);
        out.number(&names::CACHE_ENTRIES, &[], read(&cache.entries));
    }

    fn expose_storage(&self, out: &mut Exposition) {
        let storage = &self.shared.storage_metrics;
        let operations = OPERATIONS.into_iter().zip(&storage.operations).zip(&storage.errors);
        for ((operation, times), errors) in operations {
            let times = times.snapshot();
            out.number(&names::STORAGE_OPERATIONS, &[("operation", operation)], times.total());
            out.distribution(&names::STORAGE_SECONDS, &[("operation", operation)], &times);
            for (kind, count) in ERROR_KINDS.into_iter().zip(errors) {
                let labels = [("operation", operation), ("kind", kind)];
                out.number(&names::STORAGE_ERRORS, &labels, count.get());
            }
        }
        out.number(&names::STORAGE_READ, &[], storage.read.get());
        out.number(&names::STORAGE_WRITTEN, &[], storage.written.get());
    }
}
