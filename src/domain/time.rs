//! Instants and months. Microseconds since the epoch, UTC, as `BigQuery` has them.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use thiserror::Error;

/// An instant: microseconds since 1970-01-01T00:00:00Z. May be negative (legacy data).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Micros(i64);

/// Why a text is not an instant.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("must be an ISO 8601 date and time between 1970 and 9999, such as 2025-05-30T12:00:00Z")]
pub struct TimeError;

/// The last instant a client may name: 9999-12-31T23:59:59.999999Z.
const MAX_MICROS: i64 = 253_402_300_799_999_999;

impl Micros {
    /// Wraps microseconds since the epoch.
    #[must_use]
    pub const fn new(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339, or ISO 8601 without a zone (UTC is meant), or a date alone (midnight).
    /// Digits past the microsecond are cut.
    ///
    /// # Errors
    /// [`TimeError`] where the text is none of these or lies outside 1970 to 9999.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let micros = if let Ok(zoned) = DateTime::parse_from_rfc3339(text) {
            zoned.timestamp_micros()
        } else if let Ok(naive) = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f") {
            naive.and_utc().timestamp_micros()
        } else if let Ok(naive) = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f") {
            naive.and_utc().timestamp_micros()
        } else if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            date.and_hms_opt(0, 0, 0).ok_or(TimeError)?.and_utc().timestamp_micros()
        } else {
            return Err(TimeError);
        };
        if (0..=MAX_MICROS).contains(&micros) { Ok(Self(micros)) } else { Err(TimeError) }
    }

    fn utc(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self.0)
    }
}

/// `2025-04-10T08:00:00.000000Z`.
impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(at) = self.utc() else { return write!(f, "{}us", self.0) };
        if (0..=9999).contains(&at.year()) {
            // Each record that is sent has two of them, and a format string takes longer for these
            // than all the rest of it does.
            f.write_str(&at.to_rfc3339_opts(SecondsFormat::Micros, true))
        } else {
            write!(f, "{:04}{}", at.year(), at.format("-%m-%dT%H:%M:%S%.6fZ"))
        }
    }
}

/// A calendar month, UTC: what a partition of audiences or distributions covers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Month {
    year: u16,
    month: u8,
}

impl Month {
    /// A month from its numbers; `None` outside 0001-01 to 9999-12.
    #[must_use]
    pub fn new(year: u16, month: u8) -> Option<Self> {
        ((1..=9999).contains(&year) && (1..=12).contains(&month)).then_some(Self { year, month })
    }

    /// The month an instant falls in; `None` outside the years 1 to 9999.
    #[must_use]
    pub fn of(at: Micros) -> Option<Self> {
        let date = at.utc()?;
        Self::new(u16::try_from(date.year()).ok()?, u8::try_from(date.month()).ok()?)
    }

    /// The year, 1 to 9999.
    #[must_use]
    pub fn year(self) -> u16 {
        self.year
    }

    /// The month of the year, 1 to 12.
    #[must_use]
    pub fn month(self) -> u8 {
        self.month
    }

    /// `yyyymm` as a number: 202504. The log's and file names' form.
    #[must_use]
    pub fn number(self) -> u32 {
        u32::from(self.year) * 100 + u32::from(self.month)
    }

    /// The month of a `yyyymm` number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::new(u16::try_from(number / 100).ok()?, u8::try_from(number % 100).ok()?)
    }

    /// First instant of the month.
    #[must_use]
    pub fn start(self) -> Micros {
        let at = NaiveDate::from_ymd_opt(i32::from(self.year), u32::from(self.month), 1)
            .and_then(|d| d.and_hms_opt(0, 0, 0))
            .map_or(0, |t| t.and_utc().timestamp_micros());
        Micros(at)
    }

    /// Last instant of the month.
    #[must_use]
    pub fn end(self) -> Micros {
        let (year, month) =
            if self.month == 12 { (self.year + 1, 1) } else { (self.year, self.month + 1) };
        Micros(Self { year, month }.start().0 - 1)
    }
}

/// `2025-04`.
impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_send() {
        for (text, shown) in [
            ("2025-05-30T12:00:00Z", "2025-05-30T12:00:00.000000Z"),
            ("2025-05-30T14:00:00+02:00", "2025-05-30T12:00:00.000000Z"),
            ("2025-05-30T13:00:00", "2025-05-30T13:00:00.000000Z"),
            ("2025-05-30 13:00:00.5", "2025-05-30T13:00:00.500000Z"),
            ("2025-05-30T13:00:00.1234567Z", "2025-05-30T13:00:00.123456Z"),
            ("2025-05-30", "2025-05-30T00:00:00.000000Z"),
        ] {
            assert_eq!(Micros::parse(text).expect(text).to_string(), shown);
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in
            ["", "now", "2025-13-01", "1969-12-31T23:59:59Z", "+10000-01-01T00:00:00Z", "12:00"]
        {
            assert_eq!(Micros::parse(text), Err(TimeError), "{text}");
        }
    }

    #[test]
    fn shows_every_instant_as_the_formatter_does() {
        let one_day = 86_400_000_000;
        // Around the bounds of four digits, and days and times all over them.
        let bounds = [-62_167_219_200_000_001, -62_167_219_200_000_000, MAX_MICROS, MAX_MICROS + 1];
        let all_over =
            (-720_000..2_900_000).step_by(977).map(|day| day * one_day + day * 7_919_773);
        for micros in bounds.into_iter().chain(all_over) {
            let (at, utc) = (Micros(micros), Micros(micros).utc().expect("in range"));
            let rest = utc.format("-%m-%dT%H:%M:%S%.6fZ");
            let formatted = format!("{:04}{rest}", utc.year());
            assert_eq!(at.to_string(), formatted, "{micros}");
        }
        assert_eq!(Micros(i64::MAX).to_string(), format!("{}us", i64::MAX));
    }

    #[test]
    fn months_have_bounds() {
        let month = Month::new(2025, 12).expect("month");
        assert_eq!(month.start().to_string(), "2025-12-01T00:00:00.000000Z");
        assert_eq!(month.end().to_string(), "2025-12-31T23:59:59.999999Z");
        assert_eq!(Month::from_number(month.number()), Some(month));
        assert_eq!(Month::of(month.end()), Some(month));
        assert_eq!(Month::new(2025, 13), None);
    }
}
