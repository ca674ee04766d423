//! What `audience-store log` prints.

use serde_json::json;

use crate::log::{Finding, InspectSummary, Subject, TruncateReport};

/// One finding as a line of text or JSON; `None` for a record before LSN `from`.
#[must_use]
pub fn line(finding: &Finding<'_>, from: u64, json: bool) -> Option<String> {
    match finding {
        Finding::Segment { file, bytes, first, previous_last } => Some(if json {
            json!({"segment": file, "bytes": bytes, "first_lsn": first.get(),
                "previous_last_lsn": previous_last.get()})
            .to_string()
        } else {
            format!("segment {file}: {bytes} bytes, from LSN {first}, after LSN {previous_last}")
        }),
        Finding::Record { lsn, .. } if lsn.get() < from => None,
        Finding::Record { file, offset, bytes, lsn, synced, subject, payload } => {
            let (kind, whom) = match subject {
                Subject::Partitions(keys) => {
                    ("changes", keys.iter().map(ToString::to_string).collect::<Vec<_>>())
                }
                Subject::Erased(user) => ("erase user", vec![user.to_string()]),
            };
            Some(if json {
                json!({"file": file, "offset": offset, "bytes": bytes, "lsn": lsn.get(),
                    "synced_lsn": synced.get(), "kind": kind, "subject": whom,
                    "payload_bytes": payload.len()})
                .to_string()
            } else {
                let whom = whom.join(", ").escape_debug().to_string();
                format!("  LSN {lsn} at byte {offset}, {bytes} bytes: {kind} {whom}")
            })
        }
        Finding::Damage { file, offset, bytes, expected, what } => Some(if json {
            json!({"damage": what, "file": file, "offset": offset, "bytes": bytes,
                "expected_lsn": expected.get()})
            .to_string()
        } else {
            format!(
                "  DAMAGE in {file} at byte {offset}, {bytes} bytes, where LSN {expected} should be: {what}"
            )
        }),
    }
}

/// What an inspection counted, as a sentence.
#[must_use]
pub fn summary(summary: &InspectSummary) -> String {
    format!(
        "{} segments, {} records, last LSN {}, {} damaged places",
        summary.segments, summary.records, summary.last_lsn, summary.damages
    )
}

/// What a truncation did, as a sentence.
#[must_use]
pub fn truncated(report: &TruncateReport) -> String {
    format!(
        "kept everything through LSN {}; the next change gets LSN {}; what was cut is in {}",
        report.last_kept,
        report.next,
        report.copies.join(", ")
    )
}
