//! Believable audiences of one user, as the seeder makes them.

use std::sync::Arc;

use audience_store::domain::input::Body;
use audience_store::domain::limits::InputLimits;
use audience_store::domain::{Micros, PartitionKey, RecordId, Row, Table, UserId};
use audience_store::seed::{DEFAULT_SEED, Generator, Options};
use audience_store::storage::layout::parse_user;

/// What today's client sends.
pub const CLIENT_BODY: &[u8] = include_bytes!("../../loadtest/payloads/save_audience.json");
/// November 2025.
const NOW: Micros = Micros::new(1_763_000_000_000_000);

pub fn user() -> UserId {
    parse_user("user_id=bench").expect("user")
}

pub fn key() -> PartitionKey {
    PartitionKey::holding(&user(), Table::Audiences, NOW).expect("month")
}

pub fn id(number: usize) -> RecordId {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&number.to_be_bytes());
    RecordId::made(Table::Audiences, at(number), random)
}

/// A moment for each row, a second apart.
pub fn at(number: usize) -> Micros {
    let seconds = i64::try_from(number).expect("few rows");
    Micros::new(NOW.get() + seconds * 1_000_000)
}

/// The row that a body makes.
pub fn row(body: &[u8], number: usize) -> Row {
    let parsed = Body::parse(body, &InputLimits::default()).expect("body");
    let patch = parsed.patch(Table::Audiences).expect("patch");
    patch.created(id(number), at(number), at(number))
}

/// So many rows, all different.
pub fn rows(count: usize) -> Vec<Arc<Row>> {
    let audiences = u32::try_from(count).expect("few rows");
    let options = Options { audiences, platforms: 0, distributions: 0, months: 1 };
    let records = Generator::new(DEFAULT_SEED, options, NOW).records(1);
    records.enumerate().map(|(number, made)| Arc::new(row(&made.body, number))).collect()
}
