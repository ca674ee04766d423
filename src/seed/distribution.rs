//! One distribution of one of the user's audiences to one of the user's platforms, at the stage
//! that its age makes likely.

use serde::Serialize;

use super::audience::{Audience, slug};
use super::catalog::FAILURES;
use super::generator::{Author, thousandths};
use super::platform::Platform;
use super::prng::Prng;
use crate::domain::{Micros, RecordId, Table};

/// A distribution; its fields in the order in which they are sent.
#[allow(clippy::struct_field_names, reason = "the names are what clients send")]
#[derive(Serialize)]
pub(super) struct Distribution {
    user_id: String,
    distribution_id: String,
    audience_id: String,
    platform_id: String,
    audience_name: String,
    platform_name: String,
    platform_type: &'static str,
    created_at: String,
    scheduled_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    executed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<String>,
    status: &'static str,
    distribution_type: &'static str,
    segments_distributed: Vec<u64>,
    total_records: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    matched_records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    match_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    match_results: Option<MatchResults>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_details: Option<ErrorDetails>,
    metadata: Metadata,
}

#[derive(Serialize)]
struct MatchResults {
    total_records: u64,
    matched_records: u64,
    match_rate: f64,
    platform_audience_id: String,
}

#[derive(Serialize)]
struct ErrorDetails {
    code: &'static str,
    attempts: u64,
}

#[derive(Serialize)]
struct Metadata {
    campaign_name: String,
    approval_status: &'static str,
}

const MINUTE: u64 = 60_000_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

impl Distribution {
    /// The user's distribution number `index`, of one of `audiences` to one of `platforms`
    /// records; both counts are at least 1.
    pub(super) fn of(author: &Author<'_>, index: u64, audiences: u64, platforms: u64) -> Self {
        let mut prng = author.stream(Table::Distributions, index);
        let audience = sent_audience(author, &mut prng, audiences);
        let platform = Platform::of(author, prng.below(platforms));
        let at = author.moment_after(&mut prng, audience.at.max(platform.at));
        let scheduled = quarter_hour_after(at, prng.below(7 * 24 * 4));
        let status = status(&mut prng, scheduled, author.now());
        let executed = started(status).then(|| later(scheduled, prng.between(1, 9 * MINUTE)));
        let completed = executed.filter(|_| status == "completed");
        let completed = completed.map(|at| later(at, prng.between(5 * MINUTE, 50 * MINUTE)));

        let count = audience.segments.len();
        let wanted = count.saturating_sub(usize::from(prng.chance(30))).max(1);
        let sent = prng.some(&(0..count).collect::<Vec<_>>(), wanted);
        let sent: Vec<_> = sent.into_iter().filter_map(|i| audience.segments.get(i)).collect();
        let total = sent.iter().map(|segment| segment.size).sum();
        let (platform_type, _, least, most) = platform.kind;
        let rate = prng.between(least, most);
        let results = (status == "completed").then(|| MatchResults {
            total_records: total,
            matched_records: total * rate / 1_000,
            match_rate: thousandths(rate),
            platform_audience_id: format!(
                "{}-{}",
                slug(platform_type),
                prng.between(10_000, 99_999)
            ),
        });
        let failure = (status == "failed").then(|| prng.pick(FAILURES));
        Self {
            user_id: author.user.to_owned(),
            distribution_id: RecordId::made(Table::Distributions, at, prng.ten_bytes())
                .as_str()
                .to_owned(),
            metadata: Metadata {
                campaign_name: audience.name.split(',').next().unwrap_or_default().to_owned(),
                approval_status: if status == "scheduled" { "pending" } else { "approved" },
            },
            audience_id: audience.audience_id,
            platform_id: platform.platform_id,
            audience_name: audience.name,
            platform_name: platform.name,
            platform_type,
            created_at: at.to_string(),
            scheduled_at: scheduled.to_string(),
            executed_at: executed.map(|at| at.to_string()),
            completed_at: completed.map(|at| at.to_string()),
            status,
            distribution_type: prng.weighted(&[
                ("initial", 60),
                ("refresh", 30),
                ("incremental", 10),
            ]),
            segments_distributed: sent.iter().map(|segment| segment.segment_id).collect(),
            total_records: total,
            matched_records: results.as_ref().map(|results| results.matched_records),
            match_rate: results.as_ref().map(|results| results.match_rate),
            match_results: results,
            error_message: failure.map(|(_, message)| message),
            error_details: failure
                .map(|(code, _)| ErrorDetails { code, attempts: prng.between(1, 3) }),
        }
    }
}

/// Nobody sends a draft, unless there is hardly anything else.
fn sent_audience(author: &Author<'_>, prng: &mut Prng, audiences: u64) -> Audience {
    let mut audience = Audience::of(author, prng.below(audiences));
    for _ in 0..4 {
        if audience.status != "draft" {
            break;
        }
        audience = Audience::of(author, prng.below(audiences));
    }
    audience
}

fn status(prng: &mut Prng, scheduled: Micros, now: Micros) -> &'static str {
    match now.get().checked_sub(scheduled.get()).and_then(|age| u64::try_from(age).ok()) {
        None => prng.weighted(&[("scheduled", 95), ("cancelled", 5)]),
        Some(age) if age < 2 * HOUR => {
            prng.weighted(&[("pending", 30), ("processing", 30), ("in_progress", 40)])
        }
        Some(age) if age < DAY => {
            prng.weighted(&[("in_progress", 10), ("completed", 80), ("failed", 10)])
        }
        Some(_) => prng.weighted(&[("completed", 90), ("failed", 7), ("cancelled", 3)]),
    }
}

fn started(status: &str) -> bool {
    matches!(status, "processing" | "in_progress" | "completed" | "failed")
}

/// People plan by the clock: full quarters of an hour.
fn quarter_hour_after(at: Micros, quarters: u64) -> Micros {
    let quarter = (15 * MINUTE).cast_signed();
    let next = at.get() - at.get().rem_euclid(quarter) + quarter;
    later(Micros::new(next), quarters * 15 * MINUTE)
}

fn later(at: Micros, micros: u64) -> Micros {
    // Whole milliseconds, as clients write them.
    Micros::new(at.get().saturating_add_unsigned(micros / 1_000 * 1_000))
}
