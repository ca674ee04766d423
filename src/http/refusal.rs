//! What was refused because of a limit, counted by reason: the metrics hook of every limit.
//!
//! An answer carries its reason as an extension ([`crate::http::error`]); [`super::edge`] counts
//! it. What is refused below HTTP is counted where it happens. The set of reasons is closed, so
//! the labels of the metric are bounded.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::limits::Limit;

/// Why something was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Refusal {
    /// The body is larger than `--max-body`.
    Body,
    /// The bodies being received are larger than `--max-bodies` together.
    Bodies,
    /// A field nests deeper than `--max-json-depth`.
    JsonDepth,
    /// The body holds more values than `--max-json-nodes`.
    JsonNodes,
    /// A field is longer than `--max-name`.
    Name,
    /// A field is longer than `--max-text`.
    Text,
    /// A list is longer than `--max-list`.
    List,
    /// Unknown fields or metadata are larger than `--max-extra`.
    Extra,
    /// The record would not fit the log.
    Record,
    /// The user asks more often than `--rate-limit`.
    Rate,
    /// The user fills the audit trail faster than `--audited-rate`.
    Audited,
    /// The user has as many audiences as `--quota-audiences`.
    QuotaAudiences,
    /// The user stores as much as `--quota-bytes`.
    QuotaBytes,
    /// A page of another site asks for a change.
    CrossSite,
    /// More connections than `--max-connections`.
    Connections,
    /// More requests at once over one connection than it may carry.
    Streams,
    /// More requests that change records at once than `--max-writes`.
    Writes,
    /// A TLS handshake failed or took longer than `--header-timeout`.
    Handshake,
    /// The head of a request took longer than `--header-timeout`.
    SlowHead,
    /// The body of a request took longer than `--body-timeout`.
    SlowBody,
    /// The client took its answer slower than `--write-timeout` allows.
    SlowReader,
    /// What came is not HTTP.
    Malformed,
    /// The head of a request is larger than the server takes.
    LargeHead,
}

impl Refusal {
    /// Every reason and its label, in the order of the enum.
    pub const ALL: [(Self, &'static str); 23] = [
        (Self::Body, "body"),
        (Self::Bodies, "bodies"),
        (Self::JsonDepth, "json_depth"),
        (Self::JsonNodes, "json_nodes"),
        (Self::Name, "name"),
        (Self::Text, "text"),
        (Self::List, "list"),
        (Self::Extra, "extra"),
        (Self::Record, "record"),
        (Self::Rate, "rate"),
        (Self::Audited, "audited"),
        (Self::QuotaAudiences, "quota_audiences"),
        (Self::QuotaBytes, "quota_bytes"),
        (Self::CrossSite, "cross_site"),
        (Self::Connections, "connections"),
        (Self::Streams, "streams"),
        (Self::Writes, "writes"),
        (Self::Handshake, "tls_handshake"),
        (Self::SlowHead, "slow_head"),
        (Self::SlowBody, "slow_body"),
        (Self::SlowReader, "slow_reader"),
        (Self::Malformed, "malformed"),
        (Self::LargeHead, "large_head"),
    ];
}

impl From<Limit> for Refusal {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::Depth => Self::JsonDepth,
            Limit::Nodes => Self::JsonNodes,
            Limit::Name => Self::Name,
            Limit::Text => Self::Text,
            Limit::List => Self::List,
            Limit::Extra => Self::Extra,
            Limit::Record => Self::Record,
        }
    }
}

/// How often each reason came up since the start.
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; Refusal::ALL.len()]);

impl Refusals {
    /// Counts one.
    pub fn count(&self, refusal: Refusal) {
        if let Some(count) = self.0.get(refusal as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Labels and counts.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        Refusal::ALL.iter().map(|(_, label)| *label).zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_has_a_place_and_a_label_of_its_own() {
        let refusals = Refusals::default();
        for (index, (refusal, label)) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, index, "{label}");
            for _ in 0..=index {
                refusals.count(refusal);
            }
        }
        let counted: Vec<u64> = refusals.all().map(|(_, count)| count).collect();
        assert!(counted.iter().zip(1..).all(|(count, wanted)| *count == wanted), "{counted:?}");
        let labels: BTreeSet<_> = refusals.all().map(|(label, _)| label).collect();
        assert_eq!(labels.len(), Refusal::ALL.len());
    }
}
