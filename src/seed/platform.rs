//! One platform account. Without credentials: a generated secret would look like a leaked one.

use serde::Serialize;

use super::audience::brand;
use super::catalog::{MARKETS, PLATFORMS, PlatformKind};
use super::generator::{Author, thousandths};
use crate::domain::{Micros, RecordId, Table};

/// A platform; its fields in the order in which they are sent.
#[allow(clippy::struct_field_names, reason = "the names are what clients send")]
#[derive(Serialize)]
pub(super) struct Platform {
    user_id: String,
    pub(super) platform_id: String,
    pub(super) platform_type: &'static str,
    pub(super) name: String,
    status: &'static str,
    created_at: String,
    settings: Settings,
    #[serde(skip)]
    pub(super) at: Micros,
    #[serde(skip)]
    pub(super) kind: PlatformKind,
}

#[derive(Serialize)]
struct Settings {
    default_match_rate: f64,
    auto_refresh: bool,
    refresh_frequency: &'static str,
}

impl Platform {
    /// The user's platform number `index`. The first of each type come before the second ones.
    pub(super) fn of(author: &Author<'_>, index: u64) -> Self {
        let mut prng = author.stream(Table::Platforms, index);
        let types = PLATFORMS.len() as u64;
        let first = author.constant("platform").below(types);
        let kind = item(PLATFORMS, (first + index) % types);
        let at = author.early_moment(&mut prng);
        let (platform_type, label, least, most) = kind;
        let round = index / types;
        let market = item(MARKETS, round % MARKETS.len() as u64);
        let again = match round / MARKETS.len() as u64 {
            0 => String::new(),
            again => format!(" {}", again + 1),
        };
        Self {
            user_id: author.user.to_owned(),
            platform_id: RecordId::made(Table::Platforms, at, prng.ten_bytes()).as_str().to_owned(),
            platform_type,
            name: format!("{} {label} {market}{again}", brand(author, prng.below(4))),
            status: prng.weighted(&[
                ("connected", 80),
                ("active", 10),
                ("disconnected", 5),
                ("pending", 3),
                ("inactive", 2),
            ]),
            created_at: at.to_string(),
            settings: Settings {
                default_match_rate: thousandths(least.midpoint(most) / 10 * 10),
                auto_refresh: prng.chance(60),
                refresh_frequency: prng.weighted(&[("weekly", 60), ("daily", 25), ("monthly", 15)]),
            },
            at,
            kind,
        }
    }
}

fn item<T: Copy + Default>(items: &[T], index: u64) -> T {
    usize::try_from(index).ok().and_then(|i| items.get(i)).copied().unwrap_or_default()
}
