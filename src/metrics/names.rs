//! Every metric of the server: its name, what it is, and which labels it bears.
//!
//! Names follow <https://prometheus.io/docs/practices/naming/>: base units (seconds, bytes), the
//! unit last, `_total` on counters. A name is a promise to dashboards: it is never given to
//! something else.

/// What all names begin with.
pub const PREFIX: &str = "audience_store_";

/// What a metric is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Grows from the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// A metric.
#[derive(Debug)]
pub struct Name {
    /// Its name without [`PREFIX`].
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says, without a full stop.
    pub help: &'static str,
}

macro_rules! names {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $id: Name = Name {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*
        /// All of them, in the order in which they are documented.
        pub static ALL: &[&Name] = &[$(&$id),*];
    };
}

names! {
    BUILD_INFO: Gauge "build_info" ["version"] "The program's version; always 1";
    READY: Gauge "ready" [] "Whether requests are taken";
    SYNC_MODE: Gauge "sync_mode" ["mode"] "How the log syncs; always 1";

    HTTP_REQUESTS: Counter "http_requests_total" ["endpoint", "method", "status"]
        "Requests answered, by route template, method and class of the status; HEAD counts as GET";
    HTTP_SECONDS: Histogram "http_request_duration_seconds" ["endpoint", "method", "status"]
        "Time from a request's head to its answer, by route template, method and class of the status";
    HTTP_ERRORS: Counter "http_errors_total" ["endpoint", "method", "code"]
        "Error answers, by route template, method and the code in the body";
    HTTP_IN_FLIGHT: Gauge "http_requests_in_flight" [] "Requests under way";
    HTTP_ABORTED: Counter "http_requests_aborted_total" []
        "Requests whose client went away before the answer";
    CONNECTIONS_OPEN: Gauge "connections_open" [] "Connections that are open";
    TLS_UNTIL: Gauge "tls_certificate_expiry_timestamp_seconds" []
        "Unix time at which the certificate in use expires; absent without TLS";
    REFUSED: Counter "refused_total" ["reason"] "What limits refused, by reason";
    DENIED: Counter "denied_requests_total" [] "Requests refused with 401 or 403";
    AUDIT_NOT_LISTED: Counter "audit_not_listed_total" []
        "Refused requests that have no line of their own in the audit trail";
    AUDIT_FAILED: Counter "audit_failed_lines_total" []
        "Lines of the audit trail that could not be written";

    RECORDS_WRITTEN: Counter "records_written_total" ["table", "change"]
        "Changes of records that were answered as saved, by table: created, updated, deleted, erased (with their user)";

    LOG_RECORDS: Counter "log_records_total" [] "Records written to the log";
    LOG_BATCHES: Counter "log_batches_total" [] "Batches written to the log";
    LOG_WRITTEN_BYTES: Counter "log_written_bytes_total" [] "Bytes written to the log";
    LOG_BATCH_RECORDS: Histogram "log_batch_records" [] "Records that one batch of the log holds";
    LOG_FSYNCS: Counter "log_fsyncs_total" [] "Times the log was synced";
    LOG_FSYNC_SECONDS: Histogram "log_fsync_duration_seconds" [] "Time one fsync of the log takes";
    LOG_LAG_RECORDS: Gauge "log_durability_lag_records" []
        "Records appended that would not survive a power loss yet";
    LOG_LAG_SECONDS: Gauge "log_durability_lag_seconds" []
        "Age of the oldest byte written to the log and not synced; 0 where there is none";
    LOG_PENDING_BYTES: Gauge "log_pending_bytes" [] "Bytes that wait for the log's writer";
    LOG_SEGMENTS: Gauge "log_segments" [] "Segments of the log";
    LOG_BYTES: Gauge "log_bytes" [] "Bytes of the log";
    LOG_MAX_BYTES: Gauge "log_max_bytes" [] "Bytes the log may have, beyond which writes are refused";
    LOG_UNPUBLISHED_RECORDS: Gauge "log_unpublished_records" []
        "Records that no Parquet file holds yet";
    LOG_UNPUBLISHED_BYTES: Gauge "log_unpublished_bytes" []
        "Bytes from the oldest record that no Parquet file holds yet to the end of the log";
    LOG_UNPUBLISHED_PARTITIONS: Gauge "log_unpublished_partitions" []
        "Partitions with records that no Parquet file holds yet";
    LOG_STORAGE_FULL: Counter "log_storage_full_total" []
        "Times there was no space for a segment of the log";
    LOG_FAILED: Gauge "log_failed" []
        "Whether a write or fsync of the log failed: writes are refused until a restart";

    CHECKPOINTS: Counter "checkpoints_total" ["outcome"] "Checkpoints, by outcome: written, failed";
    CHECKPOINT_SECONDS: Histogram "checkpoint_duration_seconds" []
        "Time one checkpoint takes, from the sync of the log to the new file";
    CHECKPOINT_IN: Counter "checkpoint_input_bytes_total" []
        "Bytes of changes that checkpoints took in, as they were in memory";
    CHECKPOINT_OUT: Counter "checkpoint_output_bytes_total" [] "Bytes of files that checkpoints wrote";
    CHECKPOINT_COPIED: Counter "checkpoint_copied_bytes_total" []
        "Of the bytes of files that checkpoints wrote, those of row groups copied as they were";
    CHECKPOINT_GROUPS: Counter "checkpoint_row_groups_total" ["made"]
        "Row groups of files that checkpoints wrote: encoded, copied";
    CHECKPOINT_LAG: Gauge "checkpoint_lag_seconds" []
        "Age of the oldest change in a running partition that its file does not hold; 0 for none";
    CHECKPOINTS_RUNNING: Gauge "checkpoints_running" [] "Checkpoints under way";

    PARTITIONS_RESIDENT: Gauge "partitions_resident" [] "Partitions that run";
    PARTITIONS_MAX: Gauge "partitions_resident_max" [] "Partitions that may run";
    PARTITION_BYTES: Gauge "partition_memory_bytes" [] "Bytes of records that running partitions hold";
    PARTITION_MAX_BYTES: Gauge "partition_memory_max_bytes" []
        "Bytes of records that running partitions may hold";
    PARTITION_UNSAVED: Gauge "partition_unsaved_bytes" []
        "Bytes of changes in running partitions that no file holds";
    PARTITION_MAILBOX: Gauge "partition_mailbox_messages" [] "Requests that wait in mailboxes of partitions";
    PARTITION_MAILBOX_LARGEST: Gauge "partition_mailbox_messages_largest" []
        "Requests that wait in the fullest mailbox of a partition";
    PARTITION_MAILBOX_MAX: Gauge "partition_mailbox_messages_max" []
        "Requests that one mailbox of a partition holds, beyond which they are refused";
    PARTITIONS_SPAWNED: Counter "partitions_spawned_total" [] "Partitions started";
    PARTITIONS_RESTARTED: Counter "partitions_restarted_total" [] "Partitions started again after a failure";
    PARTITION_EXITS: Counter "partition_exits_total" ["reason"]
        "Partitions that ended: idle (passivated), closed (erased or shut down), failed, panicked";
    MESSAGES: Counter "messages_total" ["to"]
        "Messages that requests put into mailboxes: of partitions, catalogs, the listing cache (cache), keyed requests (idempotency), the supervisor";
    UNREADABLE_FILES: Gauge "unreadable_files" [] "Files that cannot be read";

    CACHE_HITS: Counter "listing_cache_hits_total" [] "Listings served from the cache";
    CACHE_MISSES: Counter "listing_cache_misses_total" [] "Listings made afresh";
    CACHE_EVICTIONS: Counter "listing_cache_evictions_total" [] "Listings let go to make room";
    CACHE_BYTES: Gauge "listing_cache_bytes" [] "Bytes the listing cache holds";
    CACHE_MAX_BYTES: Gauge "listing_cache_max_bytes" [] "Bytes the listing cache may hold";
    CACHE_ENTRIES: Gauge "listing_cache_entries" [] "Listings the cache holds";

    RECOVERY_SECONDS: Gauge "recovery_duration_seconds" [] "Time it took to open the log at the start";
    RECOVERY_RECORDS: Gauge "recovery_records" [] "Records of the log read at the start";
    RECOVERY_BYTES: Gauge "recovery_bytes" [] "Bytes of the log read at the start";
    RECOVERY_PARTITIONS: Gauge "recovery_partitions" []
        "Partitions with records that no file held at the start";
    RECOVERY_TORN: Gauge "recovery_torn_bytes" []
        "Bytes of records never acknowledged that a crash had left and the start cut off";

    STORAGE_OPERATIONS: Counter "storage_operations_total" ["operation"] "Calls of the storage, by operation";
    STORAGE_ERRORS: Counter "storage_errors_total" ["operation", "kind"]
        "Calls of the storage that failed, by operation and kind: truncated, conflict, full, io";
    STORAGE_SECONDS: Histogram "storage_operation_duration_seconds" ["operation"]
        "Time one call of the storage takes, by operation";
    STORAGE_READ: Counter "storage_read_bytes_total" [] "Bytes read from the storage";
    STORAGE_WRITTEN: Counter "storage_written_bytes_total" [] "Bytes written to the storage";
    CREDENTIALS_REWRAPPED: Counter "credentials_rewrapped_total" []
        "Records whose credentials were put under another key";
    SCRUB_FILES: Counter "scrub_files_total" [] "Files that the scrub read whole";
    SCRUB_BYTES: Counter "scrub_read_bytes_total" [] "Bytes that the scrub read";
    SCRUB_PASSES: Counter "scrub_passes_total" [] "Passes of the scrub over all files";
    SCRUB_DAMAGED: Counter "scrub_damaged_total" [] "Times the scrub found a file damaged";

    USAGE_USERS: Gauge "usage_users" [] "Users that have files, at the last survey";
    USAGE_BYTES: Gauge "usage_bytes" ["table"] "Bytes of Parquet files, by table, at the last survey";
    USAGE_FILES: Gauge "usage_files" ["table"] "Parquet files, by table, at the last survey";
    USAGE_PARTITIONS: Gauge "usage_partitions" ["table"] "Partitions that have files, by table, at the last survey";
    USAGE_TABLE_USERS: Gauge "usage_table_users" ["table"] "Users that have files, by table, at the last survey";
    USAGE_PER_USER: Histogram "usage_user_bytes" []
        "Bytes of Parquet files that a user has, over all users, at the last survey; counts may fall";
    USAGE_FILE_BYTES: Histogram "usage_file_bytes" []
        "Bytes of a Parquet file, over all files, at the last survey; counts may fall";
    USAGE_PER_PARTITION: Histogram "usage_partition_files" []
        "Parquet files of a partition, over all partitions, at the last survey; counts may fall";
    USAGE_TIMESTAMP: Gauge "usage_survey_timestamp_seconds" []
        "When the last survey of files ended, in seconds since 1970; 0 before the first";
    USAGE_SECONDS: Gauge "usage_survey_duration_seconds" [] "Time the last survey of files took";

    ACTIVE_USERS: Gauge "active_users" ["window"]
        "Users of whom a request was let in: today (UTC), in the last 7 and the last 30 days, today included";
    PREVIOUS_WEEK_USERS: Gauge "previous_week_users" []
        "Users who were active in the 7 days before the last 7 days";
    RETURNED_USERS: Gauge "returned_users" []
        "Of the users who were active in the 7 days before the last 7 days, those active in the last 7";
    ACTIVITY_SAMPLING: Gauge "activity_sampling_ratio" []
        "Share of users that activity is kept of; 1 means that the numbers of active users are exact";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        let names: BTreeSet<_> = ALL.iter().map(|n| n.name).collect();
        assert_eq!(names.len(), ALL.len());
        for name in ALL {
            let text = name.name;
            assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{text}");
            assert_eq!(text.ends_with("_total"), name.kind == Kind::Counter, "{text}");
            assert!(!name.help.ends_with('.') && !name.help.is_empty(), "{text}");
            for wrong in ["millis", "micros", "minutes", "kib", "percent"] {
                assert!(!text.contains(wrong), "{text}: base units");
            }
        }
    }

    #[test]
    fn no_label_can_hold_a_user_or_a_record() {
        let known = [
            "change",
            "code",
            "endpoint",
            "kind",
            "made",
            "method",
            "mode",
            "operation",
            "outcome",
            "reason",
            "status",
            "table",
            "to",
            "version",
            "window",
        ];
        for name in ALL {
            assert!(name.labels.iter().all(|l| known.contains(l)), "{}", name.name);
        }
    }
}
