//! Which records a seed makes: each is a pure function of seed, user, table, number and the moment
//! that counts as now, so that any of them can be made alone, in any order.

use super::audience::Audience;
use super::catalog::{COMPANIES, FAMILY_NAMES, FIRST_NAMES};
use super::distribution::Distribution;
use super::platform::Platform;
use super::prng::Prng;
use crate::domain::{Micros, Table};

/// The seed of the committed sample, and of `audience-store seed` where none is given.
pub const DEFAULT_SEED: u64 = 42;
/// The highest user number.
pub const MAX_USERS: u64 = 1_000_000_000;

/// How many records a user has, and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Audiences of each user.
    pub audiences: u32,
    /// Platforms of each user.
    pub platforms: u32,
    /// Distributions of each user; none are made without audiences and platforms.
    pub distributions: u32,
    /// Months before now that creation times are spread over, more of them towards now.
    pub months: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { audiences: 50, platforms: 3, distributions: 30, months: 12 }
    }
}

/// A record on its way into a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Where it goes.
    pub table: Table,
    /// The JSON body that a client would POST: one object, without line breaks.
    pub body: Vec<u8>,
}

/// Makes believable records.
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u64,
    options: Options,
    now: Micros,
}

/// Length of a month on average (365.25 days / 12), in microseconds.
const MONTH: i64 = 2_629_800_000_000;
const DAY: i64 = 86_400_000_000;
const SECOND: i64 = 1_000_000;

impl Generator {
    /// A generator whose records were created in the months before `now`.
    #[must_use]
    pub fn new(seed: u64, options: Options, now: Micros) -> Self {
        Self { seed, options, now }
    }

    /// The id of user number `number`: `user_000042`, or, of every fifth, one that looks like an
    /// e-mail address.
    #[must_use]
    pub fn user_id(&self, number: u64) -> String {
        if number % 5 != 3 {
            return format!("user_{number:06}");
        }
        let mut prng = Prng::keyed([self.seed, number, 0, 0]);
        let (first, family) = (prng.pick(FIRST_NAMES), prng.pick(FAMILY_NAMES));
        format!("{first}.{family}{number}@{}", prng.pick(COMPANIES))
    }

    /// How many records each user has.
    #[must_use]
    pub fn records_a_user(&self) -> u64 {
        Table::PUBLIC.into_iter().map(|table| self.count(table)).sum()
    }

    /// The records of user number `number`: platforms, then audiences, then the distributions
    /// that refer to them.
    pub fn records(&self, number: u64) -> impl Iterator<Item = Record> + use<> {
        let generator = self.clone();
        let user = self.user_id(number);
        let tables = [Table::Platforms, Table::Audiences, Table::Distributions];
        let numbered = tables.map(|table| (0..self.count(table)).map(move |index| (table, index)));
        numbered.into_iter().flatten().map(move |(table, index)| {
            let author = Author { generator: &generator, number, user: &user };
            Record { table, body: generator.body(&author, table, index) }
        })
    }

    fn count(&self, table: Table) -> u64 {
        let Options { audiences, platforms, distributions, .. } = self.options;
        u64::from(match table {
            Table::Audiences => audiences,
            Table::Platforms => platforms,
            Table::Distributions if audiences > 0 && platforms > 0 => distributions,
            Table::Distributions | Table::Idempotency => 0,
        })
    }

    fn body(&self, author: &Author<'_>, table: Table, index: u64) -> Vec<u8> {
        let json = match table {
            Table::Audiences => serde_json::to_vec(&Audience::of(author, index)),
            Table::Platforms => serde_json::to_vec(&Platform::of(author, index)),
            Table::Distributions => {
                let counts = (self.count(Table::Audiences), self.count(Table::Platforms));
                serde_json::to_vec(&Distribution::of(author, index, counts.0, counts.1))
            }
            Table::Idempotency => Ok(Vec::new()),
        };
        // Writing structs of texts and numbers to memory cannot fail; a store would refuse an
        // empty body.
        json.unwrap_or_default()
    }

    /// The first moment a record may be created at.
    fn start(&self) -> i64 {
        (self.now.get() - i64::from(self.options.months.max(1)) * MONTH).max(0)
    }
}

/// A user whose records are being made.
pub(super) struct Author<'a> {
    generator: &'a Generator,
    number: u64,
    /// The user's id.
    pub(super) user: &'a str,
}

impl Author<'_> {
    /// The numbers that record `index` of a table is made of.
    pub(super) fn stream(&self, table: Table, index: u64) -> Prng {
        Prng::keyed([self.generator.seed, self.number, u64::from(table.number()), index + 1])
    }

    /// Numbers that are the same for all records of the user.
    pub(super) fn constant(&self, name: &str) -> Prng {
        let name = name.bytes().fold(0_u64, |hash, byte| hash << 8 | u64::from(byte));
        Prng::keyed([self.generator.seed, self.number, 99, name])
    }

    /// What counts as now.
    pub(super) fn now(&self) -> Micros {
        self.generator.now
    }

    /// A moment between start and now, twice as likely now as half-way, mostly in office hours.
    pub(super) fn moment(&self, prng: &mut Prng) -> Micros {
        let (start, now) = (self.generator.start(), self.now().get());
        // The square root of an even spread grows evenly; IEEE 754 fixes its every bit.
        let part = fraction(prng).sqrt();
        let at = start + scaled(now - start, part);
        let hour = if prng.chance(75) { prng.between(13, 22) } else { prng.below(24) };
        let second = i64::try_from(hour * 3_600 + prng.below(3_600)).unwrap_or_default();
        let milli = i64::try_from(prng.milli()).unwrap_or_default();
        let in_day = at - at.rem_euclid(DAY) + second * SECOND + milli * 1_000;
        if (start..=now).contains(&in_day) { Micros::new(in_day) } else { whole_milli(at) }
    }

    /// A moment in the first twentieth of the time.
    pub(super) fn early_moment(&self, prng: &mut Prng) -> Micros {
        let (start, now) = (self.generator.start(), self.now().get());
        whole_milli(start + scaled((now - start) / 20, fraction(prng)))
    }

    /// A moment between `after` and now, most often soon after.
    pub(super) fn moment_after(&self, prng: &mut Prng, after: Micros) -> Micros {
        let part = fraction(prng);
        let left = (self.now().get() - after.get()).max(0);
        Micros::new(after.get() + whole_milli(scaled(left, part * part * part)).get())
    }
}

/// From 0 to just below 1.
#[allow(clippy::cast_precision_loss, reason = "53 bits fit a double's mantissa")]
fn fraction(prng: &mut Prng) -> f64 {
    (prng.bits() >> 11) as f64 / (1_u64 << 53) as f64
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "spans of a few decades in microseconds are below 2^53"
)]
fn scaled(span: i64, part: f64) -> i64 {
    (span as f64 * part) as i64
}

fn whole_milli(micros: i64) -> Micros {
    Micros::new(micros - micros.rem_euclid(1_000))
}

/// 523 → 52.3.
#[allow(clippy::cast_precision_loss, reason = "at most 1000")]
pub(super) fn tenths(number: u64) -> f64 {
    number as f64 / 10.0
}

/// 723 → 0.723.
#[allow(clippy::cast_precision_loss, reason = "at most 1000")]
pub(super) fn thousandths(number: u64) -> f64 {
    number as f64 / 1_000.0
}

#[cfg(test)]
mod tests;
